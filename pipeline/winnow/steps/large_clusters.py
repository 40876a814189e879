"""Clusters that no worker can hold: their rows in blocks, and what works on them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.algorithms.dedup.blockwise import pieces
from winnow.core.engine import DeviceChoice, Engine, Frame
from winnow.core.errors import RunError
from winnow.core.run_folder import remove
from winnow.steps.array_file import ArrayFile
from winnow.steps.contract import Context
from winnow.steps.device_choice import kernels_choice
from winnow.steps.semantic_tasks import TASKS, Flags, side_by_side_tasks, with_value
from winnow.steps.vector_blocks import (
    WRITTEN,
    GroupedBlocks,
    VectorBlocks,
    as_blocks,
    write_names,
)
from winnow.steps.vector_layout import laid_schema, lay_out

#: Files of all large clusters: one for each and worker's task that meets it.
MAX_FILES = 10_000_000
# Numbers that are held while places are turned into numbers: of so many bytes one.
_PLACED_BYTES = 64
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
    def choice(self) -> DeviceChoice:
        """Return what kernels multiply on."""
        return kernels_choice(self.engine, len(self.blocks))

    @property
    def merge_by(self) -> int | None:
        """How many rows' findings meet on one worker, where groups share rows."""
        return self.size if isinstance(self.blocks, GroupedBlocks) else None

    def saved(self, name: str, array: npt.NDArray[Any]) -> ArrayFile:
        """Write an array (n,) where workers read it."""
        return ArrayFile.of(array, self.file(name))

    def file(self, name: str) -> str:
        """Return the path of a file that driver and workers see."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return os.fspath(self.folder / name)


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
    held = max(1, engine.group_bytes // _PLACED_BYTES)
    blocks = as_blocks(where, dim, engine.collect(files, MAX_FILES), held)
    if len(blocks) != rows:
        raise RunError(f"{rows:,} rows of large clusters, but {len(blocks):,} written")
    return Large(engine, blocks, size, folder)


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
