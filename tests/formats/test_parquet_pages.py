"""Pages too large for `engine.batch_mb`: told before work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
from winnow.formats.parquet_pages import page_sizes
from winnow.formats.parquet_shards import ParquetFormat

_IMAGE = 10**6


@pytest.fixture
def table() -> pa.Table:
    made = np.random.default_rng(3)
    images = [made.bytes(_IMAGE) for _ in range(4)]
    return pa.table({"uid": list("abcd"), "image": images})


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_the_largest_page_is_found_by_its_header(
    table: pa.Table, tmp_path: Path, compression: str, dictionary: bool
):
    file, parts = tmp_path / "0.parquet", tmp_path / "1.parquet"
    written = {"compression": compression, "use_dictionary": dictionary}
    pq.write_table(table, file, **written)
    # Noise does not get smaller: four images, and once more as they are packed.
    held, column = ParquetFormat().held_at_once(str(file), ["uid", "image"])
    assert (held, column) == (pytest.approx(8 * _IMAGE, rel=0.01), "image")
    assert ParquetFormat().held_at_once(str(file), ["uid"])[0] < 1_000
    pq.write_table(
        table, parts, write_batch_size=1, use_dictionary=False, data_page_size=_IMAGE
    )
    held, _ = ParquetFormat().held_at_once(str(parts), ["image"])
    assert held == pytest.approx(2 * _IMAGE, rel=0.01)


@pytest.mark.parametrize(
    "header", [b"", b"\x15", b"\x15\x00\x15\xff\xff", b"PAR1" * 8, b"\x15\xff" * 16]
)
def test_what_is_no_header_says_nothing(header: bytes):
    assert page_sizes(header) == (0, 0)


def test_a_plan_says_that_batches_cannot_be_so_small(table: pa.Table, tmp_path: Path):
    (tmp_path / "pool").mkdir()
    pq.write_table(table, tmp_path / "pool" / "0.parquet")
    recipe = {
        "input": {"path": str(tmp_path / "pool"), "columns": {"text": None}},
        "output": {"path": str(tmp_path / "r")},
        "steps": ["exact", "apply"],
        "exact": {"by": ["image_bytes"]},
        "engine": {"batch_mb": 1},
    }
    (doubt,) = winnow.plan(recipe)["doubts"]
    assert "0.parquet: a page of 'image' takes 7 MiB" in doubt
    assert "engine.batch_mb says (1)" in doubt
    roomy = {**recipe, "engine": {"batch_mb": 2}}
    assert winnow.plan(roomy)["doubts"] == []
