"""The engine's verbs on Spark: kernels in its workers, large relations by itself.

Rows that are few go from verb to verb in files of the scratch folder: a kernel is one
job, whose tasks read files and write files, and all between kernels is the driver's
(`held`). Rows that are many are Spark's DataFrames: what a kernel returns is computed
once and kept by the executors, in memory and on their disks, until `clear`; a lost
executor's part is computed again. Of these the driver holds footers, counts and what
`collect` asks for.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.engine import BatchKernel, GroupKernel
from winnow.core.errors import RunError
from winnow.core.run_folder import remove, replace
from winnow.core.run_log import EVENTS
from winnow.engines.parts import part_writer, plain_schema
from winnow.engines.spark import workers
from winnow.engines.spark.file_tasks import FileBundle, FileTasks, apply_together
from winnow.engines.spark.frame import SparkFrame, read_footers
from winnow.engines.spark.held import HeldRelations, held_table
from winnow.engines.spark.peak import PeakParam
from winnow.engines.spark.probe import require_seen, require_written
from winnow.engines.spark.relational_verbs import BUNDLE_BYTES
from winnow.engines.spark.session import SparkOptions, open_session, our_errors
from winnow.engines.spark.warned import WarnedParam
from winnow.engines.spark.wire import from_wire, wire_schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Bytes that a kernel is taken to yield for each that it is given.
_GROWTH = 4
_TOO_MANY = "more than the {} rows that fit one machine here"


class SparkEngine(HeldRelations):
    """The engine's verbs in one session."""

    name = "spark"

    def __init__(self, scratch: Path, options: SparkOptions | None = None) -> None:
        options = options or SparkOptions()
        given = options.scratch
        self._scratch = Path(given, f"winnow-{uuid.uuid4().hex}") if given else scratch
        super().__init__(open_session(options), options, self._scratch)
        # A run that was killed has left its numbered folders there.
        remove(self._scratch)
        with our_errors():
            require_seen(self._context, (scratch, self._scratch), options.seen)
        self._numbers = itertools.count()
        self._kept: list[DataFrame] = []
        self._peak = self._context.accumulator(0.0, PeakParam())
        self._warned = self._context.accumulator([], WarnedParam())
        self._tasks = FileTasks(self._context, self._folder, self._peak, self._warned)
        self._shuffled, self._group = 0, "winnow"
        self._plan_shuffles(0)

    def label(self, step: str) -> None:
        """Name the jobs to come after a step, in Spark's pages and its event log."""
        self._group = f"winnow {step}"
        self._context.setJobGroup(self._group, step)
        self._peak.value = 0.0

    def peak_rss_mb(self) -> float:
        """Return the largest resident memory of a Python worker since `label`."""
        return float(self._peak.value)

    def tasks(self) -> tuple[int, int]:
        """Return how many tasks of the stages that run are done, and how many are."""
        status = self._context.statusTracker()
        active = set(status.getActiveStageIds())
        jobs = map(status.getJobInfo, status.getJobIdsForGroup(self._group))
        ours = {stage for job in jobs if job is not None for stage in job.stageIds}
        stages = [status.getStageInfo(stage) for stage in sorted(active & ours)]
        known = [stage for stage in stages if stage is not None]
        return (
            sum(stage.numCompletedTasks for stage in known),
            sum(stage.numTasks for stage in known),
        )

    def scan(self, path: str, columns: Sequence[str] | None = None) -> SparkFrame:
        """Read a Parquet artifact (a file or a folder of parts)."""
        frame = read_footers(path)
        assert frame.parts is not None
        self._plan_shuffles(frame.parts.bytes)
        if columns is None:
            return frame
        return self.select(frame, {name: name for name in columns})

    def from_table(self, table: pa.Table) -> SparkFrame:
        """Hand a driver-side table to the engine; workers read it from a file."""
        schema = plain_schema(table.schema)
        held = held_table(table.cast(schema)) if self._options.driver_bytes else None
        if held is not None:
            return held
        file = self._folder() / "table.parquet"
        file.parent.mkdir(parents=True)
        rows = max(1, -(-len(table) // max(self._most, 2 * self.slots)))
        with part_writer(file, schema) as writer:
            writer.write_table(table.cast(schema), row_group_size=rows)
        return dataclasses.replace(read_footers(str(file)), listed=True)

    def map_batches(
        self,
        frame: SparkFrame,
        kernel: BatchKernel,
        schema: pa.Schema,
        *,
        order_by: Sequence[str] = (),
        together: str | None = None,
    ) -> SparkFrame:
        """Stream the frame through `kernel`, each partition by itself."""
        target = plain_schema(schema)
        if together is None and not order_by:
            frame = self._spread(frame)
            if self._is_by_files(frame):
                return self._over_files(frame, kernel, target)
            return self._mapped(frame, kernel, target)
        held = self._held(frame)
        if held is None:
            return self._mapped(
                self._shuffled_rows(frame, order_by, together), kernel, target
            )
        if together is None:
            return self._over_files(self._handed(frame, held, order_by), kernel, target)
        bundles = self._together(frame, held, together, order_by)
        return self._over_bundles(bundles, frame, kernel, target)

    def map_groups(
        self, frame: SparkFrame, key: str, kernel: GroupKernel, schema: pa.Schema
    ) -> SparkFrame:
        """Apply `kernel` once to all rows of each value of the integer column `key`."""
        target = plain_schema(schema)
        held = self._held(frame)
        if held is not None:
            whole = partial(apply_together, key=key, kernel=kernel)
            bundles = self._grouped(held, key)
            return self._over_bundles(bundles, frame, whole, target)
        data = self._data(self._spread(frame)).repartition(*self._parts(), key)
        data = data.sortWithinPartitions(key)
        ordered = dataclasses.replace(frame, data=data, parts=None, held=None)
        return self._mapped(ordered, workers.group_kernel(key, kernel), target)

    def cut(
        self, frame: SparkFrame, by: Sequence[tuple[str, bool]], count: int
    ) -> dict[str, Any] | None:
        """Return the `count`-th row in the order `by`: sorted, counted, picked."""
        from pyspark.sql.functions import col, spark_partition_id

        if count < 1:
            return None
        held = self._held(frame)
        if held is not None:
            return self._local.cut(held, by, count)
        columns = {name: name for name, _ in by}
        chosen = self.select(self._spread(frame), columns)
        order = [
            col(name).desc_nulls_last() if down else col(name).asc_nulls_last()
            for name, down in by
        ]
        # Kept, so that counting and picking see the same partitions.
        kept = self._keep(self._data(chosen).orderBy(*order))
        ordered = SparkFrame(chosen.schema, kept)
        left = count
        for part in self._parts_of(ordered, workers.count_rows):
            if left <= part["rows"]:
                there = kept.where(spark_partition_id() == part["number"])
                return self._picked(SparkFrame(chosen.schema, there), left - 1)
            left -= part["rows"]
        return None

    def schema(self, frame: SparkFrame) -> pa.Schema:
        """Return the frame's columns in plain Arrow types."""
        return frame.schema

    def count(self, frame: SparkFrame) -> int:
        """Return the number of rows."""
        if frame.parts is not None:
            return frame.parts.rows
        if frame.held is not None:
            return self._local.count(frame.held)
        with our_errors():
            return int(self._data(frame).count())

    def write(self, frame: SparkFrame, path: str, sort_by: Sequence[str]) -> int:
        """Write a folder of Parquet parts, each sorted by `sort_by`; return the rows.

        Executors write the parts of one try each; those of the tries that count get
        their names, and the folder gets its own, from the driver at the end.
        """
        held = self._held(frame)
        if held is not None:
            return self._local.write(held, path, sort_by)
        frame = self._spread(frame)
        if frame.listed and frame.parts is not None:
            return _write_here(frame, Path(path), sort_by)
        if sort_by:
            data = self._data(frame).sortWithinPartitions(*sort_by)
            frame = SparkFrame(frame.schema, data)
        final = Path(path)
        beside = final.with_name(final.name + ".tmp")
        remove(beside)
        beside.mkdir(parents=True)
        files, rows = self._written(frame, workers.write_parquet, beside)
        for number, file in enumerate(files):
            os.replace(file, beside / f"part-{number:05d}.parquet")
        for stray in beside.iterdir():
            if not stray.name.startswith("part-"):
                stray.unlink()
        if not files:
            pq.write_table(frame.schema.empty_table(), beside / "part-00000.parquet")
        replace(beside, final)
        return rows

    def collect(self, frame: SparkFrame, max_rows: int) -> pa.Table:
        """Bring a bounded frame to the driver, through files that it maps."""
        if frame.parts is not None:
            # In files already, which the driver can read as well as a worker.
            if frame.parts.rows > max_rows:
                raise RunError(_TOO_MANY.format(max_rows))
            return frame.read()
        if frame.held is not None:
            return self._local.collect(frame.held, max_rows)
        folder = self._folder()
        folder.mkdir(parents=True)
        files, rows = self._written(frame, workers.write_arrow, folder)
        if rows > max_rows:
            raise RunError(_TOO_MANY.format(max_rows))
        tables = [frame.schema.empty_table()]
        for file in files:
            tables.append(pa.ipc.open_file(pa.memory_map(str(file))).read_all())
        return pa.concat_tables(tables)

    def clear(self) -> None:
        """Forget what executors keep and remove the scratch files."""
        for line in self._warned.value:
            EVENTS.warning("%s", line)
        self._warned.value = []
        for data in self._kept:
            data.unpersist()
        self._kept = []
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _is_by_files(self, frame: SparkFrame) -> bool:
        """Whether a kernel's rows are files and are to stay files."""
        if frame.parts is None or not self._options.driver_bytes:
            return False
        # Nobody knows what shards that are listed come to: files hold any number.
        return frame.listed or self._is_small(frame)

    def _over_files(
        self, frame: SparkFrame, kernel: BatchKernel, target: pa.Schema
    ) -> SparkFrame:
        """Run a kernel over files, neighbours together; at least once, over no rows."""
        return self._over_bundles(self._bundles(frame) or [[]], frame, kernel, target)

    def _over_bundles(
        self,
        bundles: Sequence[FileBundle],
        frame: SparkFrame,
        kernel: BatchKernel,
        target: pa.Schema,
    ) -> SparkFrame:
        columns = frame.columns or {name: name for name in frame.schema.names}
        read = SparkFrame(frame.schema, columns=columns)
        return self._tasks.run(bundles, read, kernel, target, self._options.batch_rows)

    def _shuffled_rows(
        self, frame: SparkFrame, order_by: Sequence[str], together: str | None
    ) -> SparkFrame:
        data = self._data(self._spread(frame))
        if together is not None:
            data = data.repartition(*self._parts(), together)
        else:
            data = data.repartitionByRange(*self._parts(), *order_by)
        if order_by:
            data = data.sortWithinPartitions(*order_by)
        return dataclasses.replace(frame, data=data, parts=None, held=None)

    def _parts(self) -> tuple[Any, ...]:
        """Return the number of parts that a shuffle is told, if any."""
        return (self._most,) if self._most else ()

    def _plan_shuffles(self, size: int) -> None:
        """Have shuffles in as many parts as the largest artifact so far needs.

        Spark's own number is a constant: far too many for a small pool, each at the
        cost of a Python task, and too few for a large one.
        """
        if self._most:
            return
        wanted = max(2 * self.slots, 4 * size // BUNDLE_BYTES)
        if wanted > self._shuffled:
            self._shuffled = wanted
            self._session.conf.set("spark.sql.shuffle.partitions", str(wanted))

    def _folder(self) -> Path:
        return self._scratch / f"{next(self._numbers):06d}"

    def _keep(self, data: DataFrame) -> DataFrame:
        from pyspark import StorageLevel

        kept = data.persist(StorageLevel.MEMORY_AND_DISK)
        self._kept.append(kept)
        return kept

    def _mapped(
        self, frame: SparkFrame, kernel: BatchKernel, target: pa.Schema
    ) -> SparkFrame:
        function = partial(
            workers.run_kernel,
            kernel=kernel,
            source=frame.schema,
            target=target,
            peak=self._peak,
            warned=self._warned,
        )
        mapped = self._through(frame, function, target)
        known = frame.bytes is not None and not frame.listed
        size = _GROWTH * (frame.bytes or 0) if known else None
        return SparkFrame(target, self._keep(mapped), bytes=size)

    def _parts_of(self, frame: SparkFrame, kernel: Any) -> list[dict[str, Any]]:
        """Run a kernel that yields WRITTEN; return its rows by partition."""
        with our_errors():
            rows = self._through(frame, kernel, workers.WRITTEN).collect()
        return sorted((row.asDict() for row in rows), key=lambda row: row["number"])

    def _written(
        self, frame: SparkFrame, kernel: Any, folder: Path
    ) -> tuple[list[Path], int]:
        function = partial(kernel, schema=frame.schema, folder=os.fspath(folder))
        parts = self._parts_of(frame, function)
        files = [folder / part["file"] for part in parts]
        require_written(files)
        return files, sum(part["rows"] for part in parts)

    def _picked(self, frame: SparkFrame, offset: int) -> dict[str, Any]:
        schema = frame.schema
        kernel = partial(workers.pick_row, offset=offset)
        with our_errors():
            picked = self._through(frame, kernel, schema).toArrow()
        if len(picked) != 1:
            raise RunError("a partition has changed while it was counted")
        (batch,) = picked.cast(wire_schema(schema)).combine_chunks().to_batches()
        (row,) = from_wire(batch, schema).to_pylist()
        return dict(row)


def _write_here(frame: SparkFrame, folder: Path, sort_by: Sequence[str]) -> int:
    """Write a table of the driver's as `write` does, without a job; return its rows."""
    table = frame.read()
    if sort_by:
        table = table.sort_by([(name, "ascending") for name in sort_by])
    beside = folder.with_name(folder.name + ".tmp")
    remove(beside)
    beside.mkdir(parents=True)
    with part_writer(beside / "part-00000.parquet", frame.schema) as writer:
        writer.write_table(table)
    replace(beside, folder)
    return int(table.num_rows)
