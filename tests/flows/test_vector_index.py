"""An index of vectors: a pool that grows by it decides as one run over all of it."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from winnow import Run
from winnow import run as winnow_run
from winnow.cli.main import main
from winnow.core.errors import ConfigError, InputError, QueryError
from winnow.flows.near_index import (
    ask,
    check_index,
    compact,
    describe,
    discard,
    repair_index,
)
from winnow.flows.vector_index import add, build, near
from winnow.indexes import vector_index
from winnow.indexes.segment import DamagedIndex
from winnow.indexes.vector_index import VectorIndex
from winnow.search.searched_vectors import Asked
from winnow.steps.indexed_vectors import rows_in_index

from tests.flows.conftest import nearest_to_words
from tests.parity.comparison import assert_same

STEPS = ["embed", "cluster", "semantic", "apply"]
SEMANTIC = {"epsilon": 0.05, "keeper": ["month asc"]}


@pytest.fixture(scope="module")
def kept(months: dict[str, Any]) -> list[str]:
    """Return the uids of the first month's rows that are kept: those of the index."""
    uids: list[str] = months["first"].output()["uid"].to_pylist()
    return uids


def test_months_decide_as_one_run(months: dict[str, Any]):
    whole = {uid: d["keep"] for uid, d in months["whole"].ledger("semantic").items()}
    parts = {
        uid: d["keep"]
        for name in ("first", "second")
        for uid, d in months[name].ledger("semantic").items()
    }
    assert parts == whole
    assert 0 < sum(whole.values()) < len(whole)
    reasons = [d["reason"] for d in months["second"].ledger("semantic").values()]
    assert reasons.count("semantic_duplicate_in_index") > 3
    assert reasons.count("semantic_duplicate") > 1


def test_an_index_is_built_once(months: dict[str, Any], tmp_path: Path):
    run = str(months["first"].path)
    first = build(run, tmp_path / "i")
    again = build(run, tmp_path / "i")
    assert (first["built_before"], again["built_before"]) == (False, True)
    counts = again["added"], again["already_there"], again["rows"]
    assert counts == (0, first["added"], first["rows"])
    for other, modality in ((run, "text"), (str(months["second"].path), "image")):
        with pytest.raises(ConfigError, match="is not empty"):
            build(other, tmp_path / "i", modality=modality)
    assert check_index(tmp_path / "i") == []


def test_runs_are_added_all_or_none(
    months: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The disk is full at the second one, or at the very end."""
    run = str(months["first"].path)
    build(run, tmp_path / "i")
    before = describe(tmp_path / "i")
    original = VectorIndex.end_addition
    ended: list[int] = []

    def full(index: VectorIndex) -> None:
        original(index)
        ended.append(1)
        if len(ended) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(VectorIndex, "end_addition", full)
        with pytest.raises(OSError, match="No space"):
            add(tmp_path / "i", [str(months["second"].path), run])
    assert describe(tmp_path / "i") == before
    add(tmp_path / "i", [str(months["second"].path), run])
    assert len(describe(tmp_path / "i")["additions"]) == 2


def test_each_row_that_goes_is_near_the_indexed_row_that_is_named(
    months: dict[str, Any], kept: list[str]
):
    vectors = stored(months["whole"])
    for uid, told in months["second"].ledger("semantic").items():
        cosines = {other: float(vectors[uid] @ vectors[other]) for other in kept}
        best = max(cosines.values())
        if told["reason"] == "semantic_duplicate_in_index":
            assert told["kept_twin"] in kept
            assert told["score"] == pytest.approx(best, abs=1e-12)
            assert cosines[told["kept_twin"]] == pytest.approx(best, abs=1e-12)
            assert best > 0.95 == told["threshold"]
            taken = uid
        else:
            assert best <= 0.95
    story = str(Run(months["second"].path).explain(taken))
    assert "semantic_duplicate_in_index" in story
    (most,) = re.findall(
        r"kept with semantic\.epsilon at most (0\.\d+), unless an earlier row",
        story,
    )
    rows = months["second"].artifact("embed", "vectors")
    rows = rows.select(["uid", "image_vector"]).rename_columns(["uid", "vector"])
    (row,) = rows.filter(pc.equal(rows["uid"], taken)).to_batches()
    for epsilon, goes in ((float(most), 0), (float(most) + 1e-6, 1)):
        index = str(months["index"])
        (decided,) = rows_in_index(iter([row]), index=index, epsilon=epsilon)
        assert len(decided) == goes
    assert months["second"].ledger("semantic")[taken]["kept_twin"] in story


def stored(run: Any) -> dict[str, Any]:
    rows = run.artifact("embed", "vectors")
    vectors = np.array(rows["image_vector"].to_pylist(), np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return dict(zip(rows["uid"].to_pylist(), vectors, strict=True))


@pytest.mark.slow
def test_a_month_whose_rows_have_joined_may_be_repeated(
    months: dict[str, Any], tmp_path: Path, winnow: Callable[..., Any]
):
    index = tmp_path / "index"
    build(str(months["first"].path), index)
    counts = add(index, [str(months["second"].path)])
    assert counts["added"] == len(months["second"].output())
    assert add(index, [str(months["second"].path)])["added"] == 0
    settings = {**SEMANTIC, "index": str(index)}
    pool = months["pools"]["second"]
    repeated = winnow(pool, tmp_path / "run", STEPS, semantic=settings)
    keeps = [
        {uid: d["keep"] for uid, d in run.ledger("semantic").items()}
        for run in (repeated, months["second"])
    ]
    assert keeps[0] == keeps[1]


@pytest.mark.slow
def test_another_epsilon_is_told_and_decided_with_the_index(
    months: dict[str, Any], tmp_path: Path, winnow: Callable[..., Any]
):
    second = Run(months["second"].path)
    told = second.what_if(semantic={"epsilon": 0.02})
    settings = {**SEMANTIC, "index": str(months["index"]), "epsilon": 0.02}
    fresh = winnow(
        months["pools"]["second"], tmp_path / "run", STEPS, semantic=settings
    )
    assert told["kept"]["b"] == fresh.result.kept > len(second.kept([]))


def test_near_is_brute_force(months: dict[str, Any], kept: list[str]):
    vectors = stored(months["whole"])
    for uid in kept[::23]:
        rows = near(months["index"], Asked(like=uid), k=5)
        pairs = [(-round(float(vectors[uid] @ vectors[o]), 12), o) for o in kept]
        expected = [o for _, o in sorted(pairs) if o != uid][:5]
        assert [row["uid"] for row in rows] == expected
        assert rows[0]["source"] == str(months["first"].path)
    with pytest.raises(InputError, match="has no uid 'nobody'"):
        near(months["index"], Asked(like="nobody"))
    with pytest.raises(QueryError, match="ready-made"):
        near(months["index"], Asked(text="a cat"))


def test_it_is_grown_removed_from_and_mended_as_the_index_of_texts(
    months: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    index = tmp_path / "index"
    build(str(months["first"].path), index)
    rows = VectorIndex(index).rows
    monkeypatch.setattr(vector_index, "SEGMENT_ROWS", rows)
    add(index, [str(months["second"].path)])
    assert len(VectorIndex(index).listed()) == 2
    version = VectorIndex(index).version
    monkeypatch.undo()
    compact(index)
    assert len(VectorIndex(index).listed()) == 1
    assert VectorIndex(index).version == version
    uid = VectorIndex(index).segments[0].table.column("uid")[3].as_py()
    before = VectorIndex(index).rows
    assert discard(index, [uid, "nobody"])["unknown"] == ["nobody"]
    assert VectorIndex(index).rows == before - 1
    with pytest.raises(InputError, match="no uid"):
        near(index, Asked(like=uid))
    assert check_index(index) == []
    (vectors,) = index.glob("segment-*/vectors.npy")
    vectors.write_bytes(vectors.read_bytes()[:-5])
    with pytest.raises(DamagedIndex, match="index repair"):
        near(index, Asked(like="x"))
    assert len(check_index(index)) == 1
    repaired = repair_index(index)
    assert repaired["lost_rows"] > 0
    assert repaired["add_again"] == [
        str(months[name].path) for name in ("first", "second")
    ]
    for name in ("first", "second"):
        add(index, [str(months[name].path)])
    assert VectorIndex(index).rows == before
    assert VectorIndex(index).listed()[0].KIND == "vectors"


def test_what_cannot_be_is_one_sentence(
    months: dict[str, Any], tmp_path: Path, winnow: Callable[..., Any]
):
    pool, index = months["pools"]["second"], str(months["index"])
    for wrong, said in (
        ({"semantics": "reference"}, "greedy"),
        ({"scope": "cluster"}, "scope: pool"),
    ):
        settings = {"epsilon": 0.3, "index": index, **wrong}
        with pytest.raises(ConfigError, match=said):
            winnow(pool, tmp_path / "a", STEPS, semantic=settings)
    with pytest.raises(ConfigError, match="holds no index"):
        winnow(pool, tmp_path / "b", STEPS, semantic={"index": str(tmp_path / "no")})
    with pytest.raises(ConfigError, match="index of vectors, not of texts"):
        ask(index, text="a b c")


def test_the_commands(
    months: dict[str, Any], kept: list[str], tmp_path: Path, capsys: Any
):
    index, run = str(tmp_path / "i"), str(months["first"].path)
    assert main(["index", "build", run, "--out", index, "--vectors", "image"]) == 0
    assert "rows added, 0 were there" in capsys.readouterr().out
    assert main(["index", "add", index, str(months["second"].path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["already_there"] == 0
    assert main(["near", index, "--uid", kept[0], "--k", "2", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2
    assert main(["index", "show", index]) == 0
    assert main(["index", "add", index, run, "--column", "text"]) == 2
    assert main(["index", "check", index]) == 0
    assert "sound" in capsys.readouterr().out


@pytest.mark.slow
def test_near_is_asked_of_the_model_of_the_index_and_of_no_other(
    pictured: tuple[Any, list[bytes]],
    months: dict[str, Any],
    tmp_path: Path,
    winnow: Callable[..., Any],
    tiny_vit: str,
    capsys: Any,
):
    run, pictures = pictured
    index = str(tmp_path / "index")
    build(str(run.path), index)
    file = tmp_path / "picture.jpg"
    file.write_bytes(pictures[5])
    assert main(["near", index, "--image", str(file), "--k", "3", "--json"]) == 0
    first, *rest = json.loads(capsys.readouterr().out)["rows"]
    assert first["uid"] == run.output()["uid"][5].as_py()
    assert first["cosine"] == pytest.approx(1, abs=1e-3)
    assert first["source"] == str(run.path)
    assert len(rest) == 2
    assert main(["near", index, "--text", "a red house", "--k", "1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["uid"] == nearest_to_words(run, tiny_vit, "a red house")
    # The same weights with another background see other pictures.
    settings = {
        "model": {"name": tiny_vit, "precision": "float32", "background": "black"},
        "embed": {"image_column": None, "text_column": None},
    }
    pool = run.path.parent / "pool"
    steps = ["embed", "cluster", "semantic", "apply"]
    with pytest.raises(ConfigError, match="built from vectors of another model"):
        winnow(pool, tmp_path / "a", steps, semantic={"index": index}, **settings)
    for source in (winnow(pool, tmp_path / "b", ["embed", "apply"], **settings), run):
        other = source is not run
        assert main(["index", "add", index, str(source.path)]) == (2 if other else 0)
        assert ("are of another model" in capsys.readouterr().err) == other
    assert VectorIndex(index).rows == 24
    ready_made = str(months["first"].path)
    assert main(["index", "add", index, ready_made]) == 2
    assert "are of another model" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_against_an_index_is_the_same_on_spark(
    months: dict[str, Any],
    spark: Any,
    tmp_path: Path,
    vector_recipe: Callable[..., dict[str, Any]],
):
    settings = {**SEMANTIC, "index": str(months["index"])}
    pool, out = months["pools"]["second"], tmp_path / "run"
    recipe = vector_recipe(pool, out, STEPS, semantic=settings)
    recipe["engine"] = {"name": "spark", "partitions": 2}
    winnow_run(recipe, spark=spark)
    assert_same(months["second"].path, out)
