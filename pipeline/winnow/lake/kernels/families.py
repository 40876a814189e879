"""Which Arrow types can hold equal values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from winnow.core.arrow_types import is_text
from winnow.lake.kernels.tables import Family


def family(kind: pa.DataType) -> Family:
    """Return the family whose values a column of this type holds.

    The lattice has one level. Within a family values are compared, never types:

    - number: signed and unsigned integers, float16 to float64, decimals of any scale;
    - boolean, which is no number;
    - text: string, large_string, string_view, by their UTF-8 bytes;
    - binary: binary, large_binary, binary_view, fixed_size_binary (so UUIDs);
    - date: date32, date64; time: time32, time64; duration: any unit;
    - naive timestamp and zoned timestamp: any unit, the zone's name does not matter;
    - nested: lists, maps, unions and whatever else is below a leaf path;
    - null: a column that holds nothing else.

    Dictionary and run-end encoded columns belong to the family of their values,
    extension types to that of their storage. A struct is no leaf; one that is asked for
    nevertheless is nested.
    """
    # By its number, since to hash a type means to write it out.
    known = _BY_NUMBER.get(kind.id)
    # A user's own extension type may have no hash; what it stores has one.
    return known or _family(value_type(kind))


@lru_cache(maxsize=1024)
def _family(kind: pa.DataType) -> Family:
    for belongs, known in _TESTS:
        if belongs(kind):
            return known
    if pa.types.is_timestamp(kind):
        return Family.NAIVE if kind.tz is None else Family.ZONED
    return Family.NESTED


def comparable(one: Family, other: Family) -> bool:
    """Whether a value of one family can equal a value of the other."""
    return one == other or Family.NULL in (one, other)


def value_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values below encodings and extension types."""
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
            kind = kind.value_type
        else:
            return kind


#: The one field of a struct that only says whether what is around a leaf is there.
_PRESENT = "\0present"


def within(array: pa.Array, around: Sequence[pa.Array]) -> pa.Array:
    """Return a leaf's values wrapped into the structs around them, if one is null.

    around: the structs (n,) from the outside in. A row whose struct is null is another
    than one whose struct holds a null.
    """
    if not any(struct.null_count for struct in around):
        return array
    for struct in reversed(around):
        array = pa.StructArray.from_arrays([array], [_PRESENT], mask=struct.is_null())
    return array


def is_wrapped(array: pa.Array) -> bool:
    """Whether an array is what `within` wraps."""
    kind = array.type
    return bool(
        pa.types.is_struct(kind)
        and kind.num_fields == 1
        and kind.field(0).name == _PRESENT
    )


def unwrapped(array: pa.Array) -> pa.Array:
    """Return a leaf's values without the structs around them."""
    while is_wrapped(array):
        array = pc.struct_field(array, [0])
    return array


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
    )


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


_TESTS = (
    (_is_number, Family.NUMBER),
    (is_text, Family.TEXT),
    (pa.types.is_boolean, Family.BOOLEAN),
    (pa.types.is_date, Family.DATE),
    (_is_binary, Family.BINARY),
    (pa.types.is_time, Family.TIME),
    (pa.types.is_duration, Family.DURATION),
    (pa.types.is_null, Family.NULL),
)
_BY_NUMBER = {
    kind.id: _family(kind)
    for kind in (
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
        *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.date32()),
    )
}
