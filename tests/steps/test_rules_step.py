"""Rules are applied one by one, to captions and to sizes from header or columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from winnow.core.errors import ConfigError

Winnow = Callable[..., Any]
Write = Callable[..., Path]

#: Faults may be most of these pools.
MOSTLY_FAULTY = {"max_quarantined": 1.0}


def test_datacomps_basic_filter_by_columns(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    rows = [
        ("keep", "abc d e", 200, 600, "rules_passed"),
        ("long", "abc d e", 200, 601, "too_elongated"),
        ("small", "abc d e", 199, 199, "too_small"),
        ("words", "abcd ef", 200, 200, "too_few_words"),
        ("chars", "a b c", 200, 200, "too_few_chars"),
        ("none", None, 200, 200, "too_few_words"),
        ("size", "abc d e", None, 200, "image_size_missing"),
    ]
    uid, text, width, height, reason = zip(*rows, strict=True)
    table = pa.table({"uid": uid, "text": text, "w": width, "h": height})
    rules = {
        "min_words": 3,
        "min_side": 200,
        "max_aspect": 3.0,
        "width_column": "w",
        "height_column": "h",
    }
    pool = write_shards(tmp_path / "p", table, 3)
    run = winnow(pool, tmp_path / "r", ["rules"], rules=rules)
    reasons = {u: row["reason"] for u, row in run.ledger("rules").items()}
    reasons.update({row["uid"]: row["reason"] for row in run.quarantine()})
    assert reasons == dict(zip(uid, reason, strict=True))
    assert run.result.quarantined == 1
    small = run.ledger("rules")["small"]
    assert (small["score"], small["threshold"]) == (199.0, 200.0)


def test_sizes_come_from_the_images_header(
    winnow: Winnow,
    write_shards: Write,
    make_picture: Callable[..., bytes],
    tmp_path: Path,
):
    images = [make_picture(0, 40), make_picture(0, 30), b"broken", None, b""]
    table = pa.table({"uid": list("abcde"), "image": images})
    pool = write_shards(tmp_path / "p", table)
    off = {"min_words": None, "min_chars": None}
    run = winnow(
        pool,
        tmp_path / "r",
        ["rules"],
        rules={"min_side": 40, **off},
        input=MOSTLY_FAULTY,
    )
    ledger = run.ledger("rules")
    assert {u: r["reason"] for u, r in ledger.items()} == {
        "a": "rules_passed",
        "b": "too_small",
    }
    faults = {row["uid"]: row["reason"] for row in run.quarantine()}
    assert set(faults) == {"c", "d", "e"}
    assert (faults["d"], faults["e"]) == ("image_missing", "image_empty")


def test_languages(winnow: Winnow, write_shards: Write, tmp_path: Path):
    texts = {
        "en": "The quick brown fox jumps over the lazy dog near the river",
        "de": "Der schnelle braune Fuchs springt über den faulen Hund am Fluss",
        "fr": "Le renard brun rapide saute par-dessus le chien paresseux",
        "no": None,
    }
    table = pa.table({"uid": list(texts), "text": list(texts.values())})
    pool = write_shards(tmp_path / "p", table)
    off = {"min_words": None, "min_chars": None}
    rules = {"languages": ["en", "fr"], **off}
    run = winnow(pool, tmp_path / "r", ["rules"], rules=rules)
    assert {u: r["reason"] for u, r in run.ledger("rules").items()} == {
        "en": "rules_passed",
        "fr": "rules_passed",
        "de": "other_language",
        "no": "unknown_language",
    }


def test_captions_of_100_kb_are_measured(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    table = pa.table(
        {"uid": ["long", "fine"], "text": ["word " * 20_000, "a few words"]}
    )
    pool = write_shards(tmp_path / "p", table)
    run = winnow(pool, tmp_path / "r", ["rules"], rules={"max_words": 1000})
    ledger = run.ledger("rules")
    assert ledger["long"]["reason"] == "too_many_words"
    assert ledger["long"]["score"] == 20_000
    assert ledger["fine"]["keep"]


def test_a_missing_modality_is_refused_before_anything_runs(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    table = pa.table({"uid": ["a"], "text": ["b"]})
    pool = write_shards(tmp_path / "p", table)
    settings = {"path": str(pool), "columns": {"image": None}}
    with pytest.raises(ConfigError, match=r"rules needs the image, but .* is null"):
        winnow(pool, tmp_path / "r", ["rules"], rules={"min_side": 9}, input=settings)
    assert not (tmp_path / "r").exists()
