"""Which types can hold equal values."""

from __future__ import annotations

import pyarrow as pa
import pytest
from winnow.lake.kernels.families import comparable, family
from winnow.lake.kernels.tables import Family

MEMBERS = {
    Family.NUMBER: [
        *(pa.int8(), pa.int64(), pa.uint8(), pa.uint64()),
        *(pa.float16(), pa.float32(), pa.float64()),
        *(pa.decimal32(5, 2), pa.decimal64(9), pa.decimal128(30, 2)),
        *(pa.decimal256(70, 3), pa.bool8().storage_type),
    ],
    Family.BOOLEAN: [pa.bool_()],
    Family.TEXT: [pa.string(), pa.large_string(), pa.string_view(), pa.json_()],
    Family.BINARY: [
        *(pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(3)),
        pa.uuid(),
    ],
    Family.DATE: [pa.date32(), pa.date64()],
    Family.NAIVE: [pa.timestamp("s"), pa.timestamp("ns")],
    Family.ZONED: [pa.timestamp("ms", "UTC"), pa.timestamp("us", "Asia/Kolkata")],
    Family.TIME: [pa.time32("s"), pa.time64("ns")],
    Family.DURATION: [pa.duration("s"), pa.duration("ns")],
    Family.NESTED: [
        *(pa.list_(pa.int8()), pa.large_list(pa.int8()), pa.list_(pa.int8(), 3)),
        pa.map_(pa.string(), pa.int8()),
    ],
    Family.NULL: [pa.null()],
}


@pytest.mark.parametrize(
    ("kind", "expected"), [(k, f) for f, kinds in MEMBERS.items() for k in kinds]
)
def test_a_type_belongs_to_one_family_and_so_does_its_dictionary(
    kind: pa.DataType, expected: Family
):
    assert family(kind) is expected
    assert family(pa.dictionary(pa.int32(), kind)) is expected
    assert family(pa.run_end_encoded(pa.int32(), kind)) is expected


def test_only_nulls_are_comparable_with_other_families():
    for one in Family:
        assert {other for other in Family if comparable(one, other)} == (
            set(Family) if one is Family.NULL else {one, Family.NULL}
        )
