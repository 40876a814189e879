"""The verbs of relations: what Spark does by itself, without our kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from winnow.core.engine import BatchKernel, DeviceChoice, How, Measure
from winnow.engines.spark import workers
from winnow.engines.spark.frame import SparkFrame, united
from winnow.engines.spark.session import SparkOptions
from winnow.engines.spark.wire import spark_schema

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

#: Uncompressed bytes that one task reads.
BUNDLE_BYTES = 64 * 2**20
#: Bytes up to which every executor is sent one side of a join.
_THRESHOLD = "spark.sql.autoBroadcastJoinThreshold"
#: The same, of sizes that Spark has measured.
_AT_WORK = "spark.sql.adaptive.autoBroadcastJoinThreshold"
_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}
_JOINS = {"inner": "inner", "left": "left", "semi": "left_semi", "anti": "left_anti"}


class Relations:
    """Joins, unions and the like over the DataFrames of one session."""

    def __init__(self, session: SparkSession, options: SparkOptions) -> None:
        self._session = session
        self._options = options
        self._context = session.sparkContext
        # Spark takes what Python yields to be as small as what it was given (numbers of
        # parts, say) and would send any of it to the driver and every executor.
        self._small = _bytes(session.conf.get(_THRESHOLD))
        session.conf.set(_AT_WORK, str(self._small))
        session.conf.set(_THRESHOLD, "-1")

    @property
    def slots(self) -> int:
        """Kernels that run at a time."""
        return int(self._context.defaultParallelism)

    @property
    def group_bytes(self) -> int:
        """Bytes of rows that a kernel may take whole."""
        return self._options.group_bytes

    @property
    def driver_rows(self) -> int:
        """Edges, or digests of one band, that the driver takes in."""
        return self._options.driver_rows

    @property
    def device(self) -> DeviceChoice:
        """What kernels multiply vectors on."""
        return self._options.device

    def join(
        self, left: SparkFrame, right: SparkFrame, on: str, how: How
    ) -> SparkFrame:
        """Equi-join on one column."""
        from pyspark.sql.functions import broadcast, col

        # New names for the same columns: both sides may descend from one frame.
        other = self._data(right)
        other = other.select(*(col(name).alias(name) for name in other.columns))
        if right.bytes is not None and right.bytes <= self._small:
            other = broadcast(other)
        schema = joined_schema(left.schema, right.schema, on, how)
        joined = self._data(left).join(other, on, _JOINS[how])
        size = left.bytes
        if how in ("inner", "left"):
            size = _sum([left, right])
        data = joined.select(*schema.names)
        return SparkFrame(schema, data, bytes=size, listed=left.listed)

    def union(self, frames: Sequence[SparkFrame]) -> SparkFrame:
        """Concatenate frames of the same columns."""
        whole = united(frames)
        if whole is not None:
            return whole
        require_alike(frames)
        schema = frames[0].schema
        data = self._data(frames[0])
        for frame in frames[1:]:
            data = data.unionAll(self._data(frame))
        listed = any(frame.listed for frame in frames)
        return SparkFrame(schema, data, bytes=_sum(frames), listed=listed)

    def where(self, frame: SparkFrame, column: str, value: bool | None) -> SparkFrame:
        """Rows whose boolean `column` equals `value`."""
        from pyspark.sql.functions import col

        wanted = col(column).isNull() if value is None else col(column) == value
        data = self._data(frame).where(wanted)
        return replace(frame, data=data, parts=None)

    def select(self, frame: SparkFrame, columns: Mapping[str, str]) -> SparkFrame:
        """Choose and rename columns: `{new name: old name}`."""
        from pyspark.sql.functions import col

        unread = frame.selected(columns)
        if unread is not None:
            return unread
        chosen = (col(old).alias(new) for new, old in columns.items())
        data = self._data(frame).select(*chosen)
        return replace(frame, schema=frame.schema_of(columns), data=data)

    def aggregate(
        self,
        frame: SparkFrame,
        by: str | None,
        measures: Mapping[str, tuple[str, Measure]],
    ) -> SparkFrame:
        """Group by one column (or all rows as one group)."""
        data = self._data(frame)
        measured = [_measure(*how).alias(name) for name, how in measures.items()]
        schema = grouped_schema(frame.schema, by, measures)
        grouped = data.agg(*measured) if by is None else data.groupBy(by).agg(*measured)
        return SparkFrame(schema, grouped)

    @property
    def _most(self) -> int:
        return self._options.partitions or 0

    def _data(self, frame: SparkFrame) -> DataFrame:
        """Return the DataFrame, for parts one that reads them."""
        if frame.data is not None:
            return frame.data
        numbers, read = self._reader(frame)
        return numbers.mapInArrow(read, spark_schema(frame.schema))

    def _through(
        self, frame: SparkFrame, kernel: BatchKernel, schema: pa.Schema
    ) -> DataFrame:
        """Return what a kernel makes of the rows; parts are read by its own tasks."""
        target = spark_schema(schema)
        if frame.data is not None:
            return frame.data.mapInArrow(kernel, target)
        numbers, read = self._reader(frame)
        both = partial(workers.in_turn, kernels=(read, kernel))
        return numbers.mapInArrow(both, target)

    def _reader(self, frame: SparkFrame) -> tuple[DataFrame, BatchKernel]:
        """Return a number for each task that reads parts, and what reads them."""
        bundles = self._bundles(frame)
        read = partial(
            workers.read_parts,
            bundles=bundles,
            columns=frame.columns,
            schema=frame.schema,
            batch_rows=self._options.batch_rows,
        )
        numbers = self._session.range(
            0, len(bundles), 1, numPartitions=max(len(bundles), 1)
        )
        return numbers, read

    def _bundles(self, frame: SparkFrame) -> list[list[tuple[str, list[int]]]]:
        """Return what each task reads of a frame's files."""
        assert frame.parts is not None
        groups = [group[:3] for group in frame.parts.groups]
        wanted = max(2 * self.slots, frame.parts.bytes // BUNDLE_BYTES)
        return workers.bundled(groups, self._most or wanted)


def joined_schema(left: pa.Schema, right: pa.Schema, on: str, how: How) -> pa.Schema:
    """Return the columns of a join."""
    fields = list(left)
    if how in ("inner", "left"):
        fields += [field for field in right if field.name != on]
    return pa.schema(fields)


def grouped_schema(
    schema: pa.Schema, by: str | None, measures: Mapping[str, tuple[str, Measure]]
) -> pa.Schema:
    """Return the columns of an aggregate."""
    fields = [] if by is None else [(by, schema.field(by).type)]
    for name, (column, measure) in measures.items():
        is_count = measure == "count"
        fields.append((name, pa.int64() if is_count else schema.field(column).type))
    return pa.schema(fields)


def require_alike(frames: Sequence[SparkFrame]) -> None:
    """Raise ValueError if frames differ in their columns."""
    schema = frames[0].schema
    for frame in frames[1:]:
        if frame.schema != schema:
            raise ValueError(f"union of {schema} and {frame.schema}")


def _measure(column: str, measure: Measure) -> Column:
    from pyspark.sql import functions

    if measure == "count":
        return functions.count(functions.lit(1))
    if measure == "sum":
        # Of nothing it is 0, as it is on one machine.
        return functions.coalesce(functions.sum(column), functions.lit(0))
    return functions.min(column) if measure == "min" else functions.max(column)


def _sum(frames: Sequence[SparkFrame]) -> int | None:
    """Return the bytes of all frames, None if they are not known of one."""
    known = [frame.bytes for frame in frames if frame.bytes is not None]
    return sum(known) if len(known) == len(frames) else None


def _bytes(text: str | None) -> int:
    """Return the bytes that a setting like '10MB' says; -1: none."""
    number = str(text or -1).strip().lower().removesuffix("b")
    unit = _UNITS.get(number[-1:], 1)
    return int(number.rstrip("kmgtp")) * unit
