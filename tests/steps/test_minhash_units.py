"""What a text is cut into, by its script: counted, and warned of where it fails."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

Winnow = Callable[..., Any]
Write = Callable[..., Path]
COLUMNS = {"uid": "uid", "image": None, "text": "text"}
#: Chinese texts, each of which has a copy with two characters changed.
DOCUMENTS = 40


def letters(rng: np.random.Generator, first: int, count: int) -> str:
    return "".join(chr(first + int(i)) for i in rng.integers(0, 900, count))


@pytest.fixture
def pool(tmp_path: Path, write_shards: Write) -> Path:
    """Chinese texts, a copy of each with two characters changed, and English ones."""
    rng = np.random.default_rng(1)
    texts = []
    for _ in range(DOCUMENTS):
        one = letters(rng, 0x4E00, 500)
        other = list(one)
        for place in rng.choice(500, 2, replace=False):
            other[place] = "的"
        texts += [one, "".join(other)]
    texts += [" ".join(f"w{n}" for n in rng.integers(0, 10**6, 40)) for _ in range(5)]
    texts += [f"{letters(rng, 0x4E00, 30)} version {n}" for n in range(4)]
    uids = [f"u{i:03d}" for i in range(len(texts))]
    return write_shards(tmp_path / "p", pa.table({"uid": uids, "text": texts}))


def decided(winnow: Winnow, pool: Path, out: Path, **settings: Any) -> Any:
    given = {"path": str(pool), "columns": COLUMNS}
    return winnow(pool, out, ["minhash", "apply"], input=given, minhash=settings)


def facts(run: Any) -> dict[str, Any]:
    steps = json.loads((run.path / "manifest.json").read_text())["steps"]
    return dict(steps["minhash"])


def test_copies_of_texts_without_spaces_go_by_default(
    winnow: Winnow, pool: Path, tmp_path: Path
):
    run = decided(winnow, pool, tmp_path / "r")
    assert run.result.dropped == DOCUMENTS
    assert facts(run)["texts_by_unit"] == {"char": 2 * DOCUMENTS, "word": 5, "mixed": 4}
    assert facts(run)["texts_of_one_shingle"] == 0
    duplicates = run.artifact("minhash", "duplicates")
    assert set(duplicates["unit"].to_pylist()) == {"char"}


def test_texts_that_are_one_shingle_are_warned_of(
    winnow: Winnow, pool: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING):
        run = decided(winnow, pool, tmp_path / "r", unit="word")
    assert run.result.dropped == 0
    # Four of "… version 1" are one shingle, too: three words of the five.
    assert facts(run)["texts_of_one_shingle"] == 2 * DOCUMENTS + 4
    (said,) = [r.message for r in caplog.records if "single shingle" in r.message]
    assert f"{2 * DOCUMENTS + 4} of {2 * DOCUMENTS + 9} texts" in said


def test_nfc_always_counts_alike_and_signs_with_a_meaning_never(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    texts = ["un café, s'il vous plaît", "un cafe\u0301, s'il vous plai\u0302t"]
    texts += ["a C# tutorial", "a C++ tutorial", "a < b", "a > b", "-5 to 5", "5 to 5"]
    texts += ["a < b!"]
    pool = write_shards(
        tmp_path / "p", pa.table({"uid": list("abcdefghi"), "text": texts})
    )
    for normalise, gone in ([], {"b"}), (["case", "punctuation"], {"b", "i"}):
        run = decided(winnow, pool, tmp_path / "r", ngram=2, normalise=normalise)
        ledger = run.ledger("minhash")
        assert {uid for uid, row in ledger.items() if not row["keep"]} == gone
        assert {ledger[uid]["reason"] for uid in gone} == {"equal_after_normalisation"}
