"""Hashes of values are equal exactly where the values are, by exact arithmetic."""

from __future__ import annotations

import math
from datetime import date, timedelta
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.lake.kernels import murmur3
from winnow.lake.kernels.canonical import hash_values
from winnow.lake.kernels.families import family as family_of
from winnow.lake.kernels.murmur3 import Hashes
from winnow.lake.kernels.row_hash import hash_rows
from winnow.lake.kernels.tables import Family

from tests.examples import examples

EDGES = [0, 1, 2**24 + 1, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1]
INTEGERS = st.sampled_from(EDGES + [-number for number in EDGES]) | st.integers(
    -(2**63), 2**64 - 1
)
FLOATS = (
    st.sampled_from([0.0, -0.0, 0.1, 0.5, 2.0**63, 2.0**64, 1e22, 5e-324, math.inf])
    | st.floats(allow_nan=True)
    | st.floats(width=16)
    | INTEGERS.map(float)
)
DECIMALS = st.builds(
    lambda number, scale: Decimal(f"{number}e-{scale}"),
    INTEGERS | st.integers(-(10**38) + 1, 10**38 - 1),
    st.integers(0, 38),
)


KINDS = {16: pa.float16(), 32: pa.float32(), 64: pa.float64()}


def hashed(array: pa.Array, family: Family) -> list[tuple[int, int]]:
    hashes = hash_values(array, family)
    return list(zip(hashes.hi.tolist(), hashes.lo.tolist(), strict=True))


def arrays_of(number: Any) -> list[pa.Array]:
    """Every Arrow array that holds exactly this number (NaN and infinities too)."""
    arrays = []
    if isinstance(number, float) and not math.isfinite(number):
        return [pa.array([number], kind) for kind in KINDS.values()]
    exact = Fraction(number)
    for bits, dtype in ((16, np.float16), (32, np.float32), (64, np.float64)):
        with np.errstate(over="ignore"):
            try:
                narrow = np.array([float(exact)]).astype(dtype)
            except OverflowError:
                continue
        if math.isfinite(narrow[0]) and Fraction(float(narrow[0])) == exact:
            arrays.append(pa.array(narrow, KINDS[bits]))
    if exact.denominator == 1:
        for kind in (pa.int8(), pa.int32(), pa.int64(), pa.uint16(), pa.uint64()):
            try:
                arrays.append(pa.array([int(exact)], kind))
            except (pa.ArrowInvalid, OverflowError):
                continue
    return arrays + decimals_of(exact)


def decimals_of(exact: Fraction) -> list[pa.Array]:
    if 10**38 % exact.denominator:
        return []
    value = Decimal(f"{exact.numerator * (10**38 // exact.denominator)}e-38")
    value = value.normalize(Context(prec=400))
    arrays = []
    for kind in (
        pa.decimal128(38, 0),
        pa.decimal128(38, 2),
        pa.decimal128(38, 19),
        pa.decimal128(38, 38),
        pa.decimal128(18, 4),
        pa.decimal256(76, 38),
        pa.decimal256(50, 3),
    ):
        try:
            array = pa.array([value], kind)
        except (pa.ArrowInvalid, OverflowError):
            continue
        arrays.append(array)
        if kind.precision == 18:
            # From Python, pyarrow 26 stores a value that does not fit as 0.
            arrays.append(array.cast(pa.decimal64(18, 4)))
    return arrays


@settings(max_examples=examples(30, 100))
@given(st.lists(INTEGERS | FLOATS | DECIMALS, min_size=1, max_size=6))
def test_numbers_are_equal_by_value_whatever_their_type(numbers: list[Any]) -> None:
    seen: dict[Any, tuple[int, int]] = {}
    for number in numbers:
        hashes = {h for a in arrays_of(number) for h in hashed(a, Family.NUMBER)}
        if not hashes:  # a decimal of more digits than any type holds
            continue
        assert len(hashes) == 1
        nan = isinstance(number, float) and math.isnan(number)
        infinite = isinstance(number, float) and math.isinf(number)
        key = "nan" if nan else number if infinite else Fraction(number)
        assert seen.setdefault(key, min(hashes)) == min(hashes)
    assert len(set(seen.values())) == len(seen)


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.int8(), pa.int32(), pa.int64(), pa.uint16(), pa.float32(), pa.float64()),
        *(pa.decimal128(9, 1), pa.bool_(), pa.date32(), pa.string(), pa.binary()),
    ],
)
@settings(max_examples=examples(10, 60))
@given(st.lists(st.none() | st.integers(0, 1), max_size=20), st.integers(0, 19))
def test_values_of_a_slice_hash_as_each_does_alone(
    kind: pa.DataType, numbers: list[int | None], first: int
) -> None:
    values = pa.array(numbers, pa.int32())
    if pa.types.is_boolean(kind) or pa.types.is_date(kind):
        array = values.cast(kind)
    else:
        array = values.cast(pa.string()).cast(kind)
    each = [hashed(pa.array([v], kind), family_of(kind))[0] for v in array.to_pylist()]
    assert hashed(array.slice(first), family_of(kind)) == each[first:]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([0.1]), pa.array([Decimal("0.1")])),
        (pa.array([2.0**53]), pa.array([2**53 + 1])),
        (pa.array([2.0**63]), pa.array([2**63 - 1])),
        (pa.array([-1], pa.int64()), pa.array([2**64 - 1], pa.uint64())),
        (pa.array([np.float32(0.1)]), pa.array([0.1])),
        (pa.array([0.1, None]), pa.array([None, 0.1])),
    ],
)
def test_near_numbers_differ(one: pa.Array, other: pa.Array) -> None:
    assert hashed(one, Family.NUMBER) != hashed(other, Family.NUMBER)


def test_every_nan_and_both_zeros_are_one_value() -> None:
    bits = np.array([0x7FF8000000000000, 0xFFF8000000000001], np.uint64)
    nans = pa.array(bits.view(np.float64))
    narrow = pa.array(np.array([np.nan], np.float16))
    assert len({*hashed(nans, Family.NUMBER), *hashed(narrow, Family.NUMBER)}) == 1
    zeros = pa.array([0.0, -0.0]), pa.array([0]), pa.array([Decimal("0.00")])
    assert len({h for zero in zeros for h in hashed(zero, Family.NUMBER)}) == 1


TEXTS = st.none() | st.binary(max_size=40)


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=12), st.integers(0, 3))
def test_bytes_hash_as_the_specification_says(texts: list[Any], offset: int) -> None:
    array = pa.array([b"skipped"] * offset + texts, pa.binary()).slice(offset)
    expected = [
        reference(text, 4) if text is not None else reference(b"", 1) for text in texts
    ]
    assert hashed(array, Family.TEXT) == expected
    assert hashed(array.cast(pa.large_binary()), Family.TEXT) == expected
    assert hashed(array.dictionary_encode(), Family.TEXT) == expected
    if all(text is None or _is_utf8(text) for text in texts):
        for kind in (pa.string(), pa.large_string(), pa.string_view()):
            assert hashed(array.cast(pa.string()).cast(kind), Family.TEXT) == expected


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def reference(data: bytes, seed: int) -> tuple[int, int]:
    """MurmurHash3_x64_128 in plain integers, after MurmurHash3.cpp."""
    one, two, full = 0x87C37B91114253D5, 0x4CF5AD432745937F, 2**64 - 1

    def rotated(word: int, bits: int) -> int:
        return (word << bits | word >> (64 - bits)) & full

    def mixed(word: int) -> int:
        word = (word ^ word >> 33) * 0xFF51AFD7ED558CCD & full
        word = (word ^ word >> 33) * 0xC4CEB9FE1A85EC53 & full
        return word ^ word >> 33

    words = [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)]
    full_blocks = len(data) // 16
    h1 = h2 = seed
    for i in range((len(words) + 1) // 2):
        k1, k2 = [*words[2 * i :], 0][:2]
        h1 ^= rotated(k1 * one & full, 31) * two & full
        if i < full_blocks:
            h1 = ((rotated(h1, 27) + h2) * 5 + 0x52DCE729) & full
        h2 ^= rotated(k2 * two & full, 33) * one & full
        if i < full_blocks:
            h2 = ((rotated(h2, 31) + h1) * 5 + 0x38495AB5) & full
    h1, h2 = h1 ^ len(data), h2 ^ len(data)
    h1 = (h1 + h2) & full
    h2 = (h2 + h1) & full
    h1, h2 = mixed(h1), mixed(h2)
    h1 = (h1 + h2) & full
    return h1, (h2 + h1) & full


def test_the_reference_is_murmur3() -> None:
    # Published digests of the x64 128-bit variant (little-endian words).
    assert reference(b"foo", 0) == (0xE271865701F54561, 0x7EAF87E42BBA7D87)
    text = b"The quick brown fox jumps over the lazy dog"
    assert reference(text, 0) == (0xE34BBC7BBC071B6C, 0x7A433CA9C49A9347)


def test_instants_are_equal_whatever_the_unit_and_differ_by_family() -> None:
    ticks = {"s": -1, "ms": -1000, "us": -(10**6), "ns": -(10**9)}
    for family, kind in (
        (Family.NAIVE, pa.timestamp),
        (Family.DURATION, pa.duration),
        (Family.ZONED, lambda unit: pa.timestamp(unit, "Asia/Tokyo")),
    ):
        arrays = [pa.array([tick], kind(unit)) for unit, tick in ticks.items()]
        assert len({h for a in arrays for h in hashed(a, family)}) == 1
    # A second-unit instant that no int64 of nanoseconds holds.
    far = pa.array([2**40], pa.timestamp("s"))
    assert hashed(far, Family.NAIVE) == hashed(
        pa.array([2**40 * 1000], pa.timestamp("ms")), Family.NAIVE
    )
    one = pa.array([5], pa.timestamp("ms"))
    assert hashed(one, Family.NAIVE) != hashed(
        one.cast(pa.timestamp("ms", "UTC")), Family.ZONED
    )
    times = pa.array([1], pa.time32("s")), pa.array([10**9], pa.time64("ns"))
    assert hashed(times[0], Family.TIME) == hashed(times[1], Family.TIME)


@settings(deadline=None)
@given(st.lists(st.integers(-800_000, 2_900_000), max_size=5))
def test_dates_are_equal_in_either_width(days: list[int]) -> None:
    narrow = pa.array(days, pa.date32())
    wide = pa.array([86_400_000 * day for day in days], pa.date64())
    assert hashed(narrow, Family.DATE) == hashed(wide, Family.DATE)
    assert len(set(hashed(narrow, Family.DATE))) == len(set(days))


LISTS = st.lists(
    st.none() | st.lists(st.none() | st.integers(-3, 3), max_size=3), max_size=6
)


@settings(max_examples=examples(30, 100))
@given(LISTS, st.integers(0, 3))
def test_lists_are_equal_element_by_element(lists: list[Any], offset: int) -> None:
    kinds = (
        pa.list_(pa.int8()),
        pa.large_list(pa.float64()),
        pa.list_view(pa.int64()),
    )
    hashes = [
        hashed(pa.array([[9, 9]] * offset + lists, kind).slice(offset), Family.NESTED)
        for kind in kinds
    ]
    assert hashes[0] == hashes[1] == hashes[2]
    keys = [None if item is None else tuple(item) for item in lists]
    assert len(set(hashes[0])) == len(set(keys))


def test_structs_go_by_field_name_and_maps_have_no_order() -> None:
    rows = [[{"a": 1, "b": "x"}], [{"a": 2, "b": None}], [None], []]
    ab = pa.struct([("a", pa.int32()), ("b", pa.string())])
    ba = pa.struct([("b", pa.large_string()), ("a", pa.float64())])
    one = hashed(pa.array(rows, pa.list_(ab)), Family.NESTED)
    other = hashed(pa.array(rows, pa.list_(ba)).slice(0), Family.NESTED)
    assert one == other
    assert len(set(one)) == 4
    sliced = hashed(pa.array([[], *rows], pa.list_(ba)).slice(1), Family.NESTED)
    assert sliced == one
    kind = pa.map_(pa.string(), pa.int64())
    maps = pa.array([[("x", 1), ("y", 2)], [("y", 2), ("x", 1)], [("x", 2)]], kind)
    first, second, third = hashed(maps, Family.NESTED)
    assert first == second != third
    assert hashed(maps.slice(2), Family.NESTED) == [third]


def test_fixed_size_lists_and_sliced_structs() -> None:
    fixed = pa.array([[1, 2], [3, 4], None], pa.list_(pa.int16(), 2))
    loose = pa.array([[1, 2], [3, 4], None], pa.list_(pa.int64()))
    assert hashed(fixed, Family.NESTED) == hashed(loose, Family.NESTED)
    assert hashed(fixed.slice(1), Family.NESTED) == hashed(fixed, Family.NESTED)[1:]


def test_a_null_is_the_same_in_every_family_and_equals_no_value() -> None:
    arrays = [
        (pa.nulls(1), Family.NULL),
        (pa.array([None], pa.int32()), Family.NUMBER),
        (pa.array([None], pa.decimal128(38, 20)), Family.NUMBER),
        (pa.array([None], pa.bool_()), Family.BOOLEAN),
        (pa.array([None], pa.string()), Family.TEXT),
        (pa.array([None], pa.date32()), Family.DATE),
        (pa.array([None], pa.timestamp("ns")), Family.NAIVE),
        (pa.array([None], pa.list_(pa.int32())), Family.NESTED),
        (pa.array([None], pa.dictionary(pa.int8(), pa.string())), Family.TEXT),
    ]
    hashes = {h for array, family in arrays for h in hashed(array, family)}
    assert hashes == {reference(b"", 1)}
    assert hashed(pa.array([""]), Family.TEXT)[0] not in hashes


def test_a_type_without_a_family_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be compared"):
        hash_values(pa.array([1]), Family.NESTED)


SOME = {
    Family.NUMBER: pa.array([0, 1, None], pa.int32()),
    Family.BOOLEAN: pa.array([False, True, None]),
    Family.TEXT: pa.array(["", "1", None]),
    Family.BINARY: pa.array([b"", b"1", None]),
    Family.DATE: pa.array([date(1970, 1, 1), date(1970, 1, 2), None]),
    Family.NAIVE: pa.array([0, 1, None], pa.timestamp("ns")),
    Family.DURATION: pa.array([timedelta(0), timedelta(microseconds=1), None]),
}


def test_families_share_no_value_but_null() -> None:
    values = [h for family, array in SOME.items() for h in hashed(array, family)[:2]]
    assert len(set(values)) == len(values)


def rows_of(*columns: list[Any]) -> set[tuple[int, int]]:
    arrays = [pa.array(column) for column in columns]
    families = [
        Family.TEXT if pt.is_string(array.type) else Family.NUMBER for array in arrays
    ]
    pairs = zip(arrays, families, strict=True)
    rows: Hashes = hash_rows([hash_values(array, family) for array, family in pairs])
    return set(zip(rows.hi.tolist(), rows.lo.tolist(), strict=True))


def test_rows_keep_their_columns_apart() -> None:
    assert not rows_of([1], [None]) & rows_of([None], [1])
    assert not rows_of(["a"], ["bc"]) & rows_of(["ab"], ["c"])
    assert not rows_of([1], [2]) & rows_of([2], [1])
    assert not rows_of([1]) & rows_of([1], [None])
    with pytest.raises(ValueError, match="without a column"):
        hash_rows([])


def test_a_row_hash_is_the_hash_of_its_values_hashes() -> None:
    values = hash_values(pa.array([7, -7]), Family.NUMBER)
    texts = hash_values(pa.array(["x", None]), Family.TEXT)
    rows = hash_rows([values, texts])
    for i in range(2):
        words = [values.hi[i], values.lo[i], texts.hi[i], texts.lo[i]]
        encoding = b"".join(int(word).to_bytes(8, "little") for word in words)
        assert (int(rows.hi[i]), int(rows.lo[i])) == reference(encoding, 0)


def test_the_encoding_of_an_integer_is_its_magnitude_and_sign() -> None:
    encoding = (7).to_bytes(8, "little") + (1).to_bytes(8, "little")
    assert hashed(pa.array([-7]), Family.NUMBER) == [reference(encoding, 2)]


def test_the_last_bytes_of_the_buffer_are_not_read_over() -> None:
    data = np.frombuffer(b"abc", np.uint8)
    out = Hashes(np.zeros(1, np.uint64), np.zeros(1, np.uint64))
    murmur3.hash_bytes(data, np.array([0, 3]), 0, *out)
    assert (int(out.hi[0]), int(out.lo[0])) == reference(b"abc", 0)
