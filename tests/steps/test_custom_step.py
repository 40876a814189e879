"""A user's own function as a step: scores, decisions, and its mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from winnow.core.errors import ConfigError, InputError, WinnowError

Winnow = Callable[..., Any]
Write = Callable[..., Path]

SCORERS = """
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

def number(batch):
    return batch["n"]

def as_numpy(batch):
    return batch["n"].to_numpy().astype(np.float32)

def as_list(batch):
    return batch["n"].to_pylist()

def holes(batch):
    n = batch["n"].to_numpy()
    return np.where(n % 3 == 0, np.nan, n)

def nothing(batch):
    return np.full(len(batch), np.nan)

def infinite(batch):
    return np.where(batch["n"].to_numpy() > 10, np.inf, -np.inf)

def even(batch):
    return pc.equal(pc.bit_wise_and(batch["n"], 1), 0)

def unsure(batch):
    n = batch["n"].to_pylist()
    return pa.array([None if i % 2 else i > 5 for i in n], pa.bool_())

def blind(batch):
    assert batch.schema.names == ["uid"], batch.schema.names
    return [int(uid[1:]) for uid in batch["uid"].to_pylist()]

def fails(batch):
    raise RuntimeError("no such model")

def short(batch):
    return [1.0]

def words(batch):
    return ["good"] * len(batch)

def nested(batch):
    return np.ones((len(batch), 2))

def nearness(batch, centroids):
    names = ["uid", "width", "image_vector", "cluster", "distance"]
    assert batch.schema.names == names, batch.schema.names
    flat = batch["image_vector"].flatten().to_numpy().astype(np.float64)
    vectors = flat.reshape(len(batch), -1)
    centres = centroids[batch["cluster"].to_numpy()].astype(np.float64)
    cosines = (vectors * centres).sum(axis=1)
    cosines /= np.linalg.norm(vectors, axis=1) * np.linalg.norm(centres, axis=1)
    np.testing.assert_allclose(1 - cosines, batch["distance"].to_numpy(), atol=1e-9)
    return cosines + 0 * batch["width"].to_numpy()

constant = 3
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "user_scorers_of_this_test.py").write_text(SCORERS)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def pool(write_shards: Write, tmp_path: Path) -> Path:
    table = pa.table({"uid": [f"u{i:02d}" for i in range(20)], "n": list(range(20))})
    return write_shards(tmp_path / "pool", table, 7, 3)


def custom(winnow: Winnow, pool: Path, name: str, **settings: Any) -> Any:
    given = {"function": f"user_scorers_of_this_test:{name}", "columns": ["n"]}
    out = pool.parent / "run"
    return winnow(pool, out, ["custom"], custom={**given, **settings})


def kept(run: Any) -> list[int]:
    return sorted(int(uid[1:]) for uid in run.kept("custom"))


@pytest.mark.parametrize("name", ["number", "as_numpy", "as_list"])
def test_scores_of_any_form_are_cut(winnow: Winnow, pool: Path, name: str):
    run = custom(winnow, pool, name, keep_fraction=0.25)
    assert kept(run) == [15, 16, 17, 18, 19]
    row = run.ledger("custom")["u03"]
    assert (row["reason"], row["score"], row["threshold"]) == ("custom_rejected", 3, 15)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"threshold": 17}, [17, 18, 19]),
        ({"threshold": 2, "keep_high": False}, [0, 1, 2]),
        ({"keep_count": 2, "keep_high": False}, [0, 1]),
        ({"keep_count": 4, "threshold": 18}, [18, 19]),
    ],
    ids=str,
)
def test_thresholds_and_low_scores(
    winnow: Winnow, pool: Path, settings: dict, expected: list
):
    assert kept(custom(winnow, pool, "number", **settings)) == expected


def test_nan_is_never_kept_and_is_counted(winnow: Winnow, pool: Path):
    run = custom(winnow, pool, "holes", keep_count=18)
    assert kept(run) == [i for i in range(20) if i % 3]
    missing = [r for r in run.ledger("custom").values() if r["reason"] == "score_nan"]
    assert len(missing) == 7
    assert all(row["score"] is None for row in missing)
    (marker,) = [m for m in run.result.steps if m.step == "custom"]
    assert marker.facts["not_scored"] == 7


@pytest.mark.parametrize("settings", [{"keep_fraction": 0.5}, {"threshold": 0}])
def test_nothing_but_nan_keeps_nothing(winnow: Winnow, pool: Path, settings: dict):
    assert kept(custom(winnow, pool, "nothing", **settings)) == []


def test_infinite_scores_are_scores(winnow: Winnow, pool: Path):
    assert kept(custom(winnow, pool, "infinite", keep_count=3)) == [11, 12, 13]


def test_decisions_are_followed(winnow: Winnow, pool: Path):
    run = custom(winnow, pool, "even")
    assert kept(run) == list(range(0, 20, 2))
    assert run.ledger("custom")["u01"]["reason"] == "custom_rejected"
    assert run.ledger("custom")["u02"]["reason"] == "custom_passed"


def test_no_decision_is_not_kept(winnow: Winnow, pool: Path):
    assert kept(custom(winnow, pool, "unsure")) == [6, 8, 10, 12, 14, 16, 18]


def test_a_function_may_look_at_the_uid_alone(winnow: Winnow, pool: Path):
    assert kept(custom(winnow, pool, "blind", columns=[], keep_count=1)) == [19]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fails", "custom: .*:fails failed: RuntimeError.*no such model"),
        ("short", "custom: .*:short returned 1 values for"),
        ("words", "custom: .*:words"),
        ("nested", "custom: .*:nested"),
    ],
)
def test_a_functions_mistake_names_it(
    winnow: Winnow, pool: Path, name: str, message: str
):
    with pytest.raises(WinnowError, match=message):
        custom(winnow, pool, name, keep_count=1)


def test_scores_without_a_cut_are_refused(winnow: Winnow, pool: Path):
    with pytest.raises(ConfigError, match="give keep_fraction, keep_count or"):
        custom(winnow, pool, "number")


@pytest.mark.parametrize(
    "function", ["no_such_module_here:f", "user_scorers_of_this_test:missing"]
)
def test_what_cannot_be_imported_is_refused_before_anything_runs(
    winnow: Winnow, pool: Path, function: str
):
    with pytest.raises(ConfigError, match=r"custom\.function: cannot import"):
        custom(winnow, pool, "number", function=function)
    assert not (pool.parent / "run").exists()


def test_what_is_no_function_is_refused_before_anything_runs(
    winnow: Winnow, pool: Path
):
    with pytest.raises(ConfigError, match=r"custom\.function: .*constant"):
        custom(winnow, pool, "constant", keep_count=1)
    assert not (pool.parent / "run").exists()


def test_a_missing_column_names_the_nearest(winnow: Winnow, pool: Path):
    with pytest.raises(InputError, match=r"custom: .*no column 'nn'"):
        custom(winnow, pool, "number", columns=["nn"])


def test_an_edited_function_runs_again(winnow: Winnow, pool: Path, tmp_path: Path):
    import sys

    first = custom(winnow, pool, "number", keep_count=3)
    assert first.result.ran == ["index", "custom"]
    assert custom(winnow, pool, "number", keep_count=3).result.ran == []
    file = tmp_path / "user_scorers_of_this_test.py"
    file.write_text(
        SCORERS.replace(
            'return batch["n"]\n',
            'return [-int(u[1:]) for u in batch["uid"].to_pylist()]\n',
            1,
        )
    )
    del sys.modules["user_scorers_of_this_test"]
    again = custom(winnow, pool, "number", keep_count=3)
    assert again.result.ran == ["custom"]
    assert kept(again) == [0, 1, 2]


def test_a_module_that_fails_is_the_users_and_named(
    winnow: Winnow, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "fails_when_imported.py").write_text("raise RuntimeError('no licence')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"fails_when_imported.*no licence"):
        custom(winnow, pool, "number", function="fails_when_imported:f")


def test_a_function_gets_vectors_clusters_and_centroids(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    artifacts = ["image_vectors", "clusters", "centroids"]
    settings = {"columns": ["width"], "artifacts": artifacts, "keep_fraction": 0.5}
    name = "user_scorers_of_this_test:nearness"
    given = {"function": name, **settings}
    steps = ["embed", "cluster", "custom"]
    run = winnow(planted_pool, tmp_path / "run", steps, custom=given)
    clusters = run.artifact("cluster", "clusters").to_pylist()
    distance = {row["uid"]: row["distance"] for row in clusters}
    ledger = run.ledger("custom")
    assert set(ledger) == set(distance)
    for uid, row in ledger.items():
        assert row["score"] == pytest.approx(1 - distance[uid], abs=1e-9)
    with pytest.raises(ConfigError, match="needs centroids"):
        winnow(planted_pool, tmp_path / "no", ["embed", "custom"], custom=given)
