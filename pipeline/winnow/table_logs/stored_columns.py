"""Columns of tables as their files hold them: under other names, or by number.

A table's schema says of each field, at any depth, under which name it stands in files
(`delta.columnMapping.physicalName`), and which number it has there (`…id`). It is told
as Delta's log has it; `told_by_numbers` tells a schema of Iceberg's so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

_STORED = "delta.columnMapping."
_NUMBER = b"PARQUET:field_id"
#: Names that stand for a field in files without numbers.
_NAMES = "names"

#: A field of a table's schema, as Delta's log has it.
Told = Mapping[str, Any]


def told_by_numbers(schema: pa.Schema, names: Mapping[int, Sequence[str]]) -> list[Any]:
    """Return the fields of a schema whose fields have numbers in their metadata.

    names: what a field of this number may be called in files that have no numbers, if
    not as in the schema.
    """
    return [_told(field, names) for field in schema]


def _told(field: pa.Field, names: Mapping[int, Sequence[str]]) -> dict[str, Any]:
    number = int((field.metadata or {})[_NUMBER])
    return {
        "name": field.name,
        "type": _told_type(field.type, names),
        "metadata": {f"{_STORED}id": number},
        _NAMES: list(names.get(number, [field.name])),
    }


def _told_type(kind: pa.DataType, names: Mapping[int, Sequence[str]]) -> Any:
    if pa.types.is_struct(kind):
        inside = (kind.field(i) for i in range(kind.num_fields))
        return {"type": "struct", "fields": [_told(field, names) for field in inside]}
    if pa.types.is_map(kind):
        key, value = (_told_type(t, names) for t in (kind.key_type, kind.item_type))
        return {"type": "map", "keyType": key, "valueType": value}
    if pa.types.is_list(kind):
        return {"type": "array", "elementType": _told_type(kind.value_type, names)}
    return str(kind)


def without_numbers(schema: pa.Schema) -> pa.Schema:
    """Return a table's schema without what it says of its files, at any depth."""
    return pa.schema([_without(field) for field in schema], schema.metadata)


def _without(field: pa.Field) -> pa.Field:
    told = field.metadata or {}
    kept = {k: v for k, v in told.items() if not k.startswith(_STORED.encode())}
    kept.pop(_NUMBER, None)
    kind = field.type
    if pa.types.is_struct(kind):
        kind = pa.struct([_without(kind.field(i)) for i in range(kind.num_fields)])
    elif pa.types.is_map(kind):
        kind = pa.map_(_without(kind.key_field), _without(kind.item_field))
    elif pa.types.is_list(kind):
        kind = pa.list_(_without(kind.value_field))
    return pa.field(field.name, kind, field.nullable, kept or None)


def stored_name(field: Told, mode: str) -> str:
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
    batch: pa.RecordBatch | pa.Table, field: Told, mode: str, kind: pa.DataType
) -> pa.Array | None:
    """Return a field's column as the table has it; None if the file has none.

    kind: its type in the table.
    """
    number = position_of(list(batch.schema), field, mode)
    if number is None:
        return None
    column = batch.column(number)
    if isinstance(column, pa.ChunkedArray):
        parts = [as_table_has(c, field["type"], mode, kind) for c in column.chunks]
        return pa.chunked_array(parts, kind)
    return as_table_has(column, field["type"], mode, kind)


def position_of(held: Sequence[pa.Field], field: Told, mode: str) -> int | None:
    """Return which of a file's fields is a field of the table's; None: none is."""
    if mode == "id":
        number = str(field["metadata"][f"{_STORED}id"]).encode()
        told = [(one.metadata or {}).get(_NUMBER) for one in held]
        if any(told) or _NAMES not in field:
            return told.index(number) if number in told else None
        known = [name for name in field[_NAMES] if name in [one.name for one in held]]
        return [one.name for one in held].index(known[0]) if known else None
    name = stored_name(field, mode)
    names = [one.name for one in held]
    return names.index(name) if name in names else None


def as_table_has(array: pa.Array, told: Any, mode: str, kind: pa.DataType) -> pa.Array:
    """Return a file's column with the names, at any depth, and the type of the table.

    told: its type as the table's schema has it; kind: the same as Arrow's.
    """
    if mode == "none" or not isinstance(told, Mapping):
        return array.cast(kind)
    if told["type"] == "struct":
        held = [array.type.field(i) for i in range(array.type.num_fields)]
        inner, columns = array.flatten(), []
        for i, field in enumerate(told["fields"]):
            number, want = position_of(held, field, mode), kind.field(i).type
            columns.append(
                pa.nulls(len(array), want)
                if number is None
                else as_table_has(inner[number], field["type"], mode, want)
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
        values = as_table_has(
            kept.flatten(), told["elementType"], mode, kind.value_type
        )
        lists = pa.ListArray.from_arrays(offsets, values, mask=array.is_null())
        return lists.cast(kind)
    keys = as_table_has(kept.keys, told["keyType"], mode, kind.key_type)
    items = as_table_has(kept.items, told["valueType"], mode, kind.item_type)
    maps = pa.MapArray.from_arrays(offsets, keys, items, mask=array.is_null())
    return maps.cast(kind)
