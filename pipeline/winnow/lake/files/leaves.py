"""Leaf columns: structs flattened to dotted paths, lists and maps left whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from winnow.core.arrow_types import is_text
from winnow.lake.kernels.families import family, value_type, within
from winnow.lake.kernels.tables import Column

#: Tell columns of one table apart, and nothing of what they hold.
_NUMBERS = ("PARQUET:field_id", "delta.columnMapping.")


def leaf_columns(schema: pa.Schema) -> tuple[Column, ...]:
    """Return the leaf columns of a schema, depth first.

    A null struct and a struct of nulls have the same leaves, see `flattened`. Raises
    ValueError if two leaves have one path, since no path then names a column.
    """
    columns = tuple(
        _column(path, field) for top in schema for path, field in _leaves(top.name, top)
    )
    if len({column.name for column in columns}) == len(columns):
        return columns
    twice = [n for n, count in Counter(c.name for c in columns).items() if count > 1]
    raise ValueError(f"two columns are called {twice[0]!r}; rename one of them")


def _column(path: str, field: pa.Field) -> Column:
    kind = field.type
    common = _COMMON.get(kind.id)
    if common is not None:
        return Column(path, *common, metadata_of(field))
    kind = _same_type(kind) if _is_plain(kind) else with_maps_named_alike(kind)
    return Column(path, kind, family(kind), metadata_of(field))


#: Types without parameters, by their numbers: to hash a type means to write it out.
_COMMON = {
    kind.id: (kind, family(kind))
    for kind in (
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
        *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.date32()),
    )
}


def _is_plain(kind: pa.DataType) -> bool:
    return bool(pa.types.is_primitive(kind) or pa.types.is_string(kind))


@lru_cache(maxsize=256)
def _same_type(kind: pa.DataType) -> pa.DataType:
    """Return the first of several equal types: pickled with others, it counts once."""
    return kind


def metadata_of(field: pa.Field) -> tuple[tuple[str, str], ...]:
    """Return what a schema says of a column besides its type, sorted by key."""
    held = field.metadata
    if not held:
        return ()
    texts = {k.decode(errors="replace"): v for k, v in held.items()}
    return tuple(
        (key.removeprefix("ARROW:"), value.decode(errors="replace"))
        for key, value in sorted(texts.items())
        if not key.startswith(_NUMBERS)
    )


def physical_leaves(kind: pa.DataType) -> int:
    """Return how many columns of a Parquet file hold a column of this type."""
    if kind.id in _COMMON:
        return 1  # as most are
    kind = value_type(kind)
    children = [kind.field(i).type for i in range(kind.num_fields)]
    return sum(map(physical_leaves, children)) if children else 1


def flattened(
    batch: pa.RecordBatch, columns: Sequence[str], *, presence: bool = False
) -> pa.RecordBatch:
    """Return the leaf columns asked for, in that order.

    A text column with invalid UTF-8 comes as bytes; extension types as their storage.
    With `presence` a leaf of a struct that is null in some row comes wrapped (see
    `families.within`), which tells that row from one whose struct holds nulls. Raises
    KeyError if there is no such column.
    """
    wanted = set(columns)
    tops = zip(batch.schema.names, batch.columns, strict=True)
    leaves = {
        path: array
        for name, top in tops
        for path, *array in _leaf_arrays(name, top, ())
        if path in wanted
    }
    arrays = []
    for name in columns:
        array, around = leaves[name]
        array = decodable(array)
        arrays.append(within(array, around) if presence else array)
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def decodable(array: pa.Array) -> pa.Array:
    """Return the column as it is, or as bytes if its text is no UTF-8.

    Parquet files hold whatever bytes their writer took for text, and Arrow reads them
    unchecked; decoding one later would end the run. Views, which few functions take,
    come as large text or bytes.
    """
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_primitive(array.type):
        return array  # as most are
    array = _cast(array, _VIEWS)
    if not _has_text(array.type) or _is_ascii(array):
        return array
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        if pa.types.is_dictionary(array.type):
            # What a dictionary holds need not occur.
            return decodable(array.dictionary_decode())
        return _cast(array, _TEXTS)
    return array


def _is_ascii(array: pa.Array) -> bool:
    """Whether an array is of plain texts of ASCII, of which there is nothing to check.

    To look at all bytes at once takes a tenth of the time of a look at each text.
    """
    if not pa.types.is_string(array.type):
        return False
    _, offsets, data = array.buffers()
    if data is None or not len(array):
        return True
    ends = np.frombuffer(offsets, np.int32)
    first, last = ends[array.offset], ends[array.offset + len(array)]
    return bytes(memoryview(data)[first:last]).isascii()


_Types = Mapping[pa.DataType, pa.DataType]
_VIEWS: _Types = {
    pa.string_view(): pa.large_string(),
    pa.binary_view(): pa.large_binary(),
}
_TEXTS: _Types = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}


def _leaves(path: str, field: pa.Field) -> Iterator[tuple[str, pa.Field]]:
    kind = field.type
    if kind.id in _COMMON or not (pa.types.is_struct(kind) and kind.num_fields):
        yield path, field
        return
    for i in range(kind.num_fields):
        yield from _leaves(f"{path}.{kind.field(i).name}", kind.field(i))


def _leaf_arrays(
    path: str, array: pa.Array, around: tuple[pa.Array, ...]
) -> Iterator[tuple[str, pa.Array, tuple[pa.Array, ...]]]:
    """Yield path, values and the structs around them, from the outside in."""
    kind = array.type
    if kind.id in _COMMON or not (pa.types.is_struct(kind) and kind.num_fields):
        yield path, array, around
        return
    for i in range(kind.num_fields):
        inner = pc.struct_field(array, [i])
        name = f"{path}.{kind.field(i).name}"
        yield from _leaf_arrays(name, inner, (*around, array))


def _has_text(kind: pa.DataType) -> bool:
    kind = value_type(kind)
    children = (kind.field(i).type for i in range(kind.num_fields))
    return is_text(kind) or any(map(_has_text, children))


def _cast(array: pa.Array, types: _Types) -> pa.Array:
    kind = replaced_types(array.type, types)
    return array if kind == array.type else array.cast(kind)


def with_maps_named_alike(kind: pa.DataType) -> pa.DataType:
    """Return an equal type whose maps have Arrow's own names for their fields.

    A file's mean nothing, and a catalogue, which keeps schemas as Arrow writes them,
    comes without them.
    """
    if not (pa.types.is_nested(kind) and "map<" in str(kind)):
        return kind
    schema = pa.ipc.read_schema(pa.schema([pa.field("", kind)]).serialize())
    return schema.field(0).type


def replaced_types(kind: pa.DataType, types: _Types) -> pa.DataType:
    """Return the type with some types, at any depth, replaced by others."""

    def inner(field: pa.Field) -> pa.Field:
        return field.with_type(replaced_types(field.type, types))

    if pa.types.is_struct(kind):
        return pa.struct([inner(kind.field(i)) for i in range(kind.num_fields)])
    if pa.types.is_map(kind):
        return pa.map_(inner(kind.key_field), inner(kind.item_field))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(inner(kind.value_field), kind.list_size)
    if pa.types.is_large_list(kind):
        return pa.large_list(inner(kind.value_field))
    if pa.types.is_list(kind):
        return pa.list_(inner(kind.value_field))
    return types.get(kind, kind)
