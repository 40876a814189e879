"""Lists and texts read back from a file, against lists in memory."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from winnow.steps import list_file
from winnow.steps.list_file import ListFile, TextFile


@pytest.mark.parametrize(("stretch", "gap"), [(1, 0), (64, 16), (2**20, 2**20)])
@pytest.mark.parametrize("seed", range(3))
def test_any_lists_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stretch: int, gap: int, seed: int
):
    """Longer than a stretch, empty, asked for twice; appended after a first reading."""
    monkeypatch.setattr(list_file, "_STRETCH_BYTES", stretch)
    monkeypatch.setattr(list_file, "_GAP_BYTES", gap)
    rng = np.random.default_rng(seed)
    held = ListFile(tmp_path / "lists.bin", np.uint64)
    lists: list[list[int]] = []
    for _ in range(3):
        sizes = rng.integers(0, 9, 40) * (rng.random(40) < 0.7)
        values = rng.integers(0, 2**63, sizes.sum() + 5).astype(np.uint64)
        bounds = np.cumsum([3, *sizes])
        held.append(bounds, values)
        lists += [part.tolist() for part in np.split(values, bounds)[1:-1]]
        rows = rng.integers(0, len(lists), int(rng.integers(0, 90)))
        taken, of_rows = held.take(rows)
        assert len(taken) == len(rows) + 1
        parts = [of_rows[a:b].tolist() for a, b in pairwise(taken)]
        assert parts == [lists[row] for row in rows]
        assert held.sizes(rows).tolist() == [len(lists[row]) for row in rows]


def test_texts_of_any_letters(tmp_path: Path):
    texts = ["", "a", "größer", "日本語", "", "x" * 300, "\0"]
    held = TextFile(tmp_path / "texts.bin")
    held.extend(pa.array(["left out", *texts]).slice(1))
    held.extend(pa.array([], pa.string()))
    held.extend(pa.array(texts[::-1], pa.large_string()))
    rows = np.array([13, 2, 0, 5, 2, 8])
    every = texts + texts[::-1]
    assert held.texts(rows) == pa.array([every[row] for row in rows])
    assert held.texts(np.zeros(0, np.int64)) == pa.array([], pa.string())
