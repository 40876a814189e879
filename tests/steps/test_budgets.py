"""Every selection keeps exactly its budget, and the rows that it says it keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from winnow.algorithms.prune.complexity import allocate_budget, inter_distances
from winnow.core.errors import ConfigError

Winnow = Callable[..., Any]
Write = Callable[..., Path]

SELECTIONS = ["prototypes", "complexity", "uniform", "random", "score"]
BEFORE = ["embed", "cluster"]


def select(winnow: Winnow, pool: Path, out: Path, step: str, **settings: Any) -> Any:
    given = {"keep_fraction": None, "keep_count": None, **settings}
    return winnow(pool, out, [*BEFORE, step], **{step: given})


@pytest.mark.parametrize("step", SELECTIONS)
@pytest.mark.parametrize(
    ("budget", "kept"),
    [
        ({"keep_fraction": 0.15}, 30),
        ({"keep_fraction": 0.29}, 58),
        ({"keep_fraction": 1 / 3}, 66),
        ({"keep_count": 199}, 199),
        ({"keep_count": 1}, 1),
        ({"keep_count": 0}, 0),
        ({"keep_fraction": 0.0}, 0),
        ({"keep_fraction": 1.0}, 200),
        ({"keep_count": 200}, 200),
    ],
    ids=str,
)
def test_the_budget_is_exact(
    winnow: Winnow,
    planted_pool: Path,
    tmp_path: Path,
    step: str,
    budget: dict,
    kept: int,
):
    run = select(winnow, planted_pool, tmp_path / "r", step, **budget)
    assert len(run.kept(step)) == run.result.kept == kept
    assert len(run.ledger(step)) == 200


@pytest.mark.parametrize("step", SELECTIONS)
def test_more_than_there_is_is_refused(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, step: str
):
    with pytest.raises(ConfigError, match=rf"{step}.*201.*200"):
        select(winnow, planted_pool, tmp_path / "r", step, keep_count=201)


@pytest.mark.parametrize("step", SELECTIONS)
def test_fractions_of_the_pool_and_of_what_enters(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, step: str
):
    steps = ["random", *BEFORE, step]
    before = {"keep_count": 150}
    if step == "random":
        steps, step = ["random", *BEFORE, "random"], "random_2"
    counts = {}
    for of in ("entering", "pool"):
        settings = {"random": {**before, "keep_fraction": None}}
        settings[step] = {"keep_fraction": 0.5, "keep_count": None, "of": of}
        run = winnow(planted_pool, tmp_path / of, steps, **settings)
        counts[of] = run.result.kept
    assert counts == {"entering": 75, "pool": 100}


@pytest.mark.parametrize("step", SELECTIONS)
def test_a_fraction_of_the_pool_that_is_no_longer_there_is_refused(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, step: str
):
    steps = ["rules", *BEFORE, step]
    with pytest.raises(ConfigError, match=rf"{step}: the budget is 198 rows, but"):
        winnow(
            planted_pool,
            tmp_path / "r",
            steps,
            **{step: {"keep_fraction": 0.99, "of": "pool"}},
        )


def members(run: Any) -> dict[int, list[tuple[float, str]]]:
    by_cluster: dict[int, list[tuple[float, str]]] = {}
    for row in run.artifact("cluster", "clusters").to_pylist():
        by_cluster.setdefault(row["cluster"], []).append((row["distance"], row["uid"]))
    return by_cluster


@pytest.mark.parametrize("keep", ["hard", "easy"])
@pytest.mark.parametrize(
    ("balance", "of"), [(0.0, "size"), (0.5, "size"), (0.5, "equal"), (1.0, "equal")]
)
def test_prototypes_keep_the_far_or_near_and_each_clusters_floor(
    winnow: Winnow,
    planted_pool: Path,
    tmp_path: Path,
    keep: str,
    balance: float,
    of: str,
):
    run = select(
        winnow,
        planted_pool,
        tmp_path / "r",
        "prototypes",
        keep_count=60,
        keep=keep,
        balance={"share": balance, "of": of},
    )
    sign = -1 if keep == "hard" else 1
    clusters = members(run)
    total = sum(len(rows) for rows in clusters.values())
    parts = {
        c: len(rows) / total if of == "size" else 1 / len(clusters)
        for c, rows in clusters.items()
    }
    floors = {
        c: min(len(rows), int(balance * 60 * parts[c])) for c, rows in clusters.items()
    }
    reserved = set()
    for cluster, rows in clusters.items():
        ranked = sorted(rows, key=lambda r: (sign * r[0], r[1]))
        reserved |= {uid for _, uid in ranked[: floors[cluster]]}
    others = sorted(
        (sign * d, u)
        for rows in clusters.values()
        for d, u in rows
        if u not in reserved
    )
    expected = reserved | {uid for _, uid in others[: 60 - len(reserved)]}
    assert run.kept("prototypes") == expected
    assert all(
        row["reason"] == "prototype_balance"
        for uid, row in run.ledger("prototypes").items()
        if uid in reserved
    )


@pytest.mark.parametrize("keep", ["hard", "easy", "random"])
def test_complexity_keeps_each_clusters_quota(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, keep: str
):
    run = select(
        winnow,
        planted_pool,
        tmp_path / "r",
        "complexity",
        keep_count=70,
        keep=keep,
        neighbours=2,
        temperature=0.3,
    )
    clusters = members(run)
    ids = sorted(clusters)
    sizes = np.array([len(clusters[c]) for c in ids])
    centroids = np.load(run.path / "artifacts" / "cluster" / "centroids.npy")
    intra = [
        np.mean([d for d, _ in sorted(clusters[c], key=lambda m: m[1])]) for c in ids
    ]
    complexity = np.array(intra) * inter_distances(centroids[ids], 2)
    quotas = allocate_budget(sizes, complexity, 70, temperature=0.3)
    kept = run.kept("complexity")
    for cluster, quota in zip(ids, quotas, strict=True):
        rows = clusters[cluster]
        mine = {uid for _, uid in rows} & kept
        assert len(mine) == quota
        if keep != "random":
            sign = -1 if keep == "hard" else 1
            ranked = sorted(rows, key=lambda r: (sign * r[0], r[1]))
            assert mine == {uid for _, uid in ranked[:quota]}
    table = run.artifact("complexity", "complexity").to_pydict()
    assert table["quota"] == quotas.tolist()
    np.testing.assert_allclose(table["complexity"], complexity, rtol=1e-12)


def test_a_cluster_whose_rows_have_gone_still_counts_as_a_neighbour(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    everyone = select(winnow, planted_pool, tmp_path / "r", "complexity", keep_count=9)
    clusters = members(everyone)
    gone = max(clusters)
    names = ", ".join(f"'{uid}'" for _, uid in clusters[gone])
    run = winnow(
        planted_pool,
        tmp_path / "s",
        [*BEFORE, "where", "complexity"],
        where={"condition": f"uid NOT IN ({names})"},
        complexity={"keep_count": 9, "keep_fraction": None, "neighbours": 2},
    )
    table = run.artifact("complexity", "complexity").to_pydict()
    assert sorted(table["cluster"]) == sorted(clusters.keys() - {gone})
    centroids = np.load(run.path / "artifacts" / "cluster" / "centroids.npy")
    told = dict(zip(table["cluster"], table["d_inter"], strict=True))
    means = inter_distances(centroids, 2)
    assert told == {cluster: means[cluster] for cluster in told}
    left = np.array(sorted(told))
    assert (means[left] < inter_distances(centroids[left], 2)).any()


def test_more_neighbours_than_clusters_say_so(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    with pytest.raises(ConfigError, match=r"complexity: .*5"):
        select(
            winnow,
            planted_pool,
            tmp_path / "r",
            "complexity",
            keep_count=9,
            neighbours=5,
        )


def test_uniform_takes_alike_from_every_cluster(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    run = select(winnow, planted_pool, tmp_path / "r", "uniform", keep_count=50)
    kept = run.kept("uniform")
    sizes = [len(rows) for rows in members(run).values()]
    counts = [sum(uid in kept for _, uid in rows) for rows in members(run).values()]
    assert sum(counts) == 50
    fair = [count for count, size in zip(counts, sizes, strict=True) if count < size]
    assert max(fair) - min(fair) <= 1


def test_uniform_takes_the_same_share_of_every_cluster(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    how = {"keep_count": 50, "equal": "share"}
    run = select(winnow, planted_pool, tmp_path / "r", "uniform", **how)
    kept = run.kept("uniform")
    rows = members(run).values()
    total = sum(map(len, rows))
    counts = [sum(uid in kept for _, uid in each) for each in rows]
    assert sum(counts) == 50
    for count, each in zip(counts, rows, strict=True):
        assert abs(count - 50 * len(each) / total) < 1


@pytest.mark.parametrize("step", ["prototypes", "complexity"])
def test_a_balance_that_is_a_number_is_told_what_to_write(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, step: str
):
    with pytest.raises(ConfigError, match=r"balance.*\{share: 0.5, of: size\}"):
        select(winnow, planted_pool, tmp_path / "r", step, keep_count=5, balance=0.5)


@pytest.mark.parametrize("step", ["random", "uniform"])
def test_controls_are_drawn_by_the_seed(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, step: str
):
    one, same, other = (
        winnow(planted_pool, tmp_path / f"{i}", [*BEFORE, step], seed=seed).kept(step)
        for i, seed in enumerate((3, 3, 4))
    )
    assert one == same != other


def test_a_larger_random_budget_holds_the_smaller_one(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    few, many = (
        select(winnow, planted_pool, tmp_path / f"{n}", "random", keep_count=n)
        for n in (40, 90)
    )
    assert few.kept("random") < many.kept("random")


def cosines(run: Any) -> dict[str, float]:
    by_uid = {}
    for row in run.artifact("embed", "vectors").to_pylist():
        image, text = (
            np.asarray(row[f"{m}_vector"], np.float64) for m in ("image", "text")
        )
        norm = np.linalg.norm(image) * np.linalg.norm(text)
        by_uid[row["uid"]] = float(image @ text / norm)
    return by_uid


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"keep_count": 50}, lambda s: 50),
        ({"threshold": 0.5}, lambda s: sum(v >= 0.5 for v in s)),
        ({"keep_count": 50, "threshold": 0.9}, lambda s: sum(v >= 0.9 for v in s)),
        ({"keep_count": 20, "threshold": 0.1}, lambda s: 20),
    ],
    ids=["budget", "threshold", "threshold binds", "budget binds"],
)
def test_score_keeps_the_best_pairs_by_budget_threshold_or_both(
    winnow: Winnow,
    planted_pool: Path,
    tmp_path: Path,
    settings: dict[str, Any],
    expected: Callable[[list[float]], int],
):
    run = select(winnow, planted_pool, tmp_path / "r", "score", **settings)
    scores = cosines(run)
    count = expected(list(scores.values()))
    assert 0 < count < 200
    ranked = sorted(scores, key=lambda uid: (-scores[uid], uid))
    assert run.kept("score") == set(ranked[:count])
    for uid, row in run.ledger("score").items():
        assert row["score"] == pytest.approx(scores[uid], abs=1e-9)
        assert row["keep"] == (row["score"] >= row["threshold"])


def test_ties_at_the_cut_go_by_uid(winnow: Winnow, write_shards: Write, tmp_path: Path):
    rows = 10
    table = pa.table(
        {
            "uid": [f"u{i}" for i in np.random.default_rng(1).permutation(rows)],
            "iv": [[1.0, 0.0]] * rows,
            "tv": [[1.0, 1.0]] * rows,
        }
    )
    pool = write_shards(tmp_path / "p", table, 3)
    run = select(winnow, pool, tmp_path / "r", "score", keep_fraction=0.3)
    assert run.kept("score") == {"u0", "u1", "u2"}


def test_neg_clip_loss_of_the_golden_pairs(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    # Cosines [[.3, .1], [.1, .3]]: two images of an orthogonal basis.
    rest = (1 - 0.3**2 - 0.1**2) ** 0.5
    table = pa.table(
        {
            "uid": ["a", "b"],
            "iv": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
            "tv": [[0.3, 0.1, rest], [0.1, 0.3, rest]],
        }
    )
    pool = write_shards(tmp_path / "p", table)
    settings = {"method": "neg_clip_loss", "temperature": 0.1, "keep_count": 1}
    run = select(winnow, pool, tmp_path / "r", "score", **settings)
    scores = [row["score"] for row in run.ledger("score").values()]
    # float16 vectors: three digits of the golden −.0126928.
    assert scores == pytest.approx([-0.0126928] * 2, abs=2e-4)


def test_neg_clip_loss_in_several_batches_is_exact_and_repeatable(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    settings = {"method": "neg_clip_loss", "batch": 40, "repeats": 3, "keep_count": 77}
    one, same = (
        select(winnow, planted_pool, tmp_path / f"{i}", "score", **settings)
        for i in range(2)
    )
    assert len(one.kept("score")) == 77
    assert one.ledger_table("score").equals(same.ledger_table("score"))
