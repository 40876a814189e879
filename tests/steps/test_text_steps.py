"""Steps over texts alone: published quality rules, repeated lines and passages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.core.errors import InputError

Winnow = Callable[..., Any]
Write = Callable[..., Path]
TEXT_ONLY = {"columns": {"uid": "uid", "image": None, "text": "text"}}
NOTICE = (
    "Copyright reserved, see the licence — für alle Fälle; "
    "no warranty of any kind is given, express or implied, by anybody."
)


def corpus(rows: int = 60, seed: int = 0) -> dict[str, str]:
    """Texts of lines of words; every third has the notice, a few quote another."""
    rng = np.random.default_rng(seed)
    texts: dict[str, str] = {}
    for i in range(rows):
        lines = [
            " ".join(f"w{n}" for n in rng.integers(0, 10**6, 9)) + "." for _ in range(6)
        ]
        if i % 3 == 0:
            lines.insert(int(rng.integers(6)), NOTICE)
        if i % 10 == 7:
            lines[2] += " " + texts[f"u{i - 4:03d}"][10:230]
        texts[f"u{i:03d}"] = "\n".join(lines)
    return texts


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return corpus()


@pytest.fixture(scope="module")
def pool(
    tmp_path_factory: pytest.TempPathFactory, write_shards: Write, texts: dict[str, str]
) -> Path:
    order = np.random.default_rng(3).permutation(len(texts))
    table = pa.table(
        {
            "uid": [list(texts)[i] for i in order] + ["null", "blank"],
            "text": [list(texts.values())[i] for i in order] + [None, "  "],
        }
    )
    return write_shards(tmp_path_factory.mktemp("pool"), table, 20, 7)


def decided(winnow: Winnow, pool: Path, out: Path, step: str, **settings: Any) -> Any:
    given = {"path": str(pool), **TEXT_ONLY}
    return winnow(pool, out, [step, "apply"], input=given, **{step: settings})


def windows(text: bytes, size: int) -> set[bytes]:
    return {text[i : i + size] for i in range(len(text) - size + 1)}


def test_passages_are_reported_with_where_else_they_stand(
    winnow: Winnow, pool: Path, tmp_path: Path, texts: dict[str, str]
):
    run = decided(winnow, pool, tmp_path / "r", "substring", min_bytes=60)
    spans = run.artifact("substring", "spans").to_pylist()
    assert run.kept("substring") == set(texts) | {"null", "blank"}
    raw = {uid: text.encode() for uid, text in texts.items()}
    seen: set[bytes] = set()
    for uid in sorted(raw):
        mine = [span for span in spans if span["uid"] == uid]
        inside = set()
        for span in mine:
            passage = raw[uid][span["start"] : span["end"]]
            assert len(passage.decode().encode()) == len(passage)
            twin = raw[span["twin"]][span["twin_start"] :]
            assert twin.startswith(passage[:60])
            assert span["copies"] > 1
            inside |= set(range(span["start"], span["end"]))
        for i in range(len(raw[uid]) - 59):
            window = raw[uid][i : i + 60]
            if window in seen:
                # But for the bytes of a character that is cut in two.
                assert sum(j not in inside for j in range(i, i + 60)) <= 3
            seen.add(window)
    ledger = run.ledger("substring")
    size = sum(s["end"] - s["start"] for s in spans if s["uid"] == "u003")
    assert ledger["u003"]["score"] == size / len(raw["u003"])
    assert ledger["u003"]["reason"] == "repeated_passages"
    assert ledger["u001"]["reason"] == "nothing_repeated"


def test_cutting_leaves_no_passage_twice(
    winnow: Winnow, pool: Path, tmp_path: Path, texts: dict[str, str]
):
    run = decided(winnow, pool, tmp_path / "r", "substring", min_bytes=60, action="cut")
    files = sorted((tmp_path / "r" / "cut").glob("*.parquet"))
    cut = {
        row["uid"]: row["text"]
        for row in pa.concat_tables(map(pq.read_table, files)).to_pylist()
    }
    spans = run.artifact("substring", "spans").to_pylist()
    assert set(cut) == {span["uid"] for span in spans}
    for uid, text in cut.items():
        raw, place, left = texts[uid].encode(), 0, b""
        for span in (s for s in spans if s["uid"] == uid):
            left, place = left + raw[place : span["start"]], span["end"]
        assert text.encode() == left + raw[place:]
    whole = [cut.get(uid, text).encode() for uid, text in sorted(texts.items())]
    assert sum(NOTICE.encode() in text for text in whole) == 1
    ledger = run.ledger("substring")
    assert {ledger[uid]["reason"] for uid in cut} == {"passages_cut"}


def test_texts_of_repeated_passages_are_dropped_and_empty_ones_go(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    tail = " ".join(map(str, range(150)))
    table = pa.table({"uid": ["a", "b", "c"], "text": [NOTICE, NOTICE, NOTICE + tail]})
    pool = write_shards(tmp_path / "p", table)
    run = decided(
        winnow, pool, tmp_path / "d", "substring", min_bytes=50, action="drop"
    )
    ledger = run.ledger("substring")
    assert [ledger[uid]["keep"] for uid in "abc"] == [True, False, True]
    assert (ledger["b"]["kept_twin"], ledger["b"]["score"]) == ("a", 1.0)
    run = decided(winnow, pool, tmp_path / "c", "substring", min_bytes=50, action="cut")
    assert run.ledger("substring")["b"]["reason"] == "nothing_left"
    with pytest.raises(InputError, match=r"more than substring\.max_bytes"):
        decided(winnow, pool, tmp_path / "l", "substring", max_bytes=100)


@pytest.mark.parametrize("keep_first", [True, False])
def test_repeated_lines_against_counting(
    winnow: Winnow, pool: Path, tmp_path: Path, texts: dict[str, str], keep_first: bool
):
    run = decided(
        winnow, pool, tmp_path / "r", "lines", action="cut", keep_first=keep_first
    )
    spans = run.artifact("lines", "spans").to_pylist()
    having = sorted(uid for uid, text in texts.items() if NOTICE in text)
    wanted = having[1:] if keep_first else having
    assert [span["uid"] for span in spans] == wanted
    for span in spans:
        line = texts[span["uid"]].encode()[span["start"] : span["end"]].decode()
        assert line.strip() == NOTICE
        assert span["copies"] == len(having)
    cut = pq.read_table(tmp_path / "r" / "cut").to_pylist()
    assert all(NOTICE not in row["text"] for row in cut)


def test_paragraphs_and_their_bounds(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    shared = "a paragraph\nof two lines that all have"
    texts = [f"one {i}\n\n{shared}\n \nlast {i}" for i in range(4)]
    pool = write_shards(tmp_path / "p", pa.table({"uid": list("abcd"), "text": texts}))
    decided(winnow, pool, tmp_path / "r", "lines", by="paragraph", action="cut")
    cut = pq.read_table(tmp_path / "r" / "cut").to_pylist()
    assert [row["uid"] for row in cut] == ["b", "c", "d"]
    assert all(shared not in row["text"] and "last" in row["text"] for row in cut)
    assert (
        decided(winnow, pool, tmp_path / "s", "lines", by="paragraph", min_texts=5)
        .artifact("lines", "spans")
        .num_rows
        == 0
    )


def test_quality_rules_give_their_name_and_figures(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    good = " ".join(
        f"The reader of line {i} is told that it has to go on with the story."
        for i in range(9)
    )
    texts = {
        "good": good,
        "short": "Far too short to be of use.",
        "lines": "\n".join(["the same line of it all."] * 5),
        "null": None,
    }
    pool = write_shards(
        tmp_path / "p", pa.table({"uid": list(texts), "text": list(texts.values())})
    )
    run = decided(
        winnow, pool, tmp_path / "r", "quality", top_ngrams=[], repeated_ngrams=[]
    )
    rows = run.ledger("quality")
    told = {
        uid: (row["reason"], row["score"], row["threshold"])
        for uid, row in rows.items()
    }
    assert told == {
        "good": ("rules_passed", None, None),
        "short": ("gopher_too_few_words", 7.0, 50.0),
        "lines": ("gopher_repeated_lines", 0.8, 0.3),
        "null": ("empty", 0.0, 0.0),
    }
    assert json.loads((tmp_path / "r" / "manifest.json").read_text())
