"""Columns of Delta tables as their files hold them: under mapped names, or by number.

A table's schema says of each field, at any depth, under which name it stands in files
(`delta.columnMapping.physicalName`), and which number it has there (`…id`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

_STORED = "delta.columnMapping."
_NUMBER = b"PARQUET:field_id"


def stored_name(field: Mapping[str, Any], mode: str) -> str:
    """Return what files and partitions call a field of a table's schema.

    mode: none, name or id. Raises ValueError if the schema does not say.
    """
    if mode == "none":
        return str(field["name"])
    try:
        return str(field["metadata"][f"{_STORED}physicalName"])
    except KeyError:
        raise ValueError(
            f"names of its column {field['name']!r} are mapped, to none"
        ) from None


def stored_column(
    batch: pa.RecordBatch, field: Mapping[str, Any], mode: str, kind: pa.DataType
) -> pa.Array | None:
    """Return a field's column as the table has it; None if the file has none.

    kind: its type in the table.
    """
    number = _position(list(batch.schema), field, mode)
    if number is None:
        return None
    return _as_table_has(batch.column(number), field["type"], mode, kind)


def _position(
    held: Sequence[pa.Field], field: Mapping[str, Any], mode: str
) -> int | None:
    if mode == "id":
        number = str(field["metadata"][f"{_STORED}id"]).encode()
        told = [(one.metadata or {}).get(_NUMBER) for one in held]
        return told.index(number) if number in told else None
    name = stored_name(field, mode)
    names = [one.name for one in held]
    return names.index(name) if name in names else None


def _as_table_has(array: pa.Array, told: Any, mode: str, kind: pa.DataType) -> pa.Array:
    if mode == "none" or not isinstance(told, Mapping):
        return array.cast(kind)
    if told["type"] == "struct":
        held = [array.type.field(i) for i in range(array.type.num_fields)]
        inner, columns = array.flatten(), []
        for i, field in enumerate(told["fields"]):
            number, want = _position(held, field, mode), kind.field(i).type
            columns.append(
                pa.nulls(len(array), want)
                if number is None
                else _as_table_has(inner[number], field["type"], mode, want)
            )
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return pa.StructArray.from_arrays(columns, fields=fields, mask=array.is_null())
    # What stands between two lists, and behind a null one, is left out.
    valid = array.is_valid()
    kept = array.filter(valid)
    lengths = np.zeros(len(array), np.int64)
    lengths[valid.to_numpy(zero_copy_only=False)] = np.diff(kept.offsets.to_numpy())
    offsets = pa.array(np.append(0, np.cumsum(lengths)), pa.int32())
    if told["type"] == "array":
        values = _as_table_has(
            kept.flatten(), told["elementType"], mode, kind.value_type
        )
        lists = pa.ListArray.from_arrays(offsets, values, mask=array.is_null())
        return lists.cast(kind)
    keys = _as_table_has(kept.keys, told["keyType"], mode, kind.key_type)
    items = _as_table_has(kept.items, told["valueType"], mode, kind.item_type)
    maps = pa.MapArray.from_arrays(offsets, keys, items, mask=array.is_null())
    return maps.cast(kind)
