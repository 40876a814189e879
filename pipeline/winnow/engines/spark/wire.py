"""How Arrow columns cross Spark: types it lacks travel as types it has.

Order, equality, least and greatest are those of the values, so that sorts, joins and
aggregates in Spark mean the same:

    fixed-size lists     their bytes (float16 vectors: 2 bytes a number)
    uint64               int64, shifted by 2^63; smaller ones as the next larger int
    float16              float32
    dates, times, …      the integers that Arrow stores
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from winnow.core.errors import InputError

if TYPE_CHECKING:
    from pyspark.sql.types import DataType, StructType

_SHIFT = np.uint64(2**63)
_SAME = (
    pa.bool_(),
    pa.int8(),
    pa.int16(),
    pa.int32(),
    pa.int64(),
    pa.float32(),
    pa.float64(),
    pa.string(),
    pa.binary(),
)
_WIDER = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.float16(): pa.float32(),
    pa.null(): pa.bool_(),
}


def wire_type(kind: pa.DataType) -> pa.DataType:  # noqa: PLR0911
    """Return the type under which a column crosses Spark.

    Raises InputError for a type that no column of an engine may have.
    """
    if kind in _SAME or pa.types.is_decimal128(kind):
        return kind
    if kind in _WIDER:
        return _WIDER[kind]
    if kind == pa.uint64() or _stored_as(kind) == pa.int64():
        return pa.int64()
    if _stored_as(kind) is not None:
        return _stored_as(kind)
    if pa.types.is_fixed_size_list(kind) and _width(kind.value_type):
        return pa.binary()
    if pa.types.is_list(kind):
        return pa.list_(wire_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(f.name, wire_type(f.type)) for f in kind])
    if pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    raise InputError(f"a column of {kind} cannot be handed through Spark")


def wire_schema(schema: pa.Schema) -> pa.Schema:
    """Return the columns under which a schema's rows cross Spark."""
    return pa.schema([(field.name, wire_type(field.type)) for field in schema])


def to_wire(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Turn a batch of `schema` into what crosses Spark."""
    columns = [_out(batch.column(field.name), field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=wire_schema(schema))


def from_wire(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Turn what crossed Spark back into a batch of `schema`."""
    pairs = zip(batch.columns, schema, strict=True)
    columns = [_back(column, field.type) for column, field in pairs]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def spark_schema(schema: pa.Schema) -> StructType:
    """Return a schema that crosses Spark in Spark's own types."""
    from pyspark.sql.types import StructField, StructType

    wire = wire_schema(schema)
    return StructType([StructField(f.name, _spark_type(f.type), True) for f in wire])


def _spark_type(kind: pa.DataType) -> DataType:
    from pyspark.sql import types as t

    plain: dict[pa.DataType, Callable[[], DataType]] = {
        pa.bool_(): t.BooleanType,
        pa.int8(): t.ByteType,
        pa.int16(): t.ShortType,
        pa.int32(): t.IntegerType,
        pa.int64(): t.LongType,
        pa.float32(): t.FloatType,
        pa.float64(): t.DoubleType,
        pa.string(): t.StringType,
        pa.binary(): t.BinaryType,
    }
    if kind in plain:
        return plain[kind]()
    if pa.types.is_decimal128(kind):
        return t.DecimalType(kind.precision, kind.scale)
    if pa.types.is_list(kind):
        return t.ArrayType(_spark_type(kind.value_type), True)
    fields = [t.StructField(f.name, _spark_type(f.type), True) for f in kind]
    return t.StructType(fields)


def _stored_as(kind: pa.DataType) -> pa.DataType | None:
    """Return the integers that a date, a time or a duration is stored as."""
    if pa.types.is_date32(kind) or pa.types.is_time32(kind):
        return pa.int32()
    temporal = pa.types.is_timestamp(kind) or pa.types.is_duration(kind)
    if temporal or pa.types.is_date64(kind) or pa.types.is_time64(kind):
        return pa.int64()
    return None


def _width(kind: pa.DataType) -> int:
    """Return the bytes of a number of this type, or 0."""
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return kind.bit_width // 8 if number else 0


def _out(array: pa.Array, kind: pa.DataType) -> pa.Array:  # noqa: PLR0911
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else None
    array = array.cast(kind) if array.type != kind else array
    wire = wire_type(kind)
    if wire == kind and not pa.types.is_nested(kind):
        return array
    if kind == pa.uint64():
        return _shifted(array, np.uint64, np.int64)
    if pa.types.is_fixed_size_list(kind):
        return _packed(array, kind)
    if pa.types.is_list(kind):
        return _relisted(array, _out(array.values, kind.value_type))
    if pa.types.is_struct(kind):
        return _restructured(array, [_out(array.field(f.name), f.type) for f in kind])
    if _stored_as(kind) is not None:
        return array.view(wire)
    return array.cast(wire)


def _back(array: pa.Array, kind: pa.DataType) -> pa.Array:  # noqa: PLR0911
    if array.type == kind and not pa.types.is_nested(kind):
        return array
    if pa.types.is_null(kind):
        return pa.nulls(len(array))
    if kind == pa.uint64():
        return _shifted(array.cast(pa.int64()), np.int64, np.uint64)
    if pa.types.is_fixed_size_list(kind):
        return _unpacked(array.cast(pa.binary()), kind)
    if pa.types.is_list(kind):
        return _relisted(array, _back(array.values, kind.value_type))
    if pa.types.is_struct(kind):
        return _restructured(array, [_back(array.field(f.name), f.type) for f in kind])
    if _stored_as(kind) is not None:
        return array.cast(wire_type(kind)).view(kind)
    if kind == pa.float16():
        return array.cast(pa.float32()).cast(kind)
    return array.cast(kind)


def _shifted(array: pa.Array, source: Any, target: Any) -> pa.Array:
    values = pc.fill_null(array, 0).to_numpy().view(np.uint64) ^ _SHIFT
    missing = array.is_null().to_numpy(zero_copy_only=False)
    return pa.array(values.view(target), mask=missing if missing.any() else None)


def _packed(array: pa.FixedSizeListArray, kind: pa.DataType) -> pa.Array:
    """Return each list's bytes; null for a null list."""
    size = kind.list_size * _width(kind.value_type)
    # Null lists have no bytes of their own once flattened.
    flat = array.flatten()
    if flat.null_count:
        raise InputError("a vector holds a null number")
    lengths = np.where(array.is_null().to_numpy(zero_copy_only=False), 0, size)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    if ends[-1] >= 2**31:
        raise InputError("a batch of vectors exceeds 2 GiB; lower engine.batch_rows")
    data = np.ascontiguousarray(flat.to_numpy(zero_copy_only=False))
    buffers = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(data)]
    bytes_ = pa.Array.from_buffers(pa.binary(), len(array), buffers)
    return pc.if_else(array.is_valid(), bytes_, None) if array.null_count else bytes_


def _unpacked(array: pa.Array, kind: pa.DataType) -> pa.Array:
    offsets = np.frombuffer(array.buffers()[1], np.int32)
    offsets = offsets[array.offset : array.offset + len(array) + 1]
    size = kind.list_size * _width(kind.value_type)
    number = kind.value_type.to_pandas_dtype()
    if array.null_count:
        missing = array.is_null().to_numpy(zero_copy_only=False)
        filled = pc.fill_null(array, bytes(size))
        whole = _unpacked(filled, kind)
        return pa.FixedSizeListArray.from_arrays(
            whole.flatten(), kind.list_size, mask=pa.array(missing)
        )
    data = array.buffers()[2]
    if data is None:
        return pa.FixedSizeListArray.from_arrays(
            pa.array([], kind.value_type), kind.list_size
        )
    values = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    return pa.FixedSizeListArray.from_arrays(
        pa.array(values.view(number), kind.value_type), kind.list_size
    )


def _relisted(array: pa.Array, values: pa.Array) -> pa.Array:
    mask = array.is_null() if array.null_count else None
    offsets = array.offsets
    if mask is not None and array.offset:
        # Arrow takes a mask only of offsets that begin at zero.
        offsets = pa.array(offsets.to_numpy())
    return pa.ListArray.from_arrays(offsets, values, mask=mask)


def _restructured(array: pa.Array, fields: list[pa.Array]) -> pa.Array:
    names = [field.name for field in array.type]
    mask = array.is_null() if array.null_count else None
    return pa.StructArray.from_arrays(fields, names, mask=mask)
