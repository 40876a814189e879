"""Types and bits of what a rebuild gives back, as strictly as a reader would notice."""

from __future__ import annotations

import pyarrow as pa

_SAME = {
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
}
_INTEGERS = {
    pa.float16(): pa.int16(),
    pa.float32(): pa.int32(),
    pa.float64(): pa.int64(),
}


def same_type(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether two types differ in Arrow's layout of texts and lists at most.

    A dictionary is another type than text, a zone another than UTC.
    """
    return bool(_plain(one) == _plain(other))


def bits(array: pa.Array) -> pa.Array:
    """Return an array with integers of the same bits in place of floats, at any depth.

    What holds none comes as it is.
    """
    kind = _with_integers(array.type)
    if kind == array.type:
        return array
    if pa.types.is_struct(kind):
        fields = [bits(array.field(i)) for i in range(kind.num_fields)]
        names = [kind.field(i).name for i in range(kind.num_fields)]
        return pa.StructArray.from_arrays(fields, names, mask=array.is_null())
    return array.view(kind)


def _plain(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        return kind  # a user's own may have no hash
    if pa.types.is_struct(kind):
        return pa.struct([(f.name, _plain(f.type)) for f in kind])
    if pa.types.is_map(kind):
        return pa.map_(_plain(kind.key_type), _plain(kind.item_type))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    return _SAME.get(kind, kind)


def _with_integers(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        return kind
    if pa.types.is_struct(kind):
        return pa.struct([(f.name, _with_integers(f.type)) for f in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_with_integers(kind.value_type)))
    if pa.types.is_large_list(kind):
        field = kind.value_field.with_type(_with_integers(kind.value_type))
        return pa.large_list(field)
    return _INTEGERS.get(kind, kind)
