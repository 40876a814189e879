"""Rows by preference: against Arrow's own sort of whole columns, and piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from winnow.engines.local import LocalEngine
from winnow.steps import candidate_sets, minhash_marks, minhash_rows
from winnow.steps.minhash_rows import (
    STORED,
    narrowed,
    ordered_rows,
    rows_again,
    store_rows,
)

from tests.steps.test_minhash_step import corpus, dropped, minhash

#: Some of which begin alike, or are the beginning of another.
UIDS = ["https://one.example/", "https:/", "", "a", "a\0", "a\0\0b", "größer", "日本"]


def table_of(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    few = rng.integers(0, 2, rows)
    uids = [f"{UIDS[i % len(UIDS)]}{'' if i < 8 else i}" for i in range(rows)]
    values = {
        "uid": list(rng.permutation(np.array(uids, object))),
        "source": [["b.parquet", "a.parquet"][v] for v in few],
        "row": rng.integers(0, 99, rows),
        "origin": pa.array([None if i % 3 else f"o{i % 5}" for i in range(rows)]),
        "state": [["", "no_text"][v] for v in few[::-1]],
        "rejected": rng.random(rows) < 0.5,
        "unit": [["word", "char"][v] for v in few],
    }
    table = pa.table([pa.array(values[f.name], f.type) for f in STORED], schema=STORED)
    return table.append_column("number", pa.array(rng.permutation(3 * rows)[:rows]))


def preferences(kind: str, rows: int, rng: np.random.Generator) -> pa.Array:
    few = rng.integers(-3, 3, rows).tolist()
    if kind == "number":
        return pa.array(
            [None if v == 2 else np.nan if v == 1 else 1.5 * v for v in few]
        )
    if kind == "text":
        return pa.array([None if v == 2 else f"v{v}" for v in few], pa.string())
    return pa.array([None if v == 2 else v > 0 for v in few], pa.bool_())


@pytest.mark.parametrize("direction", [None, "ascending", "descending"])
@pytest.mark.parametrize("kind", ["number", "text", "truth"])
@pytest.mark.parametrize("rows", [0, 1, 200])
def test_rows_come_as_arrow_sorts_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    direction: str | None,
    kind: str,
    rows: int,
):
    monkeypatch.setattr(minhash_rows, "PIECE_ROWS", 7)
    table = table_of(rows, 5)
    keys = [("uid", "ascending")]
    if direction:
        values = preferences(kind, rows, np.random.default_rng(6))
        table = table.append_column("preference", values)
        keys.insert(0, ("preference", direction))
    engine = LocalEngine(tmp_path / "scratch")
    ordered, uids, numbers = ordered_rows(
        engine, engine.from_table(table), tmp_path / "rows", direction
    )
    wanted = table.take(pc.sort_indices(table, sort_keys=keys))
    assert numbers.tolist() == wanted["number"].to_pylist()
    store_rows(ordered, uids, tmp_path / "stored")
    for one, names in (
        (ordered, uids),
        rows_again(tmp_path / "stored", tmp_path / "again"),
    ):
        assert names.of(np.arange(rows)).to_pylist() == wanted["uid"].to_pylist()
        for name in one.schema.names:
            filled = [value or "" for value in wanted[name].to_pylist()]
            plain = wanted[name].to_pylist() if name != "origin" else filled
            assert one[name].to_pylist() == plain


@pytest.mark.parametrize("keeper", ["length", "quality"])
def test_pieces_change_nothing(
    winnow: Callable[..., Any],
    write_shards: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keeper: str,
):
    """Of sets a pair at a time, of marks and rows three at a time."""
    pool = write_shards(tmp_path / "p", corpus(300, 4), 90, 17)
    whole = minhash(winnow, pool, tmp_path / "whole", keeper=keeper)
    monkeypatch.setattr(candidate_sets, "_SETS_BYTES", 8)
    monkeypatch.setattr(minhash_rows, "PIECE_ROWS", 3)
    monkeypatch.setattr(minhash_marks, "PIECE_ROWS", 3)
    pieces = minhash(winnow, pool, tmp_path / "pieces", keeper=keeper)
    assert len(dropped(whole)) > 9
    assert pieces.ledger("minhash") == whole.ledger("minhash")
    for name in ("duplicates", "rows", "pairs", "members", "duplicate_clusters"):
        stored = [run.artifact("minhash", name) for run in (whole, pieces)]
        assert stored[0].equals(stored[1]), name


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64])
def test_numbers_are_held_in_the_least_type_that_has_room(kind: type):
    ends = np.iinfo(kind)
    for end in (ends.min, ends.max):
        values = np.array([0, end])
        held = narrowed(values)
        assert held.dtype == kind
        assert held.tolist() == values.tolist()
    assert narrowed(np.zeros(0, np.int64)).dtype == np.int8
    others = np.array([0.5, 300.0]), np.array([True]), np.array([2**63], np.uint64)
    assert all(narrowed(other) is other for other in others)


def test_more_sources_and_rows_than_the_least_types_have_room_for(tmp_path: Path):
    """Batches that were narrowed apart come together, in any order of their sizes."""
    rows = 400
    table = table_of(rows, 8)
    far = np.where(np.arange(rows) < 300, 5, 2**40) + np.arange(rows)
    names = pa.array([f"{i % 200}.parquet" for i in range(rows)])
    table = table.set_column(table.schema.get_field_index("source"), "source", names)
    table = table.set_column(table.schema.get_field_index("row"), "row", pa.array(far))
    table = table.set_column(
        table.num_columns - 1, "number", pa.array(far[::-1].copy())
    )
    engine = LocalEngine(tmp_path / "scratch")
    ordered, uids, numbers = ordered_rows(
        engine, engine.from_table(table), tmp_path / "rows", None
    )
    wanted = table.take(pc.sort_indices(table, sort_keys=[("uid", "ascending")]))
    assert numbers.tolist() == wanted["number"].to_pylist()
    assert uids.of(np.arange(rows)).to_pylist() == wanted["uid"].to_pylist()
    for name in ("source", "row"):
        assert ordered[name].to_pylist() == wanted[name].to_pylist()
