"""What runs in Spark's Python workers: kernels, reading and writing of parts."""

from __future__ import annotations

import gc
import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from winnow.core.engine import BatchKernel, GroupKernel
from winnow.core.operating_system import peak_memory_mib
from winnow.core.task import Task, set_task
from winnow.engines.groups import split_groups, whole_groups
from winnow.engines.parts import part_writer
from winnow.engines.spark.frame import part_batches
from winnow.engines.spark.warned import keep_warnings, take_warnings
from winnow.engines.spark.wire import from_wire, to_wire

if TYPE_CHECKING:
    from pyspark import Accumulator

_SLICE = 65_536
#: Imported modules that garbage collection passes over.
_libraries = 0

#: A part that a task has written, or the rows that it has.
WRITTEN = pa.schema(
    [("number", pa.int64()), ("file", pa.string()), ("rows", pa.int64())]
)

#: (path, row groups) of one task.
Bundle = Sequence[tuple[str, Sequence[int]]]


def run_kernel(
    batches: Iterator[pa.RecordBatch],
    *,
    kernel: BatchKernel,
    source: pa.Schema,
    target: pa.Schema,
    peak: Accumulator[float],
    warned: Accumulator[list[str]],
) -> Iterator[pa.RecordBatch]:
    """Stream what crosses Spark through a kernel; empty batches are left out."""
    enter_task()
    keep_warnings()
    given = (from_wire(batch, source) for batch in batches if len(batch))
    for batch in kernel(given):
        for start in range(0, len(batch), _SLICE):
            yield to_wire(batch.slice(start, _SLICE), target)
    # Spark ends a worker, with all that it has loaded, that leaves rows unread.
    deque(given, maxlen=0)
    spare_libraries()
    peak.add(peak_memory_mib())
    warned.add(take_warnings())


def in_turn(
    batches: Iterator[pa.RecordBatch], *, kernels: Sequence[BatchKernel]
) -> Iterator[pa.RecordBatch]:
    """Stream batches through one kernel after the other, in one process."""
    for kernel in kernels:
        batches = kernel(batches)
    yield from batches


def apply_groups(
    batches: Iterator[pa.RecordBatch], *, key: str, kernel: GroupKernel
) -> Iterator[pa.RecordBatch]:
    """Apply a kernel to each group of a stream sorted by `key`."""
    for table in whole_groups(batches, key):
        for group in split_groups(table, key):
            yield from kernel(group).to_batches()


def read_parts(
    batches: Iterator[pa.RecordBatch],
    *,
    bundles: Sequence[Bundle],
    columns: Mapping[str, str],
    schema: pa.Schema,
    batch_rows: int,
) -> Iterator[pa.RecordBatch]:
    """Read the bundles of row groups whose numbers arrive."""
    enter_task()
    for batch in batches:
        for number in batch.column(0).to_pylist():
            for path, groups in bundles[number]:
                for part in part_batches(path, groups, columns, schema, batch_rows):
                    yield to_wire(part, schema)


def write_parquet(
    batches: Iterator[pa.RecordBatch], *, schema: pa.Schema, folder: str
) -> Iterator[pa.RecordBatch]:
    """Write what arrives to a Parquet part; yield its name and rows."""
    yield from _write(batches, schema, Path(folder), "parquet")


def write_arrow(
    batches: Iterator[pa.RecordBatch], *, schema: pa.Schema, folder: str
) -> Iterator[pa.RecordBatch]:
    """Write what arrives to an Arrow file; yield its name and rows."""
    yield from _write(batches, schema, Path(folder), "arrow")


def _write(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, folder: Path, kind: str
) -> Iterator[pa.RecordBatch]:
    # A second try of this task, or one beside it, has a file of its own; the driver
    # keeps the files of the tries that Spark counts.
    task = enter_task()
    file = folder / f"{task.number:05d}-{task.attempt}.{kind}"
    rows, writer = 0, None
    for batch in batches:
        if not len(batch):
            continue
        if writer is None:
            writer = (
                part_writer(file, schema)
                if kind == "parquet"
                else pa.ipc.new_file(os.fspath(file), schema)
            )
        writer.write_batch(from_wire(batch, schema))
        rows += len(batch)
    if writer is not None:
        writer.close()
        yield written_row(task.number, file.name, rows)


def count_rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield how many rows this partition has."""
    yield written_row(enter_task().number, "", sum(len(batch) for batch in batches))


def pick_row(
    batches: Iterator[pa.RecordBatch], *, offset: int
) -> Iterator[pa.RecordBatch]:
    """Yield the row at `offset` of what arrives, if there are as many."""
    enter_task()
    for batch in batches:
        if 0 <= offset < len(batch):
            yield batch.slice(offset, 1)
        offset -= len(batch)


def written_row(number: int, file: str, rows: int) -> pa.RecordBatch:
    """Return a row of WRITTEN."""
    row = {"number": number, "file": file, "rows": rows}
    return pa.RecordBatch.from_pylist([row], WRITTEN)


def enter_task() -> Task:
    """Note which of Spark's tasks this process works on, and what belongs to it."""
    from pyspark import TaskContext

    spare_libraries()
    context = TaskContext.get()
    if context is None:
        return Task()
    gpus = (context.resources() or {}).get("gpu")
    see_gpu(gpus.addresses if gpus else ())
    task = Task(context.partitionId(), context.taskAttemptId(), context.cpus())
    set_task(task)
    return task


def spare_libraries() -> None:
    """Keep what was imported out of the garbage collections to come.

    Spark collects after every task, which would take a loaded worker longer than many
    tasks do.
    """
    global _libraries  # noqa: PLW0603
    if len(sys.modules) > _libraries:
        _libraries = len(sys.modules)
        gc.freeze()


def see_gpu(addresses: Sequence[str]) -> None:
    """Let this process see the GPU of its first task, before it loads a library for it.

    Later tasks of the process stay there, with the model that is loaded. Spark runs as
    many processes at a time as tasks have GPUs, each of which began on another one.
    """
    if addresses and "torch" not in sys.modules:
        os.environ["CUDA_VISIBLE_DEVICES"] = addresses[0]


def bundled(
    groups: Sequence[tuple[str, int, int]], count: int
) -> list[list[tuple[str, list[int]]]]:
    """Spread (path, row group, rows) over at most `count` bundles of like rows.

    Neighbours stay together, in order.
    """
    total = sum(rows for _, _, rows in groups)
    bundles: list[list[tuple[str, list[int]]]] = []
    passed, last_bundle = 0, -1
    for path, group, rows in groups:
        bundle = min(passed * count // max(total, 1), count - 1)
        if bundle != last_bundle:
            bundles.append([])
            last_bundle = bundle
        if not bundles[-1] or bundles[-1][-1][0] != path:
            bundles[-1].append((path, []))
        bundles[-1][-1][1].append(group)
        passed += rows
    return bundles


def group_kernel(key: str, kernel: GroupKernel) -> BatchKernel:
    """Return the batch kernel that applies `kernel` group by group."""
    return partial(apply_groups, key=key, kernel=kernel)
