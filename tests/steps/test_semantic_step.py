"""Semantic duplicates in a run: every dropped row has a survivor to show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Winnow = Callable[..., Any]
Write = Callable[..., Path]
STEPS = ["embed", "cluster", "semantic"]


def unit_rows(run: Any) -> dict[str, np.ndarray]:
    rows = run.artifact("embed", "vectors").to_pylist()
    vectors = {r["uid"]: np.asarray(r["image_vector"], np.float64) for r in rows}
    return {uid: v / np.linalg.norm(v) for uid, v in vectors.items()}


def oracle(run: Any, epsilon: float, semantics: str, rule: str, scope: str) -> set[str]:
    """The uids that stay, pair by pair in float64."""
    vectors = unit_rows(run)
    clusters: dict[int, list[tuple[float, str]]] = {}
    for row in run.artifact("cluster", "clusters").to_pylist():
        group = row["cluster"] if scope == "cluster" else 0
        clusters.setdefault(group, []).append((row["distance"], row["uid"]))
    sign = -1 if rule == "hard" else 1
    kept: set[str] = set()
    for members in clusters.values():
        order = [u for _, u in sorted(members, key=lambda m: (sign * m[0], m[1]))]
        near = {
            (a, b)
            for i, b in enumerate(order)
            for a in order[:i]
            if vectors[a] @ vectors[b] > 1 - epsilon
        }
        part = {uid: uid for uid in order}
        for i, uid in enumerate(order):
            earlier = [a for a in order[:i] if (a, uid) in near]
            if semantics == "greedy":
                stays = not any(a in kept for a in earlier)
            elif semantics == "reference":
                stays = not earlier
            else:
                for a in earlier:
                    old, new = sorted((part[a], part[uid]), key=order.index)[::-1]
                    part = {u: new if p == old else p for u, p in part.items()}
                continue
            if stays:
                kept.add(uid)
        if semantics == "components":
            kept |= set(part.values())
    return kept


@pytest.mark.parametrize("scope", ["pool", "cluster"])
@pytest.mark.parametrize("rule", ["hard", "easy"])
@pytest.mark.parametrize("semantics", ["greedy", "reference", "components"])
def test_decides_as_the_pairwise_oracle(
    winnow: Winnow,
    planted_pool: Path,
    tmp_path: Path,
    semantics: str,
    rule: str,
    scope: str,
):
    settings = {"epsilon": 0.03, "semantics": semantics, "order": rule, "scope": scope}
    run = winnow(planted_pool, tmp_path / "r", STEPS, semantic=settings)
    kept = run.kept("semantic")
    assert kept == oracle(run, 0.03, semantics, rule, scope)
    assert 60 < len(kept) < 150


@pytest.mark.parametrize("semantics", ["greedy", "reference", "components"])
def test_every_kept_twin_is_kept_and_similar(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, semantics: str
):
    settings = {"epsilon": 0.03, "semantics": semantics}
    run = winnow(planted_pool, tmp_path / "r", STEPS, semantic=settings)
    vectors, ledger = unit_rows(run), run.ledger("semantic")
    dropped = {u: row for u, row in ledger.items() if not row["keep"]}
    for uid, row in dropped.items():
        assert row["threshold"] == 1 - 0.03
        twin = row["kept_twin"]
        if twin is None:
            assert semantics == "reference"
            assert row["reason"] == "semantic_duplicate_of_dropped"
            continue
        assert row["reason"] == "semantic_duplicate"
        assert ledger[twin]["keep"]
        assert row["score"] == pytest.approx(vectors[uid] @ vectors[twin], abs=1e-6)
        if semantics != "components":
            assert row["score"] > 1 - 0.03
    assert all(row["kept_twin"] is None for u, row in ledger.items() if row["keep"])
    if semantics != "reference":
        assert all(row["kept_twin"] for row in dropped.values())


def test_another_epsilon_reuses_the_neighbours_and_equals_a_fresh_run(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import winnow.steps.semantic as step

    searches = []
    original = step.best_earlier
    monkeypatch.setattr(
        step, "best_earlier", lambda v: searches.append(len(v)) or original(v)
    )
    out = tmp_path / "changed"
    winnow(planted_pool, out, STEPS, semantic={"epsilon": 0.01})
    assert sum(searches) == 200
    for epsilon, semantics in ((0.05, "greedy"), (0.02, "components"), (0.0, "greedy")):
        settings = {"epsilon": epsilon, "semantics": semantics}
        searches.clear()
        changed = winnow(planted_pool, out, STEPS, semantic=settings)
        assert changed.result.ran == ["semantic"]
        assert searches == []
        fresh = winnow(planted_pool, tmp_path / f"{epsilon}", STEPS, semantic=settings)
        assert sum(searches) == 200
        assert changed.ledger_table("semantic").equals(fresh.ledger_table("semantic"))
        assert changed.artifact("semantic", "neighbours").equals(
            fresh.artifact("semantic", "neighbours")
        )


def test_another_order_does_not_reuse_them(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    winnow(planted_pool, tmp_path / "a", STEPS, semantic={"order": "hard"})
    changed = winnow(planted_pool, tmp_path / "a", STEPS, semantic={"order": "easy"})
    fresh = winnow(planted_pool, tmp_path / "b", STEPS, semantic={"order": "easy"})
    assert changed.ledger_table("semantic").equals(fresh.ledger_table("semantic"))


def test_other_rows_do_not_reuse_them(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    steps = ["random", *STEPS]
    winnow(planted_pool, tmp_path / "a", steps, random={"keep_fraction": 0.9})
    half = {"random": {"keep_fraction": 0.5}}
    changed = winnow(planted_pool, tmp_path / "a", steps, **half)
    fresh = winnow(planted_pool, tmp_path / "b", steps, **half)
    assert changed.ledger_table("semantic").equals(fresh.ledger_table("semantic"))


def test_random_order_follows_the_seed(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    how = {"semantic": {"order": "random", "epsilon": 0.03}}
    runs = [
        winnow(planted_pool, tmp_path / f"{i}", STEPS, seed=seed, **how).kept(
            "semantic"
        )
        for i, seed in enumerate((1, 1, 2))
    ]
    assert runs[0] == runs[1] != runs[2]


def test_identical_vectors_keep_one_row(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    table = pa.table(
        {
            "uid": [f"u{i}" for i in range(30)],
            "iv": [[1.0, 2.0, 3.0]] * 30,
            "tv": [[1.0, 2.0, 3.0]] * 30,
        }
    )
    pool = write_shards(tmp_path / "p", table)
    run = winnow(pool, tmp_path / "r", STEPS, cluster={"k": 3})
    kept = run.kept("semantic")
    assert kept == {"u0"}
    assert {r["kept_twin"] for u, r in run.ledger("semantic").items() if u != "u0"} == {
        "u0"
    }


def test_a_score_says_what_decided_where_the_nearest_had_gone(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    """A score is above the threshold for dropped rows and for them alone."""
    how = {"epsilon": 0.2, "semantics": "greedy", "scope": "cluster"}
    run = winnow(planted_pool, tmp_path / "r", STEPS, semantic=how)
    vectors, ledger = unit_rows(run), run.ledger("semantic")
    earlier = {r["uid"]: r for r in run.artifact("semantic", "neighbours").to_pylist()}
    clusters: dict[int, list[tuple[float, str]]] = {}
    for row in run.artifact("cluster", "clusters").to_pylist():
        clusters.setdefault(row["cluster"], []).append((-row["distance"], row["uid"]))
    spared = 0
    for members in clusters.values():
        order = [uid for _, uid in sorted(members)]
        for place, uid in enumerate(order):
            row = ledger[uid]
            above = row["score"] is not None and row["score"] > row["threshold"]
            assert above == (not row["keep"])
            if row["reason"] != "unique_among_kept":
                continue
            spared += 1
            assert earlier[uid]["similarity"] > row["threshold"]
            assert not ledger[earlier[uid]["twin"]]["keep"]
            kept = [u for u in order[:place] if ledger[u]["keep"]]
            best = max(float(vectors[uid] @ vectors[u]) for u in kept)
            assert row["score"] == pytest.approx(best, abs=1e-6)
    assert spared


@pytest.mark.parametrize("scope", ["pool", "cluster"])
def test_a_keeper_says_which_of_near_rows_stays(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, scope: str
):
    """Greedy over all pairs, the widest picture first, ties by uid."""
    settings = {"keeper": ["width desc"], "epsilon": 0.05, "scope": scope}
    run = winnow(planted_pool, tmp_path / "r", STEPS, semantic=settings)
    vectors, kept = unit_rows(run), []
    clusters = run.artifact("cluster", "clusters").to_pylist()
    cluster = {row["uid"]: row["cluster"] for row in clusters}
    pool = pq.read_table(planted_pool, columns=["uid", "width"]).to_pylist()
    for row in sorted(pool, key=lambda row: (-row["width"], row["uid"])):
        uid = row["uid"]
        near = (
            scope == "pool" or cluster[uid] == cluster[other]
            for other in kept
            if vectors[uid] @ vectors[other] > 0.95
        )
        if not any(near):
            kept.append(uid)
    assert run.kept("semantic") == set(kept)
    assert len(kept) < len(pool)
