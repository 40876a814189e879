"""Balance by concept, trees of clusters, greedy orders and outliers, as steps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from winnow import api
from winnow.core.errors import ConfigError, InputError
from winnow.flows.what_if import tried, what_if
from winnow.reports.explain import explain
from winnow.reports.run_view import RunView
from winnow.steps import order

Winnow = Callable[..., Any]
CONCEPTS = ["cat", "Red  cat", "dog house", "moon", "o", "zebra"]


@pytest.fixture(scope="module")
def captions(planted_pool: Path) -> dict[str, str]:
    table = pq.read_table(planted_pool, columns=["uid", "text"])
    return dict(zip(table["uid"].to_pylist(), table["text"].to_pylist(), strict=True))


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("concepts") / "concepts.txt"
    file.write_text("\n".join([*CONCEPTS, "", "CAT", "?!"]) + "\n")
    return str(file)


def matched(captions: dict[str, str], whole: bool) -> dict[str, set[str]]:
    """Return the rows of each concept, by searching each caption for each."""
    rows: dict[str, set[str]] = {}
    for concept in (" ".join(c.lower().split()) for c in CONCEPTS):
        edge = r"\b" if whole else ""
        rows[concept] = {
            uid
            for uid, caption in captions.items()
            if re.search(edge + re.escape(concept) + edge, caption)
        }
    return {name: found for name, found in rows.items() if found}


@pytest.mark.parametrize("whole", [True, False])
def test_each_concept_keeps_exactly_its_limit(
    winnow: Winnow,
    planted_pool: Path,
    tmp_path: Path,
    captions: dict[str, str],
    listed: str,
    whole: bool,
):
    rows = matched(captions, whole)
    given = {"concepts": listed, "whole_words": whole}
    kept: dict[int, set[str]] = {}
    for limit in (3, 10, 1000):
        run = winnow(
            planted_pool,
            tmp_path / str(limit),
            ["balance"],
            balance={**given, "limit": limit},
        )
        kept[limit] = run.kept("balance")
        assert all(len(kept[limit] & r) >= min(limit, len(r)) for r in rows.values())
        # No more than each concept's own: some rows are kept by several.
        assert len(kept[limit]) <= sum(min(limit, len(r)) for r in rows.values())
        concepts = run.artifact("balance", "concepts")
        counted = dict(
            zip(concepts["name"].to_pylist(), concepts["rows"].to_pylist(), strict=True)
        )
        assert counted == {name: len(found) for name, found in rows.items()}
    assert kept[3] < kept[10] < kept[1000] == set().union(*rows.values())
    unmatched = {
        uid for uid, r in run.ledger("balance").items() if r["reason"] == "no_concept"
    }
    assert unmatched == set(captions) - kept[1000]


def test_the_rows_of_a_concept_are_those_of_its_first_places(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, listed: str
):
    """With one concept to a row, places are 1 to n, and a budget is a limit."""
    steps = ["embed", "cluster", "balance"]
    whole = winnow(planted_pool, tmp_path / "a", steps, balance={"limit": 1000})
    clusters = whole.artifact("cluster", "clusters")
    sizes = Counter(clusters["cluster"].to_pylist())
    cluster = dict(
        zip(clusters["uid"].to_pylist(), clusters["cluster"].to_pylist(), strict=True)
    )
    places: dict[int, list[int]] = {}
    for uid, row in whole.ledger("balance").items():
        places.setdefault(cluster[uid], []).append(int(np.ceil(row["score"])))
    assert all(
        sorted(places[name]) == list(range(1, size + 1)) for name, size in sizes.items()
    )
    run = winnow(planted_pool, tmp_path / "b", steps, balance={"limit": 12})
    assert Counter(cluster[uid] for uid in run.kept("balance")) == {
        name: min(12, size) for name, size in sizes.items()
    }
    budget = sum(min(12, size) for size in sizes.values())
    again = what_if(
        tmp_path / "b",
        ["balance.limit=null", f"balance.keep_count={budget}"],
        api.make_engine,
    )
    assert again["kept"]["only_a"] == again["kept"]["only_b"] == 0
    dropped = next(u for u, r in run.ledger("balance").items() if not r["keep"])
    told = explain(RunView(tmp_path / "b"), dropped)["steps"][-1]["would_be_kept"]
    limit = int(re.match(r"balance.limit at least (\d+); it is row \1 of", told)[1])
    assert dropped not in run.kept("balance")
    more = winnow(planted_pool, tmp_path / "c", steps, balance={"limit": limit})
    less = winnow(planted_pool, tmp_path / "d", steps, balance={"limit": limit - 1})
    assert dropped in more.kept("balance") - less.kept("balance")


def test_ngrams_are_those_that_many_captions_have(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, captions: dict[str, str]
):
    run = winnow(
        planted_pool,
        tmp_path / "r",
        ["balance"],
        balance={"concepts": "ngrams", "limit": 5, "min_rows": 8},
    )
    counts: Counter[str] = Counter()
    for caption in captions.values():
        words = caption.split()
        pairs = {" ".join(p) for p in pairwise(words)}
        counts.update({*words, *pairs})
    table = run.artifact("balance", "concepts")
    told = dict(zip(table["name"].to_pylist(), table["rows"].to_pylist(), strict=True))
    assert told == {name: n for name, n in counts.items() if n >= 8}
    assert any(" " in name for name in told)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"concepts": "nowhere.txt", "limit": 2}, InputError, "no readable file"),
        ({"concepts": "ngrams", "limit": 2, "min_rows": 999}, ConfigError, "no n-gram"),
        ({"concepts": "ngrams"}, ConfigError, "limit"),
        ({"concepts": "clusters", "limit": 2}, ConfigError, "cluster"),
    ],
)
def test_concepts_that_are_none_say_why(
    winnow: Winnow,
    planted_pool: Path,
    tmp_path: Path,
    given: dict[str, Any],
    error: type[Exception],
    says: str,
):
    with pytest.raises(error, match=says):
        winnow(planted_pool, tmp_path / "r", ["balance"], balance=given)


def test_a_hierarchy_evens_out_what_clusters_do_not(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    steps = ["embed", "cluster", "hierarchy"]
    given = {"levels": [4, 2], "keep_count": 60}
    run = winnow(
        planted_pool, tmp_path / "r", steps, cluster={"k": 12}, hierarchy=given
    )
    assert len(run.kept("hierarchy")) == 60
    facts = next(m for m in RunView(run.path).markers if m.step == "hierarchy").facts
    assert facts["levels"][1] == {"clusters": 2, "least": 30, "most": 30}
    told = RunView(run.path)
    dropped = [u for u, row in run.ledger("hierarchy").items() if not row["keep"]]
    words = explain(told, min(dropped))["steps"][-1]["would_be_kept"]
    least = int(re.match(r"a budget of (\d+) rows", words)[1])
    for budget, stays in ((least, True), (least - 1, False)):
        change = [f"hierarchy.keep_count={budget}"]
        with tried(run.path, change, api.make_engine) as other:
            assert (
                explain(RunView(other.path), min(dropped))["fate"] == "kept"
            ) == stays
    with pytest.raises(ConfigError, match="levels: 12 clusters of 12"):
        winnow(
            planted_pool,
            tmp_path / "s",
            steps,
            cluster={"k": 12},
            hierarchy={**given, "levels": [12]},
        )
    with pytest.raises(ConfigError, match="fewer clusters"):
        winnow(
            planted_pool, tmp_path / "t", steps, hierarchy={**given, "levels": [2, 4]}
        )


@pytest.mark.parametrize("by", ["facility_location", "farthest_first"])
@pytest.mark.parametrize("scope", ["pool", "cluster"])
def test_every_budget_is_a_beginning_of_the_order(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, by: str, scope: str
):
    steps = ["embed", "cluster", "order"]
    given = {"by": by, "scope": scope}
    runs = {}
    for count in (10, 60):
        runs[count] = winnow(
            planted_pool,
            tmp_path / str(count),
            steps,
            order={**given, "keep_count": count},
        )
    assert runs[10].kept("order") < runs[60].kept("order")
    other = what_if(tmp_path / "10", ["order.keep_count=60"], api.make_engine)
    assert other["kept"]["b"] == 60
    rows = runs[60].artifact("embed", "vectors").sort_by("uid").to_pylist()
    clusters = runs[60].artifact("cluster", "clusters").sort_by("uid")["cluster"]
    vectors = np.array([r["image_vector"] for r in rows], float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    if scope == "cluster":
        labels = clusters.to_numpy()
        cosines[labels[:, None] != labels[None]] = -1.0 if by != FACILITY else 0.0
    names = [r["uid"] for r in rows]
    chosen = [names.index(uid) for uid in runs[10].kept("order")]
    if by == FACILITY:
        # The objective at 10 rows, which is the sum of what each of them added.
        ledger = runs[10].ledger("order")
        value = sum(ledger[names[row]]["score"] for row in chosen)
        covered = np.maximum(cosines[chosen].max(axis=0), 0.0).sum()
        assert value == pytest.approx(covered, abs=0.02)
        replaced = [
            np.maximum(cosines[[*chosen, row]].max(axis=0), 0.0).sum() - covered
            for row in range(len(names))
        ]
        worst = min(ledger[names[row]]["score"] for row in chosen)
        assert max(replaced) <= worst + 0.02
    else:
        radius = 1.0 - cosines[chosen].max(axis=0)
        least = min(runs[10].ledger("order")[names[row]]["score"] for row in chosen)
        assert radius.max() <= least + 1e-3


FACILITY = "facility_location"


@pytest.mark.parametrize("scope", ["auto", "cluster"])
def test_outliers_are_those_of_the_least_mean_cosine(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, scope: str
):
    run = winnow(
        planted_pool,
        tmp_path / "r",
        ["embed", "cluster", "outliers"],
        outliers={"k": 4, "scope": scope, "keep_count": 180},
    )
    rows = run.artifact("embed", "vectors").sort_by("uid").to_pylist()
    labels = run.artifact("cluster", "clusters").sort_by("uid")["cluster"].to_numpy()
    vectors = np.array([r["image_vector"] for r in rows], float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)
    if scope == "cluster":
        cosines[labels[:, None] != labels[None]] = -np.inf
    expected = np.sort(cosines, axis=1)[:, -4:].mean(axis=1)
    ledger = run.ledger("outliers")
    scores = np.array([ledger[r["uid"]]["score"] for r in rows], float)
    np.testing.assert_allclose(scores, expected, atol=2e-4)
    dropped = {uid for uid, row in ledger.items() if row["reason"] == "outlier"}
    lowest = sorted(ledger, key=lambda uid: (ledger[uid]["score"], uid))[:20]
    assert dropped == set(lowest)
    tried = what_if(tmp_path / "r", ["outliers.keep_count=100"], api.make_engine)
    assert (tried["kept"]["b"], tried["ran"]) == (100, ["outliers"])
    story = explain(RunView(tmp_path / "r"), lowest[0])["steps"]
    assert any(
        "a budget of 200 rows" in str(entry.get("would_be_kept")) for entry in story
    )


def test_a_large_pool_is_ordered_by_clusters(
    winnow: Winnow,
    planted_pool: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(order, "_WHOLE_ROWS", 100)
    given = {"scope": "pool", "keep_count": 5}
    with pytest.raises(ConfigError, match="above 100 put a step cluster before it"):
        winnow(planted_pool, tmp_path / "r", ["embed", "order"], order=given)
