"""Kernels over files: what a task reads and what it yields are files of the scratch.

No row passes through Java, and Spark has nothing to plan, to compile or to keep: the
one job of a kernel carries names of files.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from winnow.core.engine import BatchKernel, GroupKernel
from winnow.core.operating_system import peak_memory_mib
from winnow.engines.groups import split_groups
from winnow.engines.scratch import ArrowFile, gathered, spill_files
from winnow.engines.spark.frame import SparkFrame, arrow_frame, part_batches
from winnow.engines.spark.probe import require_written
from winnow.engines.spark.session import our_errors
from winnow.engines.spark.warned import keep_warnings, take_warnings
from winnow.engines.spark.workers import enter_task, spare_libraries

if TYPE_CHECKING:
    from pyspark import Accumulator

#: What a task reads: (path, numbers of row groups or batches; None: all of them).
FileBundle = Sequence[tuple[str, Sequence[int] | None]]


@dataclass(frozen=True)
class FileWork:
    """What the tasks of one kernel read, do and leave.

    columns: of the files, `{name to the kernel: name in the file}`. source: schema of
    what is read, target: of what the kernel yields. folder: for what it yields.
    """

    kernel: BatchKernel
    columns: Mapping[str, str]
    source: pa.Schema
    target: pa.Schema
    folder: str
    batch_rows: int


@dataclass(frozen=True)
class FileTasks:
    """Runs kernels over bundles of files, a task of the cluster for each bundle."""

    context: Any
    new_folder: Callable[[], Path]
    peak: Accumulator[float]
    warned: Accumulator[list[str]]

    def run(
        self,
        bundles: Sequence[FileBundle],
        read: SparkFrame,
        kernel: BatchKernel,
        target: pa.Schema,
        batch_rows: int,
    ) -> SparkFrame:
        """Return a frame over what a kernel yields, bundle after bundle.

        read: the schema of what is read, and the files' columns that it is made of.
        """
        folder = self.new_folder()
        folder.mkdir(parents=True)
        work = FileWork(
            kernel, read.columns, read.schema, target, os.fspath(folder), batch_rows
        )
        function = partial(run_on_files, work=work, peak=self.peak, warned=self.warned)
        tasks = [list(bundle) for bundle in bundles]
        with our_errors():
            spread = self.context.parallelize(tasks, max(1, len(tasks)))
            results = spread.mapPartitions(function).collect() if tasks else []
        files = [
            ArrowFile(folder / name, rows)
            for _, written in sorted(results)
            for name, rows in written
        ]
        require_written([file.path for file in files])
        return arrow_frame(files, target)


def run_on_files(
    bundles: Iterator[FileBundle],
    *,
    work: FileWork,
    peak: Accumulator[float],
    warned: Accumulator[list[str]],
) -> Iterator[tuple[int, list[tuple[str, tuple[int, ...]]]]]:
    """Run a kernel over the files that arrive; yield the files that it filled.

    With the task's number and the rows of each batch. A second try of this task, or one
    beside it, has files of its own: the driver takes those of the try that counts.
    """
    task = enter_task()
    keep_warnings()
    given = (
        batch
        for bundle in bundles
        for path, numbers in bundle
        for batch in part_batches(
            path, numbers, work.columns, work.source, work.batch_rows
        )
    )
    numbers = itertools.count()

    def new_file() -> Path:
        name = f"{task.number:05d}-{task.attempt}-{next(numbers):05d}.arrow"
        return Path(work.folder, name)

    yielded = gathered(_in_columns(work.kernel(given), work.target))
    files = spill_files(yielded, work.target, new_file)
    # Spark ends a worker, with all that it has loaded, that leaves rows unread.
    deque(given, maxlen=0)
    spare_libraries()
    peak.add(peak_memory_mib())
    warned.add(take_warnings())
    yield task.number, [(file.path.name, file.rows) for file in files if any(file.rows)]


def apply_together(
    batches: Iterator[pa.RecordBatch], *, key: str, kernel: GroupKernel
) -> Iterator[pa.RecordBatch]:
    """Apply a kernel to each group of rows that all come whole, in any order."""
    held = list(batches)
    if held:
        for group in split_groups(pa.Table.from_batches(held), key):
            yield from kernel(group).to_batches()


def _in_columns(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if len(batch):
            yield (
                batch
                if batch.schema.equals(schema)
                else batch.select(schema.names).cast(schema)
            )
