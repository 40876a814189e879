"""Exact duplicates by any criteria, against a brute-force oracle."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

Winnow = Callable[..., Any]
Write = Callable[..., Path]


def expected_keepers(rows: list[dict], criteria: list[str]) -> dict[str, str]:
    """The reason of each dropped row: criteria in turn, the smallest uid stays."""
    columns = {"image_bytes": "image", "caption": "text"}
    alive, dropped = rows, {}
    for criterion in criteria:
        groups: dict[Any, list[str]] = {}
        for row in alive:
            value = row[columns[criterion]]
            if criterion == "caption" and value is not None:
                value = " ".join(value.lower().split())
            key = value if value else ("own", row["uid"])
            groups.setdefault(key, []).append(row["uid"])
        for uids in groups.values():
            dropped.update(
                {u: f"duplicate_{criterion}" for u in uids if u != min(uids)}
            )
        alive = [row for row in alive if row["uid"] not in dropped]
    return dropped


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "criteria",
    [
        ["image_bytes"],
        ["caption"],
        ["image_bytes", "caption"],
        ["caption", "image_bytes"],
    ],
    ids="+".join,
)
def test_keeps_the_smallest_uid_of_each_content(
    winnow: Winnow, write_shards: Write, tmp_path: Path, criteria: list, seed: int
):
    rng = np.random.default_rng(seed)
    n = 120
    images = [None, b"", *(bytes([i]) for i in range(40))]
    texts = [None, "", "  ", *(f"Word  {i}" for i in range(30)), "word 3", " WORD 4"]
    table = pa.table(
        {
            "uid": [f"u{i:03d}" for i in rng.permutation(n)],
            "image": pa.array([images[i] for i in rng.integers(0, 42, n)], pa.binary()),
            "text": [texts[i] for i in rng.integers(0, len(texts), n)],
        }
    )
    pool = write_shards(tmp_path / "p", table, 50, 17)
    run = winnow(pool, tmp_path / "r", ["exact"], exact={"by": criteria})
    ledger = run.ledger("exact")
    dropped = expected_keepers(table.to_pylist(), criteria)
    assert {u: r["reason"] for u, r in ledger.items() if not r["keep"]} == dropped
    assert all(r["reason"] == "unique" for r in ledger.values() if r["keep"])
    for uid, row in ledger.items():
        if not row["keep"]:
            assert ledger[row["kept_twin"]]["keep"], uid
            assert (row["score"], row["threshold"]) == (1.0, 1.0)
        else:
            assert row["kept_twin"] is None


def test_a_twin_dropped_by_a_later_criterion_hands_on_its_own(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    # c has b's bytes, b has a's caption: b goes for a, and so c's survivor is a.
    table = pa.table(
        {
            "uid": ["a", "b", "c"],
            "image": [b"1", b"2", b"2"],
            "text": ["same", "Same", "other"],
        }
    )
    pool = write_shards(tmp_path / "p", table)
    by = ["image_bytes", "caption"]
    ledger = winnow(pool, tmp_path / "r", ["exact"], exact={"by": by}).ledger("exact")
    assert (ledger["c"]["reason"], ledger["c"]["kept_twin"]) == (
        "duplicate_image_bytes",
        "a",
    )
    assert (ledger["b"]["reason"], ledger["b"]["kept_twin"]) == (
        "duplicate_caption",
        "a",
    )


def test_equal_pixels_in_other_files_are_duplicates_and_damage_is_quarantined(
    winnow: Winnow,
    write_shards: Write,
    make_picture: Callable[..., bytes],
    tmp_path: Path,
):
    from PIL import Image

    png = make_picture(1, kind="PNG")
    bmp = io.BytesIO()
    Image.open(io.BytesIO(png)).save(bmp, "BMP")
    images = [png, bmp.getvalue(), make_picture(2), png[:60], b"no picture", b"", None]
    table = pa.table({"uid": list("abcdefg"), "image": images})
    pool = write_shards(tmp_path / "p", table)
    run = winnow(pool, tmp_path / "r", ["exact"], exact={"by": ["image_pixels"]})
    ledger = run.ledger("exact")
    assert {u for u in ledger if ledger[u]["keep"]} == {"a", "c", "g"}
    assert (ledger["b"]["kept_twin"], ledger["b"]["reason"]) == (
        "a",
        "duplicate_image_pixels",
    )
    faults = {row["uid"]: row["reason"].split(":")[0] for row in run.quarantine()}
    assert set(faults) == {"d", "e", "f"}
    assert faults["f"] == "image_empty"
    assert run.result.quarantined == 3


def test_pixels_have_a_limit(
    winnow: Winnow,
    write_shards: Write,
    make_picture: Callable[..., bytes],
    tmp_path: Path,
):
    table = pa.table({"uid": ["a", "b"], "image": [make_picture(0), make_picture(1)]})
    pool = write_shards(tmp_path / "p", table)
    how = {"exact": {"by": ["image_pixels"]}, "input": {"path": str(pool)}}
    run = winnow(pool, tmp_path / "r", ["exact"], model={"max_pixels": 48 * 48}, **how)
    (rejected,) = run.quarantine()
    assert rejected["reason"] == "image_too_large: 48x49 > 2304"
    # The limit is part of what the step depends on.
    run = winnow(pool, tmp_path / "r", ["exact"], model={"max_pixels": 10**6}, **how)
    assert run.result.ran == ["exact"]
    assert run.result.quarantined == 0
