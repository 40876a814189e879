"""Values of Arrow arrays as 128-bit hashes that are equal where the values are.

Equal by value within a `Family`, whatever the width, the unit, the dictionary or the
layout: int32 1 = int64 1 = 1.0 = decimal 1.00, but the double nearest 0.1 is not the
decimal 0.1, and 2^53 + 1 is no double. NaN = NaN, −0.0 = 0.0; a null equals a null of
any family and nothing else (a field of a null struct is no null: it is absent).
Instants are compared in nanoseconds, lists element by element in their order, structs
by field name, maps whatever their order.

The hash is MurmurHash3_x64_128 of a fixed encoding (below: two 64-bit words, or the
bytes of a text) with a seed per family, so that another program can repeat it; no
engine's own hash takes part. Where it behaves as a random function, two different
values among n have the same hash with a probability below n²/2^129: 1.5e-21 for a
billion values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from winnow.lake.kernels import murmur3
from winnow.lake.kernels.decimals import (
    DOUBLE,
    NEGATIVE,
    decimal_encoding,
    decimal_words,
)
from winnow.lake.kernels.families import family as family_of
from winnow.lake.kernels.families import is_wrapped
from winnow.lake.kernels.murmur3 import Hashes
from winnow.lake.kernels.tables import Family
from winnow.numeric.compiled import compiled

#: Seeds of MurmurHash3, part of the encoding: changing one changes every sketch.
_SEEDS = {
    Family.NULL: 1,
    Family.NUMBER: 2,
    Family.BOOLEAN: 3,
    Family.TEXT: 4,
    Family.BINARY: 5,
    Family.DATE: 6,
    Family.NAIVE: 7,
    Family.ZONED: 8,
    Family.TIME: 9,
    Family.DURATION: 10,
    Family.NESTED: 11,
}
_LIST, _MAP, _STRUCT, _FIELD, _INTERVAL, _ABSENT = 12, 13, 14, 15, 16, 17

_SECOND = 10**9
_NANOSECONDS = {"s": _SECOND, "ms": 10**6, "us": 10**3, "ns": 1}
_NAN = np.array([np.nan]).view(np.uint64)[0] & np.uint64(0x7FFFFFFFFFFFFFFF)

Words = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]


def hash_values(array: pa.Array, family: Family) -> Hashes:
    """Return the hashes `(n,)` of an array's values as members of `family`.

    The family decides where the type alone does not: text that is not valid UTF-8
    arrives as binary and is text all the same. Raises TypeError for a type that no
    family holds.
    """
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return hash_values(array.storage, family)
    if is_wrapped(array):
        return _hash_wrapped(array, family)
    if pt.is_dictionary(kind):
        return _taken(hash_values(array.dictionary, family), array.indices)
    if pt.is_run_end_encoded(kind):
        return hash_values(pc.run_end_decode(array), family)
    if array.null_count == len(array):
        return nulls(len(array))
    plain = family is Family.NUMBER and kind.id in _PLAIN
    hashes = _hash_plain(array) if plain else _hashed(array, family)
    return _null_filled(hashes, array)


def _hash_plain(array: pa.Array) -> Hashes:
    """Hash signed integers or floats in one loop; what stands for a null as well."""
    out, seed = _empty(len(array)), _SEEDS[Family.NUMBER]
    values = stored_values(array, _NUMPY[array.type])
    if values.dtype.kind == "f":
        doubles = values.astype(np.float64, copy=False)
        _hash_doubles(doubles, doubles.view(np.uint64), seed, *out)
    else:
        wide = values if values.itemsize > 2 else values.astype(np.int64)
        _hash_integers(wide, seed, *out)
    return out


@compiled
def _hash_integers(values: Any, seed: Any, hi: Any, lo: Any) -> None:
    for i in range(len(values)):
        value = np.int64(values[i])
        # The magnitude of −2^63 does not fit int64; its bits are right as unsigned.
        size, sign = np.uint64(abs(value)), np.uint64(value < 0)
        hi[i], lo[i] = murmur3.hash_of_words(size, sign, seed)


@compiled
def _hash_doubles(values: Any, raw: Any, seed: Any, hi: Any, lo: Any) -> None:
    for i in range(len(values)):
        first, second = _double_word(values[i], raw[i])
        hi[i], lo[i] = murmur3.hash_of_words(first, second, seed)


def _hash_wrapped(array: pa.Array, family: Family) -> Hashes:
    """Hash a leaf; where a struct around it is null, how deep inside that stands."""
    depth, kind = 0, array.type
    while pt.is_struct(kind):
        depth, kind = depth + 1, kind.field(0).type
    hashes = hash_values(array.field(0), family)
    missing = array.is_null().to_numpy(zero_copy_only=False)
    words = np.array([depth], np.uint64), np.zeros(1, np.uint64)
    absent = _hash_words(words, _ABSENT)
    for half, value in zip(hashes, absent, strict=True):
        half[missing] = value[0]
    return hashes


def nulls(count: int) -> Hashes:
    """Return the hashes of `count` nulls: no bytes, with the seed of nulls."""
    return Hashes(np.full(count, _NULL_HI), np.full(count, _NULL_LO))


#: MurmurHash3_x64_128 of no bytes with the seed of nulls.
_NULL_HI, _NULL_LO = np.uint64(0x4610ABE56EFF5CB5), np.uint64(0x51622DAA78F83583)


def number_words(array: pa.Array) -> Words:
    """Return the two words that stand for each integer or float.

    An integer in (−2^64, 2^64), whatever its type: its magnitude, and POSITIVE or
    NEGATIVE. Any other double: its bits (one pattern for all NaN), and DOUBLE.
    """
    values = stored_values(array, _NUMPY[array.type])
    if values.dtype.kind == "u":
        return values.astype(np.uint64), np.zeros(len(values), np.uint64)
    if values.dtype.kind == "i":
        wide = values.astype(np.int64)
        # The magnitude of −2^63 does not fit int64; its bits are right as unsigned.
        return np.abs(wide).view(np.uint64), (wide < 0).astype(np.uint64)
    doubles = values.astype(np.float64, copy=False)
    words = np.empty(len(doubles), np.uint64), np.empty(len(doubles), np.uint64)
    _double_words(doubles, doubles.view(np.uint64), *words)
    return words


@compiled
def _double_words(doubles: Any, bits: Any, first: Any, second: Any) -> None:
    for i in range(len(doubles)):
        first[i], second[i] = _double_word(doubles[i], bits[i])


@compiled(inline="always")
def _double_word(value: Any, bits: Any) -> Any:
    size = abs(value)
    if size < 2.0**64 and np.floor(size) == size:
        return np.uint64(size), np.uint64(NEGATIVE if value < 0 else 0)
    return _NAN if np.isnan(value) else bits, np.uint64(DOUBLE)


def _hashed(array: pa.Array, family: Family) -> Hashes:
    """Hash the values of a plain type; what stands for a null does not matter."""
    kind = array.type
    if family in (Family.TEXT, Family.BINARY):
        return _hash_bytes(array, _SEEDS[family])
    if pt.is_decimal(kind):
        return _hash_decimals(array)
    if family == Family.NESTED:
        return _hash_nested(array)
    words = _WORDS.get(family)
    if words is None:
        raise TypeError(f"values of type {kind} cannot be compared as {family}")
    return _hash_words(words(array), _SEEDS[family])


def _boolean_words(array: pa.Array) -> Words:
    values = stored_values(array.cast(pa.uint8()), "u1").astype(np.uint64)
    return values, np.zeros(len(values), np.uint64)


def _date_words(array: pa.Array) -> Words:
    if pt.is_date32(array.type):
        days = stored_values(array, "i4").astype(np.int64)
    else:
        days = stored_values(array, "i8") // 86_400_000
    return days.view(np.uint64), np.zeros(len(days), np.uint64)


def _instant_words(array: pa.Array) -> Words:
    """Whole seconds (two's complement), and nanoseconds within: no unit overflows."""
    width = "i4" if pt.is_time32(array.type) else "i8"
    ticks = stored_values(array, width).astype(np.int64)
    nanoseconds = _NANOSECONDS[array.type.unit]
    seconds, rest = np.divmod(ticks, _SECOND // nanoseconds)
    return seconds.view(np.uint64), (rest * nanoseconds).view(np.uint64)


_WORDS: dict[Family, Callable[[pa.Array], Words]] = {
    Family.NUMBER: number_words,
    Family.BOOLEAN: _boolean_words,
    Family.DATE: _date_words,
    Family.NAIVE: _instant_words,
    Family.ZONED: _instant_words,
    Family.TIME: _instant_words,
    Family.DURATION: _instant_words,
}

#: By their numbers, since to hash a type means to write it out.
_PLAIN = {
    kind.id
    for kind in (
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
        *(pa.float16(), pa.float32(), pa.float64()),
    )
}
_NUMPY = {
    pa.int8(): "i1",
    pa.int16(): "i2",
    pa.int32(): "i4",
    pa.int64(): "i8",
    pa.uint8(): "u1",
    pa.uint16(): "u2",
    pa.uint32(): "u4",
    pa.uint64(): "u8",
    pa.float16(): "f2",
    pa.float32(): "f4",
    pa.float64(): "f8",
}


def _hash_decimals(array: pa.Array) -> Hashes:
    kind = array.type
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    if pt.is_decimal256(kind):
        slow = valid
        hashes = _empty(len(array))
    else:
        if not pt.is_decimal128(kind):
            array = array.cast(pa.decimal128(kind.precision, kind.scale))
        pairs = stored_values(array, "u8", 2).reshape(-1, 2)
        first, second, wide = decimal_words(pairs, kind.scale)
        hashes = _hash_words((first, second), _SEEDS[Family.NUMBER])
        slow = wide & valid
    rows = np.flatnonzero(slow)
    if len(rows):
        texts = [decimal_encoding(value) for value in array.take(rows).to_pylist()]
        some = _hash_bytes(pa.array(texts, pa.binary()), _SEEDS[Family.NUMBER])
        hashes.hi[rows], hashes.lo[rows] = some
    return hashes


def _hash_nested(array: pa.Array) -> Hashes:
    kind = array.type
    if pt.is_struct(kind):
        return _hash_struct(array)
    if pt.is_map(kind):
        entries = pa.StructArray.from_arrays(
            [array.keys, array.items], ["key", "value"]
        )
        return _hash_runs(array.offsets, entries, _MAP)
    if pt.is_interval(kind):
        words = stored_values(array, "u8", 2).reshape(-1, 2)
        return _hash_words((words[:, 0].copy(), words[:, 1].copy()), _INTERVAL)
    if not pt.is_nested(kind):
        raise TypeError(f"values of type {kind} cannot be compared")
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return _hash_runs(ends, pc.list_flatten(array), _LIST)


def _hash_runs(offsets: Any, values: pa.Array, seed: int) -> Hashes:
    """Hash lists (or, whatever their order, maps) from the hashes of their elements."""
    ends = np.asarray(offsets, dtype=np.int64)
    inner = values.slice(ends[0], ends[-1] - ends[0])
    elements = hash_values(inner, family_of(inner.type))
    out = _empty(len(ends) - 1)
    kernel = murmur3.hash_sums if seed == _MAP else murmur3.hash_runs
    kernel((elements.hi, elements.lo), ends - ends[0], seed, *out)
    return out


def _hash_struct(array: pa.Array) -> Hashes:
    """Hash a struct's fields by name, in the order of the names."""
    names = [field.name for field in array.type]
    state = Hashes(*(np.full(len(array), _STRUCT, np.uint64) for _ in range(2)))
    tags = _hash_bytes(pa.array(names, pa.binary()), _FIELD)
    for i in sorted(range(len(names)), key=names.__getitem__):
        # `field` leaves a sliced struct's offset to its children.
        child = array.field(i)
        tag = Hashes(*(np.full(len(array), half[i]) for half in tags))
        murmur3.absorb(*state, *tag)
        murmur3.absorb(*state, *hash_values(child, family_of(child.type)))
    murmur3.finish(*state, 2 * len(names))
    return state


def _hash_words(words: Words, seed: int) -> Hashes:
    out = _empty(len(words[0]))
    murmur3.hash_words(*words, seed, *out)
    return out


def _hash_bytes(array: pa.Array, seed: int) -> Hashes:
    kind = array.type
    if not (pt.is_string(kind) or pt.is_binary(kind)):
        array = array.cast(pa.large_binary())
    width = np.int64 if pt.is_large_binary(array.type) else np.int32
    out = _empty(len(array))
    if not len(array):
        return out
    _, offsets, data = array.buffers()
    ends: Any = np.frombuffer(offsets, width)[array.offset :][: len(array) + 1]
    text = np.frombuffer(data if data is not None else b"", np.uint8)
    murmur3.hash_bytes(text, ends, seed, *out)
    return out


def _taken(hashes: Hashes, indices: pa.Array) -> Hashes:
    places = indices.fill_null(0).to_numpy(zero_copy_only=False)
    if not len(hashes.hi):
        return nulls(len(indices))
    return _null_filled(Hashes(hashes.hi[places], hashes.lo[places]), indices)


def _null_filled(hashes: Hashes, array: pa.Array) -> Hashes:
    if array.null_count:
        bits, first = valid_bits(array)
        if len(bits):
            _fill_nulls(bits, first, *hashes)
        else:  # a type whose nulls no bitmap tells
            missing = array.is_null().to_numpy(zero_copy_only=False)
            hashes.hi[missing], hashes.lo[missing] = _NULL_HI, _NULL_LO
    return hashes


@compiled
def _fill_nulls(bits: Any, first: Any, hi: Any, lo: Any) -> None:
    for i in range(len(hi)):
        if is_null(bits, first + i):
            hi[i], lo[i] = _NULL_HI, _NULL_LO


@compiled(inline="always")
def is_null(bits: Any, bit: Any) -> Any:
    """Whether a bitmap of `valid_bits` says that a value is null."""
    return len(bits) > 0 and not bits[bit >> 3] >> (bit & 7) & 1


def valid_bits(array: pa.Array) -> tuple[npt.NDArray[np.uint8], int]:
    """Return the bitmap of what is not null, and the bit of the first value.

    The bitmap is empty where all is valid, or where the type has none.
    """
    buffer = array.buffers()[0] if array.null_count else None
    if buffer is None:
        return _NO_BITS, 0
    return np.frombuffer(buffer, np.uint8), array.offset


_NO_BITS = np.empty(0, np.uint8)


def stored_values(array: pa.Array, dtype: str, width: int = 1) -> npt.NDArray[Any]:
    """Return the stored values, `width` numbers each; anything where there is none."""
    buffer = array.buffers()[1]
    if buffer is None:
        return np.zeros(width * len(array), dtype)
    values = np.frombuffer(buffer, dtype)
    first = width * array.offset
    return values[first : first + width * len(array)]


def _empty(count: int) -> Hashes:
    return Hashes(np.empty(count, np.uint64), np.empty(count, np.uint64))
