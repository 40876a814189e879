"""Semantic duplicates of clusters that no worker can hold, block against block.

The driver holds a byte or two of each row of these clusters, its state and a flag, and
no vector; what was found for a row is in files. What a worker holds is one block of
rows, prepared, and a tile of others. With `semantics: components` the driver holds the
labels too, 24 bytes a row.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.algorithms.dedup.semantic import (
    DROPPED,
    KEPT,
    OPEN,
    SPARED,
    propagate,
)
from winnow.config.steps import SemanticConfig
from winnow.core.engine import Frame
from winnow.core.errors import RunError
from winnow.core.run_folder import remove
from winnow.steps.array_file import ArrayFile, flags_of
from winnow.steps.components import EDGES, connected_components
from winnow.steps.large_clusters import Large, whole_tasks
from winnow.steps.minhash_rows import stored_batches
from winnow.steps.semantic_tasks import (
    CHOSEN,
    CHOSEN_NAMES,
    FIRSTS,
    FOUND,
    KNOWN,
    NAMED,
    NEAREST,
    SETTLED,
    Flags,
    chosen_otherwise,
    decide_rows,
    known_task,
    link_task,
    measure_task,
    name_chosen,
    name_rows,
    nearest_by_number,
    nearest_in_block,
    search_task,
    settle_block,
)

#: A row's most similar earlier row, by number, in a file; NaN and -1 without one.
NEIGHBOUR = np.dtype([("similarity", np.float64), ("twin", np.int64)])
#: Whom a row goes for, -1 if it stays, and what decided (see `Selection`), in a file.
_CHOICE = np.dtype([("twin", np.int64), ("similarity", np.float64)])


@dataclass(frozen=True)
class Choice:
    """What was decided: (n,) flags of the rows that stay, and a file of _CHOICE."""

    keep: Flags
    rows: ArrayFile


def neighbours_of(large: Large) -> ArrayFile:
    """Return NEIGHBOUR: each row's most similar earlier row of its cluster."""
    search = partial(search_task, state=None, floor=-np.inf, choice=large.choice)
    candidates = large.mapped(large.tasks(), search, FOUND)
    wanted = {name: name for name in NEAREST.names}
    lost = "rows of large clusters were not compared"
    return _neighbours(large, large.engine.select(candidates, wanted), lost)


def _neighbours(large: Large, candidates: Frame, lost: str) -> ArrayFile:
    """Write the best of NEAREST rows where it is read by number.

    Workers merge what they meet of a row; of one at the border of two calls' stretches
    both meet some, which is merged here.
    lost: what RunError says unless there is one for each row.
    """
    beside, engine = large.folder / "found", large.engine
    nearest = engine.map_batches(
        candidates, nearest_by_number, NEAREST, order_by=("number",)
    )
    engine.write(nearest, os.fspath(beside), [])
    file = ArrayFile.blank(large.file("neighbours"), NEIGHBOUR, len(large.blocks))
    count = 0
    for batch in nearest_by_number(stored_batches(beside)):
        number = batch.column("number").to_numpy()
        if not np.array_equal(number, np.arange(count, count + len(batch))):
            raise RunError(f"{lost}, the first of them {count:,}")
        rows = np.empty(len(batch), NEIGHBOUR)
        rows["twin"] = batch.column("nearest").to_numpy()
        rows["similarity"] = batch.column("cosine").to_numpy()
        rows["similarity"][rows["twin"] < 0] = np.nan
        file.write(count, rows)
        count += len(batch)
    remove(beside)
    if count != len(large.blocks):
        raise RunError(f"{lost}: {count:,} of {len(large.blocks):,}")
    return file


def known_neighbours(large: Large, known: Frame) -> ArrayFile:
    """Return the neighbours that an earlier run stored: NEIGHBOUR by number."""
    engine = large.engine
    named = large.mapped(whole_tasks(large), name_rows, NAMED, wide=True)
    stored = engine.join(named, known, "uid", "inner")
    twins = engine.select(named, {"twin": "uid", "twin_number": "number"})
    joined = engine.join(stored, twins, "twin", "left")
    columns = {"number": "number", "cosine": "similarity", "nearest": "twin_number"}
    lost = "neighbours of an earlier run are not those of these rows"
    return _neighbours(large, engine.select(joined, columns), lost)


def select_large(
    large: Large,
    neighbours: ArrayFile,
    config: SemanticConfig,
    greedy: Callable[[Large, ArrayFile, float], Choice] | None = None,
) -> Choice:
    """Decide as `select` does for a cluster that is held whole.

    greedy: how rows are settled in visiting order. None: within clusters.
    """
    least = 1.0 - config.epsilon
    if config.semantics == "reference":
        keep = flags_of(neighbours, lambda rows: ~(rows["similarity"] > least))
        return by_nearest(large, neighbours, keep)
    if config.semantics == "components":
        return components(large, neighbours, least)
    return (greedy or _greedy)(large, neighbours, least)


def by_nearest(large: Large, neighbours: ArrayFile, keep: Flags) -> Choice:
    """Return that rows which are not kept go for their most similar earlier row."""
    rows = ArrayFile.blank(large.file("chosen"), _CHOICE, len(keep))
    for start, nearest in neighbours.stretches():
        stays = keep[start : start + len(nearest)]
        chosen = np.empty(len(nearest), _CHOICE)
        chosen["twin"] = np.where(stays, -1, nearest["twin"])
        chosen["similarity"] = np.where(stays, np.nan, nearest["similarity"])
        rows.write(start, chosen)
    return Choice(keep, rows)


def states_of(neighbours: ArrayFile, least: float) -> npt.NDArray[np.int8]:
    """Return (n,): KEPT, DROPPED or OPEN by each row's most similar earlier row."""
    state = np.empty(len(neighbours), np.int8)
    for start, rows in neighbours.stretches():
        similarity, twin = rows["similarity"].copy(), rows["twin"].copy()
        propagate(similarity, twin, least, state, start)
    return state


def spared_rows(neighbours: ArrayFile, keep: Flags, least: float) -> Flags:
    """Return (n,): kept rows whose most similar earlier row had itself gone."""
    spared = flags_of(neighbours, lambda rows: rows["similarity"] > least)
    spared &= keep
    return spared


def _greedy(large: Large, neighbours: ArrayFile, least: float) -> Choice:
    """Settle open rows a block of each cluster at a time, in visiting order.

    The rows of a block see, in parallel, all earlier rows that are known to be kept;
    then one worker lets them see each other, one by one.
    """
    state = states_of(neighbours, least)
    choice = by_nearest(large, neighbours, state == KEPT)
    for number, tasks in enumerate(_rounds(large, state == OPEN)):
        states = large.saved(f"state-{number}", state)
        search = partial(search_task, state=states, floor=least, choice=large.choice)
        cosines = large.mapped(tasks, search, FOUND)
        settle = partial(settle_block, blocks=large.blocks, least=least)
        frame = large.engine.map_groups(cosines, "block", settle, SETTLED)
        table = large.engine.collect(frame, len(large.blocks))
        rows, keep = table["number"].to_numpy(), table["keep"].to_numpy()
        state[rows] = np.where(keep, KEPT, DROPPED)
        choice.keep[rows] = keep
        choice.rows.change(
            rows,
            twin=np.where(keep, -1, table["nearest"].to_numpy()),
            similarity=np.where(keep, np.nan, table["cosine"].to_numpy()),
        )
        os.unlink(states.path)
    _measure_spared(large, neighbours, least, choice)
    return choice


def _measure_spared(
    large: Large, neighbours: ArrayFile, least: float, choice: Choice
) -> None:
    """Set what decided about spared rows: their most similar earlier kept row."""
    rows = spared_rows(neighbours, choice.keep, least)
    if not rows.any():
        return
    state = np.where(rows, SPARED, np.where(choice.keep, KEPT, DROPPED))
    table = nearest_kept(large, rows, state, -np.inf)
    number, cosine = table["number"].to_numpy(), table["cosine"].to_numpy()
    choice.rows.change(number, similarity=cosine)


def nearest_kept(
    large: Large, rows: Flags, state: npt.NDArray[np.int8], floor: float
) -> pa.Table:
    """Return FOUND: for some rows, (n,) flags, their nearest earlier kept row.

    state: (n,) of all; OPEN and SPARED ones look, KEPT and SPARED ones are seen.
    """
    states = large.saved("state-of-rows", state)
    search = partial(
        search_task,
        state=states,
        floor=floor,
        choice=large.choice,
        merge_by=large.merge_by,
    )
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


def components(large: Large, neighbours: ArrayFile, least: float) -> Choice:
    """Link rows above `least` block by block, and join the links of all blocks."""
    engine, rows = large.engine, len(large.blocks)
    near = flags_of(neighbours, lambda rows: rows["similarity"] > least)
    first = np.arange(rows)
    if near.any():
        link = partial(link_task, near=large.saved("near", near), least=least)
        edges = large.mapped(large.tasks(near), link, EDGES)
        labels = connected_components(engine, edges, large.folder / "links")
        table = engine.collect(labels, rows)
        first[table["node"].to_numpy()] = table["component"].to_numpy()
    keep = first == np.arange(rows)
    chosen = np.empty(rows, _CHOICE)
    chosen["twin"], chosen["similarity"] = np.where(keep, -1, first), np.nan
    if not keep.all():
        measure = partial(measure_task, first=large.saved("first", first))
        cosines = engine.collect(
            large.mapped(whole_tasks(large), measure, FIRSTS), rows
        )
        chosen["similarity"][cosines["number"].to_numpy()] = cosines["cosine"]
    return Choice(keep, large.saved("chosen", chosen))


def decided_rows(
    large: Large,
    neighbours: ArrayFile,
    choice: Choice,
    kernel: Any,
    schema: pa.Schema,
) -> Frame:
    """Return the rows of a decided large cluster, as `kernel` makes them of Decided.

    1. Rows by number, with the numbers of their twins; 2. the names of those that
    others than the most similar rows were chosen for, mostly few; 3. all rows sorted by
    their most similar one, so that its name is read where it lies.
    """
    engine = large.engine
    telling = partial(
        known_task,
        neighbours=neighbours,
        selection=choice.rows,
        keep=large.saved("keep", choice.keep),
    )
    known = large.mapped(whole_tasks(large), telling, KNOWN, wide=True)
    others = engine.map_batches(known, chosen_otherwise, CHOSEN)
    naming = partial(name_chosen, blocks=large.blocks)
    named = engine.map_batches(others, naming, CHOSEN_NAMES, order_by=("chosen",))
    deciding = partial(decide_rows, blocks=large.blocks, kernel=kernel)
    told = engine.join(known, named, "number", "left")
    return engine.map_batches(told, deciding, schema, order_by=("twin",))
