"""Search in a run: answers of brute force, under conditions, exact and by lists."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from winnow import Run
from winnow.cli.main import main
from winnow.core.errors import ConfigError, InputError, QueryError
from winnow.search.run_search import RunSearch, search, tell
from winnow.search.searched_vectors import Asked
from winnow.steps import nearest_vectors

from tests.flows.conftest import nearest_to_words


@pytest.fixture(scope="module")
def finished(months: dict[str, Any]) -> Any:
    """Return a run over 300 rows in shards."""
    return months["whole"]


@pytest.fixture(scope="module")
def opened(finished: Any) -> Iterator[RunSearch]:
    with RunSearch(finished.path) as opened:
        yield opened


@pytest.fixture(scope="module")
def vectors(finished: Any) -> dict[str, Any]:
    table = finished.artifact("embed", "vectors")
    rows = np.array(table["image_vector"].to_pylist(), np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return dict(zip(table["uid"].to_pylist(), rows, strict=True))


@pytest.fixture(scope="module")
def kept(finished: Any) -> list[str]:
    """Return the uids of the rows that the run keeps, in its order."""
    uids: list[str] = finished.output()["uid"].to_pylist()
    return uids


@pytest.fixture(scope="module")
def input_rows(month_table: pa.Table) -> list[dict[str, Any]]:
    return month_table.drop_columns(["iv", "tv"]).to_pylist()


@pytest.fixture(scope="module")
def decisions(finished: Any) -> dict[str, Any]:
    return {step: finished.ledger(step) for step in ("semantic", "score")}


def brute_force(
    vectors: dict[str, Any], like: str, among: set[str], k: int
) -> list[tuple[str, float]]:
    pairs = [(u, float(v @ vectors[like])) for u, v in vectors.items() if u in among]
    pairs = [pair for pair in pairs if pair[0] != like]
    return sorted(pairs, key=lambda pair: (-round(pair[1], 12), pair[0]))[:k]


def assert_same(told: dict[str, Any], expected: list[tuple[str, float]]) -> None:
    assert [row["uid"] for row in told["rows"]] == [uid for uid, _ in expected]
    cosines = [row["cosine"] for row in told["rows"]]
    np.testing.assert_allclose(cosines, [c for _, c in expected], atol=1e-12)


#: A condition, and the same in Python over (input's row, decisions by step).
CONDITIONS: dict[str, Callable[[dict[str, Any], dict[str, Any]], bool]] = {
    "width >= 200 AND text LIKE '%a%'": lambda row, _: (
        row["width"] >= 200 and "a" in row["text"]
    ),
    "score > .1 OR winnow_semantic < .5": lambda row, told: (
        (told["score"].get(row["uid"], {}).get("score") or -9) > 0.1
        or (told["semantic"].get(row["uid"], {}).get("score") or 9) < 0.5
    ),
    "len(extra.tags) = 2": lambda row, _: len(row["extra"]["tags"]) == 2,
}


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("", "all"),
        *zip(["", *CONDITIONS], ["kept", "all", "kept", "kept"], strict=True),
    ],
)
def test_answers_are_those_of_brute_force(
    opened: RunSearch,
    vectors: dict[str, Any],
    kept: list[str],
    input_rows: list[dict[str, Any]],
    decisions: dict[str, Any],
    where: str,
    rows: Any,
):
    among = {
        row["uid"]
        for row in input_rows
        if not where or CONDITIONS[where](row, decisions)
    }
    if rows == "kept":
        among &= set(kept)
    for like in list(vectors)[::131]:
        answer = opened.find(Asked(like=like), k=7, where=where, rows=rows)
        assert answer["exact"]
        assert answer["searched"] == len(among & set(vectors))
        assert_same(answer, brute_force(vectors, like, among, 7))


@pytest.mark.parametrize(
    "bits", [8, *(pytest.param(bits, marks=pytest.mark.slow) for bits in (4, 6, 16))]
)
def test_lists_give_the_same_answers(
    finished: Any,
    vectors: dict[str, Any],
    month_table: pa.Table,
    bits: Any,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(nearest_vectors, "EXACT_ROWS", 100)
    monkeypatch.setattr(nearest_vectors, "EXACT_PASSING", 20)
    widths = month_table["width"].to_pylist()
    wide = dict(zip(month_table["uid"].to_pylist(), widths, strict=True))
    missed = asked = 0
    with RunSearch(finished.path, bits=bits) as opened:
        for where, step in (("", 79), ("width < 200", 151), ("width < 60", 151)):
            limit = int(where.split()[-1]) if where else 10**9
            among = {uid for uid, width in wide.items() if width < limit}
            for like in list(vectors)[::step]:
                answer = opened.find(Asked(like=like), k=10, where=where, rows="all")
                assert not answer["exact"]
                expected = dict(brute_force(vectors, like, among, 10))
                uids = {row["uid"] for row in answer["rows"]}
                assert uids <= among - {like}
                missed += len(set(expected) - uids)
                asked += len(expected)
    assert missed <= 0.02 * asked


@pytest.fixture
def copied(finished: Any, tmp_path: Path) -> Path:
    """Return a copy of the run that was never searched."""
    never = shutil.ignore_patterns("search")
    return Path(shutil.copytree(finished.path, tmp_path / "run", ignore=never))


def test_lists_are_kept_and_made_again_where_they_are_damaged(
    copied: Path, kept: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(nearest_vectors, "EXACT_ROWS", 100)
    monkeypatch.setattr(nearest_vectors, "EXACT_PASSING", 20)

    def ask() -> dict[str, Any]:
        return search(copied, Asked(like=kept[0]), rows="all")

    first = ask()
    (lists,) = copied.glob("search/image/lists/*.faiss")
    written = lists.stat().st_mtime_ns
    assert ask() == first
    assert lists.stat().st_mtime_ns == written
    lists.write_bytes(lists.read_bytes()[:-9])
    assert ask() == first
    (vectors,) = copied.glob("search/image/segment-*/vectors.npy")
    vectors.write_bytes(vectors.read_bytes()[:-9])
    assert ask() == first


def test_a_run_that_may_only_be_read_is_searched(copied: Path, kept: list[str]):
    # As a folder without the right to write answers; root may write anywhere.
    (copied / "search").write_text("")
    assert len(search(copied, Asked(like=kept[0]), k=3, rows="all")["rows"]) == 3


def test_what_cannot_be_asked_is_one_sentence(
    finished: Any, opened: RunSearch, kept: list[str], tmp_path: Path
):
    uid = kept[0]
    for asked, error, said in (
        (Asked(like="nobody"), InputError, "has no row 'nobody'"),
        (Asked(text="a cat"), QueryError, "ready-made; .* needs the model"),
        (Asked(image=b"x"), QueryError, "ready-made; .* picture needs the model"),
        (Asked(), ConfigError, "one of them"),
        (Asked("a", like=uid), ConfigError, "one of them"),
    ):
        with pytest.raises(error, match=said):
            opened.find(asked)
    for where, said in (
        ("colour = 1", "no column 'colour'; "),
        ("width >", "where: width >: .*syntax error"),
        ("width IN (SELECT 1)", "subquery"),
        ("text::INT > 3", "Could not convert"),
    ):
        with pytest.raises(QueryError, match=said):
            opened.find(Asked(like=uid), where=where)
    with pytest.raises(ConfigError, match="k is a number"):
        opened.find(Asked(like=uid), k=0)
    nothing = opened.find(Asked(like=uid), where="width < 0")
    assert nothing["rows"] == []
    assert "no row passes" in tell(nothing)
    with pytest.raises(InputError, match="cannot be read"):
        Run(finished.path).search(image=tmp_path / "none.jpg")


def test_a_handle_and_the_command_give_the_same(
    finished: Any, kept: list[str], capsys: pytest.CaptureFixture[str]
):
    uid = kept[0]
    how: Any = {"like": uid, "k": 40, "where": "width > 100", "rows": "all"}
    rows = Run(finished.path).search(**how)
    asked = ["search", os.fspath(finished.path), "--like", uid, "--k", "40"]
    assert main([*asked, "--where", "width > 100", "--all", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [r["uid"] for r in told["rows"]] == rows["uid"].to_pylist()
    assert [r["cosine"] for r in told["rows"]] == rows["cosine"].to_pylist()
    fates = {r["uid"]: "kept" if r["uid"] in kept else "dropped" for r in told["rows"]}
    assert {r["uid"]: r["fate"] for r in told["rows"]} == fates
    assert set(fates.values()) == {"kept", "dropped"}
    assert "all compared" in tell(told)


@pytest.mark.slow
def test_words_and_pictures_are_asked_of_the_runs_model(
    pictured: tuple[Any, list[bytes]], tmp_path: Path, tiny_vit: str
):
    run, pictures = pictured
    opened = Run(run.path)
    first = opened.search(image=pictures[5], k=1).to_pylist()[0]
    assert first["uid"] == run.output()["uid"][5].as_py()
    assert first["cosine"] == pytest.approx(1, abs=1e-3)
    assert opened.search("a red house", k=1)["uid"].to_pylist() == [
        nearest_to_words(run, tiny_vit, "a red house")
    ]
    with pytest.raises(InputError, match="picture cannot be used"):
        opened.search(image=b"no picture")
    # As on another machine, where the model's folder is not.
    checkpoint = Path(tiny_vit.removeprefix("local-dir:"))
    moved = checkpoint.rename(tmp_path / "elsewhere")
    try:
        with pytest.raises(QueryError, match=r"model cannot be loaded.*no such folder"):
            search(run.path, Asked("a cat"))
    finally:
        moved.rename(checkpoint)
