"""Arrow types and values in DuckDB's SQL."""

from __future__ import annotations

import pyarrow as pa

from winnow.core.sql_text import literal
from winnow.lake.kernels.families import value_type

_NAMES = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float16(): "FLOAT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.string(): "VARCHAR",
    pa.large_string(): "VARCHAR",
    pa.string_view(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.large_binary(): "BLOB",
    pa.date32(): "DATE",
    pa.date64(): "DATE",
    pa.time64("ns"): "TIME_NS",
    pa.timestamp("s"): "TIMESTAMP_S",
    pa.timestamp("ms"): "TIMESTAMP_MS",
    pa.timestamp("us"): "TIMESTAMP",
    pa.timestamp("ns"): "TIMESTAMP_NS",
}
_DECIMAL_DIGITS = 38


def sql_type(kind: pa.DataType) -> str | None:
    """Return the DuckDB type that holds a type's values, None if none is known to."""
    kind = value_type(kind)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return "TIMESTAMPTZ_NS" if kind.unit == "ns" else "TIMESTAMPTZ"
    if pa.types.is_decimal(kind) and kind.precision <= _DECIMAL_DIGITS:
        return f"DECIMAL({kind.precision}, {kind.scale})" if kind.scale >= 0 else None
    if pa.types.is_time(kind):
        return _NAMES.get(kind, "TIME")
    return _NAMES.get(kind)


def sql_value(value: pa.Scalar) -> str:
    """Return a value as an SQL expression of its type.

    Raises ValueError for a type that has no notation.
    """
    kind = value_type(value.type)
    name = sql_type(kind)
    if name in (None, "BLOB"):
        raise ValueError(f"a value of type {value.type} has no notation in SQL")
    if not value.is_valid:
        return f"CAST(NULL AS {name})"
    if isinstance(value, pa.DictionaryScalar):
        return sql_value(value.value)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return str(value.as_py()).upper()
    if name == "VARCHAR":
        return literal(value.as_py())
    # Arrow writes every digit that a unit of time has, and UTC as a Z.
    in_words = value.cast(pa.string()) if pa.types.is_temporal(kind) else value
    return f"CAST({literal(str(in_words.as_py()))} AS {name})"
