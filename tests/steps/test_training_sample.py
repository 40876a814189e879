"""The file that k-means is trained on: every vector in the order of (key, uid)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.core.errors import RunError
from winnow.core.vectors import to_column
from winnow.steps.training_sample import VectorFile, in_order


def written(folder: Path, keys: np.ndarray, uids: list[str]) -> np.ndarray:
    """Write rows as two parts; return their vectors in the order of (key, uid)."""
    vectors = np.random.default_rng(1).normal(size=(len(keys), 5)).astype(np.float16)
    table = pa.table(
        {"uid": uids, "key": pa.array(keys, pa.uint64()), "vector": to_column(vectors)}
    )
    folder.mkdir()
    half = len(keys) // 2
    pq.write_table(table[:half], folder / "part-00000.parquet")
    pq.write_table(table[half:], folder / "part-00001.parquet")
    order = sorted(range(len(keys)), key=lambda row: (int(keys[row]), uids[row]))
    return vectors[order]


@pytest.mark.parametrize("most", [2**64 - 1, 50], ids=["keys of their own", "ties"])
def test_vectors_stand_by_key_and_uid(tmp_path: Path, most: int) -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, most, 300, dtype=np.uint64, endpoint=True)
    uids = [f"{n:03d}" for n in rng.permutation(300)]
    expected = written(tmp_path / "rows", keys, uids)
    sample = in_order(tmp_path / "rows", tmp_path / "sample.f16")
    assert sample.shape == (300, 5)
    assert np.array_equal(sample[0:300], expected)
    assert np.array_equal(sample[100:103], expected[100:103])
    assert np.array_equal(sample[299:300], expected[299:])


def test_a_file_that_is_cut_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.f16").write_bytes(bytes(2 * 3 * 4 - 2))
    sample = VectorFile(tmp_path / "cut.f16", (3, 4))
    assert sample[0:2].shape == (2, 4)
    with pytest.raises(RunError, match=r"cut\.f16: ends before its row 3"):
        sample[0:3]
