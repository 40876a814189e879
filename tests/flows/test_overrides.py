"""Overrides: rescued rows stay, dropped rows go, and no other row changes its fate."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
import yaml
from winnow.config.overrides import Override, as_csv, as_yaml, read
from winnow.config.recipes import load
from winnow.core.errors import ConfigError, InputError
from winnow.flows.plan import plan
from winnow.reports.explain import explain, tell
from winnow.reports.run_view import RunView

Winnow = Callable[..., Any]
Write = Callable[..., Path]

STEPS = ["exact", "rules", "embed", "cluster", "semantic", "score", "cluster"]
STEPS += ["complexity", "apply"]
SETTINGS: dict[str, Any] = {"semantic": {"epsilon": 0.03}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("overrides")


@pytest.fixture(scope="module")
def pool(folder: Path, planted_table: Any, write_shards: Write) -> Path:
    rows = planted_table(300).to_pylist()
    # Short captions, one of them above a vector that cannot be used.
    rows[7] |= {"text": "short", "image": b"seven", "iv": None}
    rows[12] |= {"iv": None, "text": "a caption of its own", "image": b"twelve"}
    table = pa.Table.from_pylist(rows, planted_table(300).schema)
    return write_shards(folder / "pool", table, 90)


@pytest.fixture(scope="module")
def plain(winnow: Winnow, pool: Path, folder: Path) -> Any:
    return winnow(pool, folder / "plain", STEPS, **SETTINGS)


def dropped_at(run: Any, step: str) -> list[str]:
    ledger = run.ledger(step)
    return sorted(uid for uid, row in ledger.items() if not row["keep"])


@pytest.fixture(scope="module")
def chosen(plain: Any, pool: Path) -> dict[str, str]:
    """Two rows that each step dropped are rescued; kept ones go, twins among them."""
    actions: dict[str, str] = {}
    for step in ("exact", "rules", "semantic", "score", "complexity"):
        actions |= dict.fromkeys(dropped_at(plain, step)[:2], "rescue")
    uids = pq.read_table(pool)["uid"].to_pylist()
    actions[uids[7]] = "rescue"
    kept = sorted(plain.output()["uid"].to_pylist())
    actions |= dict.fromkeys(kept[:3], "drop")
    actions[kept[10]] = "rescue"
    keepers = {row["kept_twin"] for row in plain.ledger("semantic").values()}
    actions[next(uid for uid in kept[20:] if uid in keepers)] = "drop"
    return actions


@pytest.fixture(scope="module")
def file(folder: Path, chosen: dict[str, str]) -> Path:
    path = folder / "chosen.csv"
    rows = [Override(uid, action, f"n {uid[:4]}") for uid, action in chosen.items()]
    path.write_text(as_csv(rows))
    return path


@pytest.fixture(scope="module")
def run(winnow: Winnow, pool: Path, folder: Path, file: Path, plain: Any) -> Any:
    given = {**SETTINGS, "overrides": str(file)}
    return winnow(pool, folder / "overridden", STEPS, **given)


def test_the_result_is_the_plain_one_and_what_was_asked(
    plain: Any, run: Any, chosen: dict[str, str]
):
    def of(action: str) -> set[str]:
        return {uid for uid, act in chosen.items() if act == action}

    before = set(plain.output()["uid"].to_pylist())
    after = run.output()["uid"].to_pylist()
    assert len(after) == len(set(after))
    assert set(after) == (before | of("rescue")) - of("drop")
    # Budgets: what they kept, and on top of them what was rescued.
    assert run.result.kept == plain.result.kept + len(of("rescue")) - 1 - len(
        of("drop")
    )


def test_no_other_row_is_decided_otherwise(
    plain: Any, run: Any, chosen: dict[str, str]
):
    for step in ("exact", "rules", "semantic", "score", "complexity"):
        before, after = plain.ledger(step), run.ledger(step)
        same = {u: r for u, r in after.items() if chosen.get(u) != "rescue"}
        assert same == {u: r for u, r in before.items() if chosen.get(u) != "rescue"}


def test_every_row_of_every_step_is_accounted_for(run: Any):
    rows = pq.read_table(run.path / "steps.parquet").to_pylist()
    assert [row["step"] for row in rows][-2:] == ["overrides", "apply"]
    for before, after in pairwise(rows):
        assert after["rows_in"] == before["kept"]
        assert before["rows_in"] == (
            before["kept"] + before["dropped"] + before["quarantined"]
        )
    for row in rows:
        if row["step"] in ("exact", "rules", "semantic", "score", "complexity"):
            assert len(run.ledger(row["step"])) == row["rows_in"] - row["quarantined"]
    result = run.result
    assert result.kept + result.dropped + result.quarantined == result.rows == 300


def test_overridden_rows_have_ledger_rows_of_their_own(
    plain: Any, run: Any, chosen: dict[str, str]
):
    for uid, action in chosen.items():
        last = run.ledger("overrides")[uid]
        assert last["reason"] == f"override_{action}"
        assert last["keep"] is (action == "rescue")
    uid = dropped_at(plain, "semantic")[0]
    decision, own_before = run.ledger("semantic")[uid], plain.ledger("semantic")[uid]
    assert decision["reason"] == "override_rescue"
    assert decision["keep"] is True
    assert decision["kept_twin"] is None
    assert decision["score"] == own_before["score"]
    stored = {r["uid"]: r for r in run.artifact("semantic", "rescued").to_pylist()}
    assert stored[uid] == own_before
    later = run.ledger("score")[uid]
    assert (later["reason"], later["score"]) == ("override_rescue", None)


def test_a_row_that_no_step_can_read_stays_in_quarantine_unless_rescued_before(
    winnow: Winnow, plain: Any, run: Any, pool: Path, folder: Path
):
    uids = pq.read_table(pool)["uid"].to_pylist()
    # Number 7 fails a rule before its missing vector matters.
    assert uids[7] in run.output()["uid"].to_pylist()
    again = folder / "unreadable.yaml"
    again.write_text(as_yaml([Override(uids[12], "rescue")]))
    other = winnow(pool, folder / "unreadable", STEPS, overrides=str(again), **SETTINGS)
    assert uids[12] in [row["uid"] for row in other.quarantine()]
    assert uids[12] not in other.output()["uid"].to_pylist()
    assert other.result.kept == plain.result.kept


def test_a_changed_file_runs_what_it_must_and_nothing_else(
    winnow: Winnow, pool: Path, folder: Path, plain: Any, chosen: dict[str, str]
):
    out, path = folder / "again", folder / "again.yaml"
    rescued = dropped_at(plain, "score")[0]
    kept = sorted(plain.output()["uid"].to_pylist())

    def result(*rows: Override) -> Any:
        path.write_text(as_yaml(rows))
        return winnow(pool, out, STEPS, overrides=str(path), **SETTINGS)

    def whole() -> dict[str, bytes]:
        return {
            name: data
            for name, data in result_files(out).items()
            if name.startswith(("ledger", "kept", "subset"))
        }

    result(Override(kept[0], "drop"))
    only = result(Override(kept[1], "drop"))
    assert only.result.ran == ["overrides", "apply"]
    assert result(Override(kept[1], "drop")).result.ran == []
    noted = result(Override(kept[1], "drop", "why"))
    assert noted.result.ran == ["overrides"]
    both = result(Override(kept[1], "drop"), Override(rescued, "rescue"))
    deciding = ["exact", "rules", "semantic", "score", "complexity"]
    assert both.result.ran == [*deciding, "overrides", "apply"]
    assert [m.rows_in for m in both.result.steps][1:] == [
        m.kept for m in both.result.steps
    ][:-1]
    facts = json.loads((out / "manifest.json").read_text())["steps"]
    assert facts["semantic"]["neighbours_reused"] is True
    assert facts["score"]["rescued"] == 1
    assert facts["overrides"]["to_rescue"] == 1
    planned = plan(load(out / "config.lock.yaml"))
    assert all(step["done"] for step in planned["steps"])
    resumed = whole()
    fresh = winnow(pool, folder / "fresh", STEPS, overrides=str(path), **SETTINGS)
    assert {k: v for k, v in resumed.items() if "ledger" in k} == {
        k: v for k, v in result_files(fresh.path).items() if k.startswith("ledger")
    }
    gone = winnow(pool, out, STEPS, **SETTINGS)
    assert not (out / "ledger" / "step=overrides").exists()
    assert gone.output().equals(plain.output())


def result_files(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def test_without_apply_and_as_the_only_survivors(
    winnow: Winnow, pool: Path, folder: Path, plain: Any
):
    everyone = sorted(pq.read_table(pool)["uid"].to_pylist())
    path = folder / "two.csv"
    path.write_text(as_csv([Override(uid, "rescue") for uid in everyone[:2]]))
    nothing = {"random": {"keep_fraction": 0.0}, "overrides": str(path)}
    run = winnow(pool, folder / "two", ["random", "exact"], **nothing)
    assert run.kept("exact") == run.kept("overrides") == set(everyone[:2])
    assert run.result.kept == 2
    assert run.result.dropped == 298


def test_unknown_uids_are_listed(winnow: Winnow, pool: Path, folder: Path):
    path = folder / "unknown.csv"
    path.write_text(as_csv([Override(f"nobody{i}", "drop") for i in range(7)]))
    with pytest.raises(InputError, match=r"'nobody0', .* and 2 more; uids are") as told:
        winnow(pool, folder / "unknown", STEPS, overrides=str(path))
    assert str(path) in str(told.value)


def test_explain_tells_of_overrides(
    run: Any, plain: Any, chosen: dict[str, str], file: Path
):
    view = RunView(run.path)
    uid = dropped_at(plain, "semantic")[0]
    story = explain(view, uid)
    assert story["fate"] == "kept"
    step = next(s for s in story["steps"] if s["step"] == "semantic")
    decision = plain.ledger("semantic")[uid]
    assert step["without_override"] == {
        "reason": decision["reason"],
        "score": decision["score"],
        "threshold": decision["threshold"],
        "twin": decision["kept_twin"],
    }
    text = tell(story)
    assert f"override_rescue; score {decision['score']:.4f}" in text
    assert (
        f"semantic_duplicate without it, with the twin {decision['kept_twin']}" in text
    )
    assert f"note: n {uid[:4]}" in text
    gone = next(uid for uid, action in chosen.items() if action == "drop")
    assert f"taken out of {file}" in tell(explain(view, gone))
    twins = [r for r in run.ledger("semantic").values() if r["kept_twin"] in chosen]
    told = tell(explain(view, twins[0]["uid"]))
    assert "is dropped at overrides (override_drop)" in told


AWKWARD = ["0123", "1e5", "true", 'a"b', "x,y", "ünï", " lead", "=1+1", "~"]


@pytest.mark.parametrize("write", [as_csv, as_yaml])
def test_files_are_read_as_they_were_written(write: Any, tmp_path: Path):
    rows = [Override(uid, "drop", f"note: {uid}\nline") for uid in AWKWARD]
    path = tmp_path / ("o.csv" if write is as_csv else "o.yaml")
    path.write_text(write(rows))
    assert read(path).rows == tuple(sorted(rows, key=lambda row: row.uid))
    assert read(path).fingerprint() == read(path).fingerprint()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("o.csv", "uid,acton\na,drop\n", "unknown key 'acton'; did you mean 'action'"),
        ("o.csv", "uid\na\n", "'action' is missing"),
        ("o.csv", "uid,action\na,keep\n", "line 2: unknown action 'keep'"),
        ("o.csv", "uid,action\na,drop\na,drop\n", "line 3: 'a' is overridden twice"),
        ("o.csv", "uid,action\n,drop\n", "line 2: the uid is empty"),
        ("o.csv", "uid,action\na,drop,x,y\n", "line 2: too many fields"),
        ("o.yaml", "uid: a", "write a list"),
        ("o.yaml", "- a", "entry 1: give uid and action"),
        ("o.yaml", "- {uid: [a], action: drop}", "uid is a text"),
        ("o.yaml", "- {uid: a, action: rescu}", "did you mean 'rescue'"),
        ("o.yaml", "- {uid: a", "not valid YAML"),
        ("o.txt", "", r"give a \.csv or a \.yaml"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(
    name: str, text: str, message: str, tmp_path: Path
):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        read(tmp_path / name)


def test_a_missing_file_stops_the_run_before_any_work(
    vector_recipe: Any, pool: Path, tmp_path: Path
):
    recipe = vector_recipe(pool, tmp_path / "run", STEPS, overrides="nowhere.csv")
    with pytest.raises(ConfigError, match=r"nowhere\.csv cannot be read"):
        winnow.run(recipe)
    assert not (tmp_path / "run").exists()
    assert yaml.safe_load(as_yaml([Override("a", "drop")])) == [
        {"uid": "a", "action": "drop"}
    ]


def repeats(run: Any) -> dict[str, int]:
    rows = pq.read_table(run.path / "repeats").to_pylist()
    return {row["uid"]: row["count"] for row in rows}


def test_rows_that_soft_cap_did_not_draw_count_once(
    winnow: Winnow, pool: Path, folder: Path
):
    steps = ["embed", "score", "soft_cap", "apply"]
    settings = {"score": {"keep_fraction": 1.0}, "soft_cap": {"total_fraction": 0.5}}
    plain = winnow(pool, folder / "drawn", steps, **settings)
    undrawn = dropped_at(plain, "soft_cap")[:3]
    drawn = sorted(plain.output()["uid"].to_pylist())[0]
    path = folder / "drawn.csv"
    rows = [*(Override(uid, "rescue") for uid in undrawn), Override(drawn, "drop")]
    path.write_text(as_csv(rows))
    run = winnow(pool, folder / "redrawn", steps, overrides=str(path), **settings)
    before = dict(
        zip(*pq.read_table(plain.path / "repeats").to_pydict().values(), strict=False)
    )
    after = dict(
        zip(*pq.read_table(run.path / "repeats").to_pydict().values(), strict=False)
    )
    del before[drawn]
    assert after == before | dict.fromkeys(undrawn, 1)
    subset = np.load(run.path / "subset.npy")
    assert len(subset) == sum(after.values())
    assert set(run.output()["uid"].to_pylist()) == set(after)
