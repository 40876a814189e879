"""Semantic duplicates of clusters that no worker can hold, block against block.

The driver holds 34 bytes a row of these clusters, and no vector; what a worker holds
is one block of rows, prepared, and a tile of others. Comparing n rows takes n²/2
products however it is done, so that n is bounded by time long before it is by these.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.dedup.blockwise import pieces
from winnow.algorithms.dedup.semantic import (
    DROPPED,
    KEPT,
    OPEN,
    SPARED,
    Neighbours,
    Selection,
    propagate,
    spared,
)
from winnow.config.steps import SemanticConfig
from winnow.core.engine import Engine, Frame
from winnow.core.errors import RunError
from winnow.core.run_folder import remove
from winnow.steps.components import EDGES, connected_components
from winnow.steps.contract import Context
from winnow.steps.semantic_tasks import (
    FIRSTS,
    FOUND,
    NAMED,
    SETTLED,
    TASKS,
    Flags,
    decide_task,
    link_task,
    measure_task,
    name_rows,
    nearest_in_block,
    search_task,
    settle_block,
    side_by_side_tasks,
    with_value,
)
from winnow.steps.vector_blocks import (
    WRITTEN,
    ArrayFile,
    GroupedBlocks,
    VectorBlocks,
    as_blocks,
    write_names,
)
from winnow.steps.vector_layout import laid_schema, lay_out

#: What is known of each row, in the order of the numbers, in a file.
_ROW = np.dtype(
    [
        ("similarity", np.float64),
        ("twin", np.int64),
        ("keep", np.bool_),
        ("chosen", np.int64),
        ("chosen_similarity", np.float64),
    ]
)
# Searches of one block: what they find, 32 bytes a row each, meets on one worker.
_SEARCHES = 16


@dataclass(frozen=True)
class Large:
    """Clusters in blocks, and what works on them.

    size: rows of a block. folder: for files that driver and workers see.
    """

    engine: Engine
    blocks: VectorBlocks
    size: int
    folder: Path

    def tasks(self, wanted: Flags | None = None) -> pa.Table:
        """Return TASKS: blocks of rows against all earlier rows of their cluster.

        With `wanted`, (n,) flags, a block ends when as many wanted rows are in it as a
        block without it has; blocks with none are left out.
        """
        rows: list[tuple[int, ...]] = []
        for first, last in self.blocks.ranges:
            for start, stop in self._cuts(first, last, wanted):
                each = -(-(start - first) // _SEARCHES)
                size = self.size * max(1, -(-each // self.size))
                block = len(rows)
                if start > first:
                    lefts = pieces(first, start, size).tolist()
                    for left, end in itertools.pairwise(lefts):
                        rows.append((block, start, stop, left, end))
                rows.append((block, start, stop, start, stop))
        columns = np.array(rows, np.int64).reshape(-1, len(TASKS)).T
        return pa.table([pa.array(column) for column in columns], schema=TASKS)

    def _cuts(
        self, first: int, last: int, wanted: Flags | None
    ) -> list[tuple[int, int]]:
        if wanted is None:
            borders = pieces(first, last, self.size).tolist()
            return list(itertools.pairwise(borders))
        numbers = first + np.flatnonzero(wanted[self.blocks.numbers(first, last)])
        if not len(numbers):
            return []
        ends = numbers[self.size - 1 :: self.size] + 1
        if ends.size == 0 or ends[-1] <= numbers[-1]:
            ends = np.append(ends, numbers[-1] + 1)
        starts = numbers[:: self.size]
        return list(zip(starts.tolist(), ends.tolist(), strict=True))

    def mapped(
        self, tasks: pa.Table, kernel: Any, schema: pa.Schema, *, wide: bool = False
    ) -> Frame:
        """Return what a kernel yields for tasks, given `blocks` too.

        wide: whether what it yields is too much to be held for some tasks at a time;
        where it is not, the cores of a process work side by side.
        """
        bound = partial(kernel, blocks=self.blocks)
        if not wide:
            bound = partial(side_by_side_tasks, kernel=bound)
        return self.engine.map_batches(self.engine.from_table(tasks), bound, schema)

    @property
    def merge_by(self) -> int | None:
        """How many rows' findings meet on one worker, where groups share rows."""
        return self.size if isinstance(self.blocks, GroupedBlocks) else None

    def saved(self, name: str, array: npt.NDArray[Any]) -> ArrayFile:
        """Write an array (n,) where workers map it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return ArrayFile.of(array, os.fspath(self.folder / name))


def laid_by_label(
    batches: Iterator[pa.RecordBatch], *, add: Any, folder: str
) -> Iterator[pa.RecordBatch]:
    """Yield rows with the value that they are visited by, their vectors laid out."""
    yield from lay_out(add(batches), folder=folder)


def divide(
    context: Context, members: Frame, rows: int, size: int, *, together: bool = False
) -> Large:
    """Lay the vectors of large clusters out by label; sort their rows as visited.

    members: `rows` rows of (uid, cluster, distance, vector). size: how many a block may
    have. together: whether all rows are visited in one order, as of one cluster.
    Raises RunError if what workers wrote is not seen.
    """
    engine, config = context.engine, context.config
    salt, folder = f"{context.seed}:{context.step}", context.parts / "blocks"
    remove(folder)
    dim = engine.schema(members).field("vector").type.list_size
    value = pa.uint64() if config.order == "random" else pa.float64()
    add = partial(with_value, rule=config.order, salt=salt, together=together)
    where = os.fspath(folder / "rows")
    laid = engine.map_batches(
        members,
        partial(laid_by_label, add=add, folder=where),
        laid_schema(engine.schema(members).field("cluster").type, value),
    )
    files = engine.map_batches(
        laid,
        partial(write_names, folder=where),
        WRITTEN,
        order_by=("cluster", "value", "uid"),
    )
    blocks = as_blocks(where, dim, engine.collect(files, MAX_FILES))
    if len(blocks) != rows:
        raise RunError(f"{rows:,} rows of large clusters, but {len(blocks):,} written")
    return Large(engine, blocks, size, folder)


#: Files of all large clusters: one for each and worker's task that meets it.
MAX_FILES = 10_000_000


def neighbours_of(large: Large) -> Neighbours:
    """Return each row's most similar earlier row of its cluster, by number."""
    search = partial(search_task, state=None, floor=-np.inf, merge_by=large.merge_by)
    candidates = large.mapped(large.tasks(), search, FOUND)
    nearest = large.engine.map_groups(candidates, "block", nearest_in_block, FOUND)
    table = large.engine.collect(nearest, len(large.blocks))
    number = table["number"].to_numpy()
    similarity = np.full(len(large.blocks), np.nan)
    twin = np.full(len(large.blocks), -1, np.int64)
    similarity[number] = table["cosine"].to_numpy()
    twin[number] = table["nearest"].to_numpy()
    similarity[twin < 0] = np.nan
    return Neighbours(similarity, twin)


def known_neighbours(large: Large, known: Frame) -> Neighbours:
    """Return the neighbours that an earlier run stored, by number."""
    engine = large.engine
    named = large.mapped(whole_tasks(large), name_rows, NAMED, wide=True)
    stored = engine.join(named, known, "uid", "inner")
    twins = engine.select(named, {"twin": "uid", "twin_number": "number"})
    joined = engine.join(stored, twins, "twin", "left")
    table = engine.collect(joined, len(large.blocks))
    if len(table) != len(large.blocks):
        raise RunError("neighbours of an earlier run are not those of these rows")
    order = np.argsort(table["number"].to_numpy())
    similarity = pc.fill_null(table["similarity"], np.nan).to_numpy()[order]
    twin = pc.fill_null(table["twin_number"], -1).to_numpy()[order]
    return Neighbours(similarity, twin)


def whole_tasks(large: Large) -> pa.Table:
    """Return TASKS that name every row once, by its number."""
    borders = pieces(0, len(large.blocks), large.size)
    start, stop = pa.array(borders[:-1]), pa.array(borders[1:])
    return pa.table([start, start, stop, start, stop], schema=TASKS)


def label_tasks(large: Large) -> pa.Table:
    """Return TASKS that name every row once, by the place of its vector."""
    borders = pieces(0, large.blocks.places[-1], large.size)
    start, stop = pa.array(borders[:-1]), pa.array(borders[1:])
    return pa.table([start, start, stop, start, stop], schema=TASKS)


def select_large(
    large: Large,
    neighbours: Neighbours,
    config: SemanticConfig,
    greedy: Callable[[Large, Neighbours, float], Selection] | None = None,
) -> Selection:
    """Decide as `select` does for a cluster that is held whole.

    greedy: how rows are settled in visiting order. None: within clusters.
    """
    least = 1.0 - config.epsilon
    if config.semantics == "reference":
        return by_nearest(neighbours, ~(neighbours.similarity > least))
    if config.semantics == "components":
        return components(large, neighbours, least)
    return (greedy or _greedy)(large, neighbours, least)


def by_nearest(neighbours: Neighbours, keep: Flags) -> Selection:
    """Return that rows which are not kept go for their most similar earlier row."""
    return Selection(
        keep,
        np.where(keep, -1, neighbours.twin),
        np.where(keep, np.nan, neighbours.similarity),
    )


def _greedy(large: Large, neighbours: Neighbours, least: float) -> Selection:
    """Settle open rows a block of each cluster at a time, in visiting order.

    The rows of a block see, in parallel, all earlier rows that are known to be kept;
    then one worker lets them see each other, one by one.
    """
    state = np.empty(len(large.blocks), np.int8)
    propagate(neighbours.similarity, neighbours.twin, least, state)
    selection = by_nearest(neighbours, state == KEPT)
    for number, tasks in enumerate(_rounds(large, state == OPEN)):
        states = large.saved(f"state-{number}", state)
        search = partial(search_task, state=states, floor=least)
        cosines = large.mapped(tasks, search, FOUND)
        settle = partial(settle_block, blocks=large.blocks, least=least)
        frame = large.engine.map_groups(cosines, "block", settle, SETTLED)
        table = large.engine.collect(frame, len(large.blocks))
        rows, keep = table["number"].to_numpy(), table["keep"].to_numpy()
        state[rows] = np.where(keep, KEPT, DROPPED)
        selection.keep[rows] = keep
        selection.twin[rows] = np.where(keep, -1, table["nearest"].to_numpy())
        selection.similarity[rows] = np.where(keep, np.nan, table["cosine"].to_numpy())
        os.unlink(states.path)
    _measure_spared(large, neighbours, least, selection)
    return selection


def _measure_spared(
    large: Large, neighbours: Neighbours, least: float, selection: Selection
) -> None:
    """Set what decided about spared rows: their most similar earlier kept row."""
    rows = spared(neighbours, selection.keep, least)
    if not rows.any():
        return
    state = np.where(rows, SPARED, np.where(selection.keep, KEPT, DROPPED))
    table = nearest_kept(large, rows, state, -np.inf)
    selection.similarity[table["number"].to_numpy()] = table["cosine"].to_numpy()


def nearest_kept(
    large: Large, rows: Flags, state: npt.NDArray[np.int8], floor: float
) -> pa.Table:
    """Return FOUND: for some rows, (n,) flags, their nearest earlier kept row.

    state: (n,) of all; OPEN and SPARED ones look, KEPT and SPARED ones are seen.
    """
    states = large.saved("state-of-rows", state)
    search = partial(search_task, state=states, floor=floor, merge_by=large.merge_by)
    cosines = large.mapped(large.tasks(rows), search, FOUND)
    nearest = large.engine.map_groups(cosines, "block", nearest_in_block, FOUND)
    table = large.engine.collect(nearest, len(large.blocks))
    os.unlink(states.path)
    return table


def _rounds(large: Large, still_open: Flags) -> Iterator[pa.Table]:
    """Yield tasks: the first block with open rows of each cluster, then the second …"""
    tasks = large.tasks(still_open)
    start = tasks["start"].to_numpy()
    firsts = np.array([first for first, _ in large.blocks.clusters], np.int64)
    cluster = np.searchsorted(firsts, start, side="right")
    # Blocks ascend by cluster and place: number them within each cluster.
    block = tasks["block"].to_numpy()
    ids, first_tasks = np.unique(block, return_index=True)
    of_cluster = cluster[first_tasks]
    begins = np.searchsorted(of_cluster, of_cluster)
    turn = np.arange(len(ids)) - begins
    turns = turn[np.searchsorted(ids, block)]
    for number in range(int(turn.max(initial=-1)) + 1):
        yield tasks.filter(pa.array(turns == number))


def components(large: Large, neighbours: Neighbours, least: float) -> Selection:
    """Link rows above `least` block by block, and join the links of all blocks."""
    engine, rows = large.engine, len(large.blocks)
    near = neighbours.similarity > least
    first = np.arange(rows)
    if near.any():
        link = partial(link_task, near=large.saved("near", near), least=least)
        edges = large.mapped(large.tasks(near), link, EDGES)
        labels = connected_components(engine, edges, large.folder / "links")
        table = engine.collect(labels, rows)
        first[table["node"].to_numpy()] = table["component"].to_numpy()
    keep = first == np.arange(rows)
    similarity = np.full(rows, np.nan)
    if not keep.all():
        measure = partial(measure_task, first=large.saved("first", first))
        cosines = engine.collect(
            large.mapped(whole_tasks(large), measure, FIRSTS), rows
        )
        similarity[cosines["number"].to_numpy()] = cosines["cosine"].to_numpy()
    return Selection(keep, np.where(keep, -1, first), similarity)


def decided_rows(
    large: Large,
    neighbours: Neighbours,
    selection: Selection,
    kernel: Any,
    schema: pa.Schema,
) -> Frame:
    """Return the rows of a decided large cluster, as `kernel` makes them of Decided."""
    known = np.empty(len(large.blocks), _ROW)
    known["similarity"], known["twin"] = neighbours.similarity, neighbours.twin
    known["keep"], known["chosen"] = selection.keep, selection.twin
    known["chosen_similarity"] = selection.similarity
    rows = large.saved("decided", known)
    return large.mapped(
        whole_tasks(large),
        partial(decide_task, known=rows, kernel=kernel),
        schema,
        wide=True,
    )
