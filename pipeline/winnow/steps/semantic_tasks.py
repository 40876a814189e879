"""What workers do for `semantic_blocks`: rows of a block against earlier rows.

A task names ranges of rows; their vectors are in files that every worker maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.cosine import VectorRows, pairwise, prepare
from winnow.algorithms.dedup.blockwise import (
    Block,
    keep_in_order,
    linked,
    nearest_earlier,
    nearest_of,
    tiles,
)
from winnow.algorithms.dedup.semantic import KEPT, OPEN, SPARED, Neighbours, Selection
from winnow.core.engine import DeviceChoice
from winnow.core.hashing import keys
from winnow.core.task import available_cores
from winnow.models.torch_device import device_of
from winnow.numeric.device import Device
from winnow.numeric.threads import side_by_side
from winnow.steps.array_file import ArrayFile
from winnow.steps.components import EDGES
from winnow.steps.vector_blocks import Standing, Uids, VectorBlocks

#: Rows of a block against rows of the same cluster from `left` on, earlier ones.
TASKS = pa.schema(
    [(name, pa.int64()) for name in ("block", "start", "stop", "left", "left_stop")]
)
#: A row's nearest earlier row among those of a task; or of all.
FOUND = pa.schema(
    [
        ("block", pa.int64()),
        ("number", pa.int64()),
        ("cosine", pa.float64()),
        ("nearest", pa.int64()),
    ]
)
#: The same without a block.
NEAREST = FOUND.remove(0)
SETTLED = FOUND.append(pa.field("keep", pa.bool_()))
FIRSTS = pa.schema([("number", pa.int64()), ("cosine", pa.float64())])
NAMED = pa.schema([("uid", pa.string()), ("number", pa.int64())])
#: What was found for a row, by its number and its uid; rows without a twin have -1.
KNOWN = pa.schema(
    [
        *NAMED,
        ("twin", pa.int64()),
        ("similarity", pa.float64()),
        ("keep", pa.bool_()),
        ("chosen", pa.int64()),
        ("chosen_similarity", pa.float64()),
        ("chosen_stays", pa.bool_()),
    ]
)
#: Rows that another row than their most similar one was chosen for.
CHOSEN = pa.schema([("number", pa.int64()), ("chosen", pa.int64())])
CHOSEN_NAMES = pa.schema([("number", pa.int64()), ("chosen_name", pa.string())])
# Earlier rows read at a time.
_READ_ROWS = 8192

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
#: Says which of some rows, by their numbers, belong to those that count.
Members = Callable[[Numbers], Flags]


@dataclass(frozen=True)
class Decided:
    """Rows with what was found for them; twins by name, null where there is none."""

    uid: pa.Array
    neighbours: Neighbours
    selection: Selection
    best: pa.Array
    chosen: pa.Array
    chosen_stays: Flags


def with_value(
    batches: Iterator[pa.RecordBatch], *, rule: str, salt: str, together: bool = False
) -> Iterator[pa.RecordBatch]:
    """Add the value that rows are visited in ascending order of; ties go by uid.

    The row's cluster comes as `label`, too; together: all rows go in cluster 0.
    """
    for batch in batches:
        distance = batch.column("distance").to_numpy()
        if rule == "random":
            value = pa.array(keys(batch.column("uid").to_pylist(), salt))
        else:
            value = pa.array(0.0 - distance if rule == "hard" else distance)
        label = batch.column("cluster")
        cluster = pa.repeat(pa.scalar(0, label.type), len(label)) if together else label
        columns = [cluster, batch.column("uid"), batch.column("vector"), label, value]
        names = ["cluster", "uid", "vector", "label", "value"]
        yield pa.RecordBatch.from_arrays(columns, names=names)


def tasks_of(batches: Iterator[pa.RecordBatch]) -> Iterator[Sequence[int]]:
    """Yield the numbers of each of TASKS."""
    for batch in batches:
        for row in batch.to_pylist():
            yield [row[name] for name in TASKS.names]


def side_by_side_tasks(
    batches: Iterator[pa.RecordBatch],
    *,
    kernel: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]],
) -> Iterator[pa.RecordBatch]:
    """Yield what a kernel yields for TASKS, those of each batch in a thread.

    One core works on all of them in one call, which may merge more of what they find.
    """
    if available_cores() < 2:
        yield from kernel(batches)
        return
    for done in side_by_side(lambda batch: list(kernel(iter([batch]))), batches):
        yield from done


def candidates_of(
    blocks: VectorBlocks,
    left: int,
    stop: int,
    member: Members | None,
    device: Device | None = None,
) -> Iterator[tuple[VectorRows, Numbers]]:
    """Yield tiles of the rows at positions from `left` on, or of members among them.

    device: of the block that they are candidates for.
    """
    for start in range(left, stop, _READ_ROWS):
        end = min(stop, start + _READ_ROWS)
        rows = _standing(blocks, start, end, member)
        yield from tiles(blocks.vectors(rows.places), rows.numbers, device)


def _standing(
    blocks: VectorBlocks, start: int, stop: int, member: Members | None
) -> Standing:
    rows = blocks.standing(start, stop)
    return rows if member is None else rows.where(member(rows.numbers))


def _in_state(file: ArrayFile, *wanted: np.int8) -> Members:
    """Return what says which rows have one of the states, by the file of all states."""
    states = file.mapped()
    return lambda numbers: np.isin(states[numbers], wanted)


def search_task(
    batches: Iterator[pa.RecordBatch],
    *,
    blocks: VectorBlocks,
    state: ArrayFile | None,
    floor: float,
    choice: DeviceChoice,
    merge_by: int | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield FOUND: the nearest of a task's earlier rows for each row of its block.

    With `state`, a file of every row's, open and spared rows see kept and spared ones;
    others are no matter. Where rows stand in several blocks, `merge_by` numbers after
    each other count as the block that what they find is merged in.
    """
    held: tuple[int, int, Block] | None = None
    device = device_of(choice)
    kept = None if state is None else _in_state(state, KEPT, SPARED)
    still_open = None if state is None else _in_state(state, OPEN, SPARED)
    for number, start, stop, left, left_stop in tasks_of(batches):
        if held is None or held[:2] != (start, stop):
            held = None
            held = (start, stop, block_of(blocks, start, stop, still_open, device))
        block = held[2]
        candidates = candidates_of(blocks, left, left_stop, kept, device)
        cosine, nearest = nearest_earlier(block, candidates, floor)
        merged = np.full(len(cosine), number)
        if merge_by is not None:
            merged = block.numbers // merge_by
        columns = [merged, block.numbers, cosine, nearest]
        yield pa.RecordBatch.from_arrays([pa.array(c) for c in columns], schema=FOUND)


def block_of(
    blocks: VectorBlocks,
    start: int,
    stop: int,
    wanted: Members | None,
    device: Device | None = None,
) -> Block:
    """Return the rows of a task, or the wanted ones among them, prepared."""
    rows = _standing(blocks, start, stop, wanted)
    return Block(blocks.vectors(rows.places), rows.numbers, device)


def nearest_in_block(matches: pa.Table) -> pa.Table:
    """Return FOUND: what the searches for one block's rows found together."""
    columns = [matches[name].to_numpy() for name in ("number", "cosine", "nearest")]
    number, cosine, nearest = nearest_of(*columns)
    block = np.full(len(number), matches["block"][0].as_py(), np.int64)
    return pa.table([block, number, cosine, nearest], schema=FOUND)


def nearest_by_number(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield NEAREST: what all searches found together for each row.

    Batches of NEAREST come by number; without a nearest row, it and its cosine may be
    null.
    """
    held = NEAREST.empty_table()
    for batch in batches:
        columns = [
            batch.column("number"),
            pc.fill_null(batch.column("cosine"), -np.inf),
            pc.fill_null(batch.column("nearest"), -1),
        ]
        matches = pa.table(columns, schema=NEAREST)
        held = pa.concat_tables([held, matches]).combine_chunks()
        number = held["number"].to_numpy()
        # Of the last row more may come.
        last = int(np.searchsorted(number, number[-1])) if len(number) else 0
        yield from _nearest(held.slice(0, last))
        held = held.slice(last)
    yield from _nearest(held)


def _nearest(matches: pa.Table) -> list[pa.RecordBatch]:
    number = matches["number"].to_numpy()
    if (number[1:] > number[:-1]).all():
        return list(matches.to_batches())
    columns = nearest_of(*(matches[name].to_numpy() for name in NEAREST.names))
    batches: list[pa.RecordBatch] = pa.table(columns, schema=NEAREST).to_batches()
    return batches


def settle_block(matches: pa.Table, *, blocks: VectorBlocks, least: float) -> pa.Table:
    """Return SETTLED: whether each of a block's open rows is kept."""
    merged = nearest_in_block(matches)
    number = merged["number"].to_numpy()
    cosine, nearest = (merged[n].to_numpy().copy() for n in ("cosine", "nearest"))
    block = Block(blocks.chosen(number), number)
    keep = keep_in_order(block, cosine, nearest, least)
    columns = [merged["block"], merged["number"], cosine, nearest, keep]
    return pa.table(columns, schema=SETTLED)


def link_task(
    batches: Iterator[pa.RecordBatch],
    *,
    blocks: VectorBlocks,
    near: ArrayFile,
    least: float,
) -> Iterator[pa.RecordBatch]:
    """Yield EDGES that join the rows of a task which are linked."""
    linkable: Members = near.mapped().__getitem__
    for _, start, stop, left, left_stop in tasks_of(batches):
        block = block_of(blocks, start, stop, linkable)
        span = blocks.numbers(left, left_stop)
        if left < start:
            span = np.concatenate([span, block.numbers])
        candidates = candidates_of(blocks, left, left_stop, None)
        ends = linked(block, candidates, span, least)
        yield pa.RecordBatch.from_arrays([pa.array(e) for e in ends], schema=EDGES)


def measure_task(
    batches: Iterator[pa.RecordBatch], *, blocks: VectorBlocks, first: ArrayFile
) -> Iterator[pa.RecordBatch]:
    """Yield FIRSTS: each row that goes, and its cosine to its component's first."""
    for _, start, stop, _, _ in tasks_of(batches):
        for begin in range(start, stop, _READ_ROWS):
            end = min(stop, begin + _READ_ROWS)
            numbers, firsts = np.arange(begin, end), first.read(begin, end)
            numbers, firsts = numbers[firsts != numbers], firsts[firsts != numbers]
            if not len(numbers):
                continue
            twins, inverse = np.unique(firsts, return_inverse=True)
            other = prepare(blocks.chosen(twins)[inverse])
            cosine = pairwise(prepare(blocks.chosen(numbers)), other)
            yield pa.RecordBatch.from_arrays(
                [pa.array(numbers), pa.array(cosine)], schema=FIRSTS
            )


def name_rows(
    batches: Iterator[pa.RecordBatch], *, blocks: VectorBlocks
) -> Iterator[pa.RecordBatch]:
    """Yield NAMED: the uid and the number of every row."""
    uids = Uids(blocks)
    for _, start, stop, _, _ in tasks_of(batches):
        for begin in range(start, stop, _READ_ROWS):
            numbers = np.arange(begin, min(stop, begin + _READ_ROWS))
            yield pa.RecordBatch.from_arrays(
                [uids.of(numbers), pa.array(numbers)], schema=NAMED
            )


def known_task(
    batches: Iterator[pa.RecordBatch],
    *,
    blocks: VectorBlocks,
    neighbours: ArrayFile,
    selection: ArrayFile,
    keep: ArrayFile,
) -> Iterator[pa.RecordBatch]:
    """Yield KNOWN of every row, from files of what was found and what was chosen.

    keep: a file of (n,) flags, since those of any row are looked at.
    """
    uids, stays = Uids(blocks), keep.mapped()
    for _, start, stop, _, _ in tasks_of(batches):
        for begin in range(start, stop, _READ_ROWS):
            end = min(stop, begin + _READ_ROWS)
            nearest, chosen = neighbours.read(begin, end), selection.read(begin, end)
            numbers, twin = np.arange(begin, end), chosen["twin"]
            columns = [
                uids.of(numbers),
                numbers,
                nearest["twin"],
                nearest["similarity"],
                stays[begin:end],
                twin,
                chosen["similarity"],
                (twin >= 0) & stays[np.maximum(twin, 0)],
            ]
            yield pa.RecordBatch.from_arrays(
                [pa.array(column) for column in columns], schema=KNOWN
            )


def chosen_otherwise(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield CHOSEN of the KNOWN rows that did not go for their most similar one."""
    for batch in batches:
        other = pc.not_equal(batch.column("chosen"), batch.column("twin"))
        there = pc.greater_equal(batch.column("chosen"), 0)
        yield batch.filter(pc.and_(other, there)).select(CHOSEN.names)


def name_chosen(
    batches: Iterator[pa.RecordBatch], *, blocks: VectorBlocks
) -> Iterator[pa.RecordBatch]:
    """Yield CHOSEN_NAMES of CHOSEN rows, which come by what was chosen."""
    uids = Uids(blocks)
    for batch in batches:
        names = uids.of(batch.column("chosen").to_numpy())
        columns = [batch.column("number"), names]
        yield pa.RecordBatch.from_arrays(columns, schema=CHOSEN_NAMES)


def decide_rows(
    batches: Iterator[pa.RecordBatch], *, blocks: VectorBlocks, kernel: Any
) -> Iterator[pa.RecordBatch]:
    """Yield what `kernel` makes of KNOWN rows with CHOSEN_NAMES, which come by twin."""
    uids = Uids(blocks)
    for batch in batches:
        keep, stays, twin, chosen = (
            batch.column(name).to_numpy(zero_copy_only=False)
            for name in ("keep", "chosen_stays", "twin", "chosen")
        )
        names = uids.of(np.maximum(twin, 0))
        best = pc.if_else(pa.array(twin >= 0), names, pa.scalar(None, pa.string()))
        same = pa.array((chosen == twin) & (chosen >= 0))
        similarity, chosen_similarity = (
            batch.column(name).to_numpy()
            for name in ("similarity", "chosen_similarity")
        )
        decided = Decided(
            batch.column("uid"),
            Neighbours(similarity, twin),
            Selection(keep, chosen, chosen_similarity),
            best,
            pc.if_else(same, best, batch.column("chosen_name")),
            stays,
        )
        yield from kernel(decided).to_batches()
