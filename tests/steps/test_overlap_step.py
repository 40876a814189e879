"""Texts that share passages with test sets, against brute force over Python sets."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from winnow.algorithms.filter.overlap import letters_and_digits
from winnow.core.errors import InputError

Winnow = Callable[..., Any]
Write = Callable[..., Path]
COLUMNS = {"uid": "uid", "image": None, "text": "text"}


def words(rng: np.random.Generator, count: int) -> list[str]:
    return [f"Word{n}" for n in rng.integers(0, 10**6, count)]


@pytest.fixture(scope="module")
def items() -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    rows: list[dict[str, Any]] = [
        {
            "id": i,
            "question": " ".join(words(rng, 30)) + "?",
            "answer": " ".join(words(rng, 8)),
        }
        for i in range(20)
    ]
    rows.append(
        {"id": 99, "question": "长江是亚洲最长的河流，流经十一个省份", "answer": ""}
    )
    return rows


@pytest.fixture(scope="module")
def texts(items: list[dict[str, Any]]) -> dict[str, str | None]:
    rng = np.random.default_rng(2)
    made: dict[str, str | None] = {}
    for i in range(60):
        passage = words(rng, 40)
        if i % 4 == 0:
            # From nothing in common to far more than thirteen words.
            quoted = items[i % 20]["question"].split()[3 : 3 + i // 2]
            passage[5:5] = [w.lower() + "," for w in quoted]
        made[f"u{i:02d}"] = " ".join(passage)
    answer = items[2]["answer"]
    made["spaced"] = "so - ".join(words(rng, 5)) + "; ".join(answer.split())
    made["chinese"] = "据说长江是亚洲最长的河流，流经十一个省份和城市。"
    made["null"] = None
    return made


@pytest.fixture(scope="module")
def pool(
    tmp_path_factory: pytest.TempPathFactory,
    write_shards: Write,
    texts: dict[str, str | None],
) -> Path:
    table = pa.table({"uid": list(texts), "text": list(texts.values())})
    return write_shards(tmp_path_factory.mktemp("pool"), table, 25, 10)


def decided(winnow: Winnow, pool: Path, out: Path, **settings: Any) -> Any:
    given = {"path": str(pool), "columns": COLUMNS}
    return winnow(pool, out, ["overlap", "apply"], input=given, overlap=settings)


def runs(text: str, words: int) -> set[str]:
    plain = [w.strip(",.;?-").lower() for w in text.split()]
    plain = [w for w in plain if w]
    return {" ".join(plain[i : i + words]) for i in range(len(plain) - words + 1)}


def characters(text: str, length: int) -> set[str]:
    plain = letters_and_digits(text)
    return {plain[i : i + length] for i in range(len(plain) - length + 1)}


def test_hits_are_those_of_brute_force(
    winnow: Winnow,
    pool: Path,
    tmp_path: Path,
    items: list[dict[str, Any]],
    texts: dict[str, str | None],
):
    test_set = tmp_path / "quiz.jsonl.gz"
    lines = "\n".join(json.dumps(item, ensure_ascii=False) for item in items)
    test_set.write_bytes(gzip.compress(lines.encode()))
    against = [{"path": str(test_set), "name": "quiz", "uid": "id"}]
    run = decided(winnow, pool, tmp_path / "r", against=against)
    ledger = run.ledger("overlap")
    known = [items[i][field] for i in range(20) for field in ("question", "answer")]
    known_runs = set().union(*(runs(text, 13) for text in known))
    known_characters = set().union(*(characters(text, 50) for text in known))
    reasons = set()
    for uid, text in texts.items():
        if uid == "chinese":
            continue
        row = ledger[uid]
        mine = runs(text or "", 13)
        by_words = mine & known_runs
        by_characters = characters(text or "", 50) & known_characters
        assert row["keep"] == (not by_words and not by_characters), uid
        if by_words:
            assert row["reason"] == "shares_13_words"
            assert row["score"] == pytest.approx(len(by_words) / len(mine))
            item = next(i for i in items if f"quiz:{i['id']}" == row["kept_twin"])
            assert by_words & (runs(item["question"], 13) | runs(item["answer"], 13))
        reasons.add(row["reason"])
    assert reasons == {"shares_13_words", "shares_50_characters", "shares_nothing"}
    assert ledger["spaced"]["kept_twin"] == "quiz:2"
    # Thirteen characters in a row of a script without spaces.
    assert ledger["chinese"]["reason"] == "shares_13_words"
    assert ledger["chinese"]["kept_twin"] == "quiz:99"
    stored = {r["uid"]: r for r in run.artifact("overlap", "overlaps").to_pylist()}
    assert stored.keys() == texts.keys()


def test_a_changed_test_set_makes_the_step_run_again(
    winnow: Winnow, pool: Path, tmp_path: Path, texts: dict[str, str | None]
):
    file = tmp_path / "set.jsonl"
    file.write_text('{"text": "nothing like it"}\n')
    first = decided(winnow, pool, tmp_path / "r", against=[str(file)])
    assert first.result.dropped == 0
    file.write_text(json.dumps({"text": texts["u01"]}) + "\n")
    second = decided(winnow, pool, tmp_path / "r", against=[str(file)])
    assert second.result.dropped == 1
    assert second.ledger("overlap")["u01"]["kept_twin"] == "set.jsonl:set.jsonl#0"


def test_what_cannot_be_a_test_set_is_told(winnow: Winnow, pool: Path, tmp_path: Path):
    file = tmp_path / "set.jsonl"
    file.write_text('{"label": 3, "question": "x"}\n')
    for columns, message in (("label", "columns of strings"), ("questoin", "question")):
        against = [{"path": str(file), "columns": [columns]}]
        with pytest.raises(InputError, match=message):
            decided(winnow, pool, tmp_path / "r", against=against)
    with pytest.raises(InputError, match=r"overlap\.against, set 'gone'"):
        decided(winnow, pool, tmp_path / "r", against=[str(tmp_path / "gone")])
