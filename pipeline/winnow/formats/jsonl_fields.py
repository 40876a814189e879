"""Fields of JSON Lines as columns: which there are, and of which types."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from winnow.formats.shard_protocol import ShardFormat

#: The column that holds a row's whole line, without its line feed.
LINE = "__line__"

#: What a value may raise that is no JSON, or does not fit its column.
FAULTS = (pa.ArrowException, ValueError, TypeError, OverflowError)


def parse_object(line: bytes) -> dict[str, Any]:
    """Return a line's object; raises ValueError if it is none."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        # The line it names is this line's own first, whatever line of a file this is.
        where = f"{error.msg} at character {error.pos + 1}"
        raise ValueError(f"not JSON ({where})") from error
    except ValueError as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def schema_of(sample: Sequence[bytes]) -> pa.Schema:
    """Return LINE and the fields of a shard's first lines; broken ones do not count."""
    kinds: dict[str, pa.Field] = {LINE: pa.field(LINE, pa.binary())}
    for line in sample:
        try:
            entries = parse_object(line).items()
        except (ValueError, RecursionError):
            continue
        for name, value in entries:
            if not _is_text(name):
                # No column can be called so; the line keeps the field.
                continue
            kind = _field(name, value)
            known = kinds.get(name)
            kinds[name] = kind if known is None else _common(known, kind)
    return pa.schema([_settled(field) for field in kinds.values()])


def _is_text(name: str) -> bool:
    """Whether a field's name is Unicode text: JSON may hold half of a character."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _settled(field: pa.Field) -> pa.Field:
    """Return a field that has a type; one of nulls alone may be anything."""
    if pa.types.is_null(field.type):
        return _json(field.name)
    if pa.types.is_list(field.type) and pa.types.is_null(field.type.value_type):
        return pa.field(field.name, pa.list_(pa.string()))
    return field


def _json(name: str) -> pa.Field:
    return pa.field(name, pa.string())


def _field(name: str, value: Any) -> pa.Field:
    try:
        kind = pa.infer_type([value])
    except FAULTS:
        return _json(name)
    inner = kind.value_type if pa.types.is_list(kind) else kind
    return _json(name) if pa.types.is_nested(inner) else pa.field(name, kind)


def _common(one: pa.Field, other: pa.Field) -> pa.Field:
    if one.type == other.type or pa.types.is_null(other.type):
        return one
    if pa.types.is_null(one.type):
        return other
    try:
        kind = pa.infer_type([_example(one.type), _example(other.type)])
    except FAULTS:
        return _json(one.name)
    known = _example(one.type) is not None and _example(other.type) is not None
    return pa.field(one.name, kind) if known else _json(one.name)


_EXAMPLES: dict[pa.DataType, Any] = {
    pa.int64(): 1,
    pa.float64(): 0.5,
    pa.list_(pa.int64()): [1],
    pa.list_(pa.float64()): [0.5],
    pa.list_(pa.string()): [""],
    pa.list_(pa.null()): [],
}


def _example(kind: pa.DataType) -> Any:
    return _EXAMPLES.get(kind)


class FieldsFormat(ShardFormat):
    """A format whose shards declare no columns: each has the fields that it holds."""

    def merged(
        self, schema: pa.Schema, first: str, other: pa.Schema, path: str
    ) -> pa.Schema:
        """Return all fields of both; a field of two types is JSON text."""
        names = dict.fromkeys([*schema.names, *other.names])
        return pa.schema([_either_type(name, schema, other) for name in names])


def _either_type(name: str, schema: pa.Schema, other: pa.Schema) -> pa.Field:
    if name not in schema.names:
        return other.field(name)
    return (
        schema.field(name)
        if name not in other.names
        else _common(schema.field(name), other.field(name))
    )


def column_of(values: list[Any], field: pa.Field) -> pa.Array:
    """Return parsed values as a column; raises ValueError if some do not fit it."""
    if pa.types.is_string(field.type):
        # Whatever the sample has shown of the field: a number is the text of a number.
        values = [_as_text(value) for value in values]
    try:
        return pa.array(values, field.type)
    except FAULTS as error:
        raise ValueError(f"{field.name}: {error}") from error


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
