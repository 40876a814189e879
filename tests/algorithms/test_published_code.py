"""Each method beside its published code, run on small inputs.

`tests/golden/methods.json` holds what that code gave on `tests/published_inputs.py`,
with its repository, commit, functions and what was changed to run it; the numbers are
float32's. Where ours differs on purpose, the difference itself is asserted, and stands
on the method's page under "Where it differs".
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from winnow.algorithms.cosine import cosines
from winnow.algorithms.dedup import semantic
from winnow.algorithms.filter.alignment import cosine, neg_clip_loss
from winnow.algorithms.filter.norm_sim import (
    nearest_target,
    norm_sim_2,
    norm_sim_inf,
    target_gram,
    variance_alignment,
)
from winnow.algorithms.filter.soft_cap import UNLIMITED, arrivals, gumbel
from winnow.algorithms.prune import complexity, prototypes
from winnow.algorithms.prune.budget import budget_count
from winnow.algorithms.prune.ranking import order, top_mask
from winnow.lake.kernels.copies import Plan
from winnow.lake.kernels.facility_location import retain
from winnow.steps.vas_d import rows_left, score_round, sum_products

from tests import published_inputs as inputs

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/methods.json").read_text())
#: What products and sums in float32 lose.
FLOAT32 = 1e-6
CLUSTERS = range(len(inputs.SIZES))


@cache
def distances() -> Any:
    return 1 - cosines(inputs.images(), inputs.centroids()[inputs.nearest()])


def members(cluster: int) -> Any:
    return np.flatnonzero(inputs.nearest() == cluster)


def farthest_first(cluster: int) -> Any:
    rows = members(cluster)
    uids = [inputs.uids()[row] for row in rows]
    return rows[order(distances()[rows], uids, descending=True)]


def test_rows_of_a_cluster_are_ranked_by_distance_as_published():
    """SemDeDup, prototypes and DBP share this ranking; equal ones go by uid in both."""
    golden = GOLDEN["sort"]
    assert [farthest_first(c).tolist() for c in CLUSTERS] == golden["order"]
    for cluster, published in enumerate(golden["distances"]):
        ours = distances()[farthest_first(cluster)]
        np.testing.assert_allclose(ours, published, atol=FLOAT32)


# Sorscher et al. published scores of ImageNet, no code: golden from the paper's rule.
@pytest.mark.parametrize(
    "case", GOLDEN["prototypes"]["cases"], ids=lambda c: f"{c['keep']}-{c['fraction']}"
)
def test_prototypes_keep_by_the_papers_rule(case: dict[str, Any]):
    kept = prototypes.select(
        distances(),
        inputs.nearest(),
        inputs.uids(),
        budget_count(inputs.ROWS, fraction=case["fraction"]),
        keep=case["keep"],
        balance=0.5,
        of="size",
    )
    assert np.flatnonzero(kept).tolist() == case["kept"]


def test_cluster_complexity_is_dbps():
    golden = GOLDEN["dbp"]
    inter = complexity.inter_distances(inputs.centroids(), 5)
    np.testing.assert_allclose(inter, golden["d_inter"], atol=FLOAT32)
    intra = [distances()[members(c)].mean() for c in CLUSTERS]
    np.testing.assert_allclose(intra, golden["d_intra"], atol=FLOAT32)


def quotas(case: dict[str, Any], sizes: Any, complexities: Any) -> tuple[Any, Any]:
    settings = {"temperature": case["temperature"], "balance": case["balance"]}
    given = (sizes, complexities, case["budget"])
    return (
        complexity.continuous_allocation(*given, **settings),
        complexity.allocate_budget(*given, **settings),
    )


@pytest.mark.parametrize("case", GOLDEN["dbp"]["cases"], ids=lambda c: str(c["budget"]))
def test_quotas_of_eight_clusters_are_dbps_but_for_rounding(case: dict[str, Any]):
    golden = GOLDEN["dbp"]
    product = np.array(golden["d_inter"]) * golden["d_intra"]
    exact, counts = quotas(case, golden["sizes"], product)
    published = np.array(case["counts"])
    # Half a row of rounding, and what its iterative solver leaves open.
    assert np.abs(published - exact).max() < 0.51
    assert counts.sum() == case["budget"]
    if published.sum() == case["budget"] and (np.rint(exact) == published).all():
        assert counts.tolist() == published.tolist()
    else:
        assert np.abs(counts - published).sum() in (1, 2)


def test_dbps_rounding_misses_the_budget_and_ours_meets_it():
    sizes, complexities = inputs.many_clusters()
    missed = []
    for case in GOLDEN["dbp"]["many"]:
        exact, counts = quotas(case, sizes, complexities)
        published = np.array(case["counts"])
        assert np.abs(published - exact).max() < 0.51
        assert np.abs(published - counts).max() <= 1
        assert counts.sum() == case["budget"]
        missed.append(int(published.sum()) - case["budget"])
    assert missed == [5, 0, 6, -2, 1]


@pytest.mark.parametrize("keep", ["hard", "easy"])
def test_rows_within_quotas_are_dbps(keep: str):
    cases = [case for case in GOLDEN["dbp"]["cases"] if keep in case]
    assert len(cases) == 3
    for case in cases:
        kept: list[int] = []
        for cluster, count in enumerate(case["counts"]):
            rows = members(cluster)
            uids = [inputs.uids()[row] for row in rows]
            mask = top_mask(distances()[rows], uids, count, descending=keep == "hard")
            kept += rows[mask].tolist()
            if keep == "easy" and count == 0:
                # paths[-0:] is the whole cluster: its quota is none, and all stay.
                kept += rows.tolist()
        assert sorted(kept) == case[keep]


@pytest.mark.parametrize(("fraction", "published"), [(0.29, 57), (0.58, 115)])
def test_a_published_budget_is_cut_in_binary_and_ours_is_decimal(fraction, published):
    """DBP, negCLIPLoss and VAS take int(fraction · rows), which loses a row."""
    assert len(GOLDEN["alignment"]["kept"][str(fraction)]) == published
    assert budget_count(inputs.ROWS, fraction=fraction) == published + 1


def kept_without_duplicates(rule: semantic.Rule, epsilon: float) -> list[int]:
    kept: list[int] = []
    for cluster in CLUSTERS:
        rows = members(cluster)
        uids = [inputs.uids()[row] for row in rows]
        keys = np.zeros(len(rows), np.uint64)
        rows = rows[semantic.visiting_order(distances()[rows], uids, rule, keys)]
        vectors = inputs.images()[rows]
        neighbours = semantic.best_earlier(vectors)
        chosen = semantic.select(vectors, neighbours, epsilon, "reference")
        kept += rows[chosen.keep].tolist()
    return sorted(kept)


@pytest.mark.parametrize("epsilon", [e for e in GOLDEN["semdedup"]["eps"] if e < 1])
def test_kept_sets_are_semdedups(epsilon: float):
    published = GOLDEN["semdedup"]["kept"]["hard"][str(epsilon)]
    assert kept_without_duplicates("hard", epsilon) == published


def test_easy_kept_sets_are_semdedups_but_for_equal_distances():
    """It reverses the `hard` list: of rows the same to the bit the last one leads.

    Ours go by uid, so that the first of them does.
    """
    swapped = 0
    for epsilon, published in GOLDEN["semdedup"]["kept"]["easy"].items():
        if float(epsilon) > 1:
            continue
        rows = set(published)
        for first in (2, 69, 149):
            if first + 1 in rows and first not in rows:
                rows ^= {first, first + 1}
                swapped += 1
        assert set(kept_without_duplicates("easy", float(epsilon))) == rows
    assert swapped > 0


def test_similarities_to_earlier_rows_are_semdedups():
    for cluster, published in enumerate(GOLDEN["semdedup"]["M"]):
        vectors = inputs.images()[farthest_first(cluster)]
        ours = semantic.best_earlier(vectors).similarity
        # The source's matrix holds 0 below its diagonal: no M is less than that.
        ours = np.maximum(np.nan_to_num(ours), 0)
        np.testing.assert_allclose(ours[: len(published)], published, atol=FLOAT32)


def test_above_an_epsilon_of_one_semdedup_drops_whole_clusters():
    """Its zeros are above 1 − ε then; ours keeps the first row of every cluster."""
    sizes = [len(members(c)) for c in CLUSTERS]
    published = GOLDEN["semdedup"]["kept"]["hard"]["1.2"]
    assert published == members(sizes.index(1)).tolist()
    firsts = {int(farthest_first(c)[0]) for c in CLUSTERS}
    assert firsts <= set(kept_without_duplicates("hard", 1.2))


@pytest.mark.parametrize(
    "case", GOLDEN["neg_clip_loss"]["cases"], ids=lambda c: str(c["temperature"])
)
def test_scores_averaged_over_batches_are_neg_clip_losses(case: dict[str, Any]):
    golden, temperature = GOLDEN["neg_clip_loss"], case["temperature"]
    images, texts = inputs.images(), inputs.texts()
    sums, overflows = np.zeros(inputs.ROWS), np.zeros(inputs.ROWS, bool)
    for rows in golden["orders"]:
        for start in range(0, inputs.ROWS, golden["batch"]):
            batch = np.array(rows[start : start + golden["batch"]])
            sums[batch] += neg_clip_loss(images[batch], texts[batch], temperature)
            products = images[batch] @ texts[batch].T
            most = np.maximum(products.max(axis=0), products.max(axis=1))
            # e^(c/T) beyond float32: at T = .01 above a cosine of .887.
            overflows[batch] |= most > temperature * np.log(np.finfo(np.float32).max)
    scores = sums / len(golden["orders"])
    published = np.array(case["scores"], float)
    assert (np.isnan(published) == overflows).all()
    assert overflows.any() == (temperature == 0.01)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(
        scores[~overflows], published[~overflows], atol=5 * FLOAT32
    )


def test_alignment_and_its_best_rows_are_clip_score():
    golden = GOLDEN["alignment"]
    scores = cosine(inputs.images(), inputs.texts())
    np.testing.assert_allclose(scores, golden["scores"], atol=FLOAT32)
    for published in golden["kept"].values():
        kept = top_mask(scores, inputs.uids(), len(published), descending=True)
        assert np.flatnonzero(kept).tolist() == published


def test_norms_are_norm_sims():
    images, targets = inputs.images(), inputs.targets()
    golden = GOLDEN["norm_sim"]
    two = norm_sim_2(images, target_gram(targets))
    np.testing.assert_allclose(two, golden["2"], atol=5 * FLOAT32)
    largest = norm_sim_inf(images, targets)
    np.testing.assert_allclose(largest, golden["inf"], atol=FLOAT32)
    # `p: inf` is signed, which the source's is not: what is most unlike a target.
    signed, _ = nearest_target(images, targets)
    differs = signed < largest - FLOAT32
    assert 0 < differs.sum() < inputs.ROWS
    assert (-(images @ targets.T).min(axis=1) > signed)[differs].all()


def test_variance_alignment_is_vass():
    targets = inputs.targets()
    ours = variance_alignment(inputs.images(), target_gram(targets), len(targets))
    np.testing.assert_allclose(ours, GOLDEN["vas"]["scores"], atol=FLOAT32)


def vas_d(sizes: list[int]) -> list[int]:
    """Return the rows left after rounds that leave so many, by the step's kernels."""
    images = inputs.images()
    uids, left = np.array(inputs.uids()), np.arange(inputs.ROWS)
    for number, size in enumerate(sizes):
        flat = pa.array(images[left].reshape(-1))
        column = pa.FixedSizeListArray.from_arrays(flat, inputs.DIM)
        batch = pa.RecordBatch.from_pydict({"uid": uids[left], "image": column})
        (summed,) = sum_products(iter([batch]))
        gram = np.array(summed["gram"][0].as_py()).reshape(inputs.DIM, -1) / 2.0**30
        (scored,) = score_round(
            iter([batch]), gram=gram, count=len(left), number=number
        )
        values = scored["score"].to_numpy()
        left = left[top_mask(values, uids[left].tolist(), size, descending=True)]
    return left.tolist()


@pytest.mark.parametrize("case", GOLDEN["vas"]["vas_d"], ids=lambda c: str(c["rounds"]))
def test_rounds_of_vas_d_are_the_sources(case: dict[str, Any]):
    target, rounds = len(case["kept"]), case["rounds"]
    chunk = -(-(inputs.ROWS - target) // rounds)
    published = [inputs.ROWS - chunk * n for n in range(1, rounds)] + [target]
    assert vas_d(published) == case["kept"]
    ours = [rows_left(inputs.ROWS, target, n, rounds) for n in range(1, rounds + 1)]
    # Rounds of equal size to a row, where the source's last one drops the rest.
    assert ours[-1] == published[-1]
    assert (ours == published) == ((inputs.ROWS - target) % rounds == 0)
    assert np.ptp(np.diff([inputs.ROWS, *ours])) <= 1


def times_drawn(case: dict[str, Any], trials: int) -> Any:
    """Return how often each row was drawn in each trial, by our kernels."""
    logits, total = inputs.logits(), case["total_size"]
    rows = len(logits)
    keys = np.random.default_rng(3).integers(0, 2**64, rows * trials, np.uint64)
    if case["kind"] == "hard" or case["batch_size"] == 1:
        penalty = case.get("repetition_penalty", 0.0)
        limit = case.get("frequency_limit", UNLIMITED)
        row, _, times = arrivals(np.tile(logits, trials), keys, penalty, 3.0, limit)
        trial = row // rows
        by_time = np.lexsort((times, trial))
        turn = np.arange(len(row)) - np.searchsorted(trial[by_time], trial[by_time])
        first = row[by_time[turn < total]]
        return np.bincount(first, minlength=rows * trials).reshape(trials, rows)
    counts = np.zeros((trials, rows), int)
    for number, start in enumerate(range(0, total, case["batch_size"])):
        size = min(case["batch_size"], total - start)
        noised = logits - case["repetition_penalty"] * counts
        noised += gumbel(keys, number).reshape(trials, rows)
        drawn = np.argsort(-noised, axis=1)[:, :size]
        counts[np.arange(trials)[:, None], drawn] += 1
    return counts


@pytest.mark.parametrize(
    "case", GOLDEN["flyt"]["cases"], ids=lambda c: f"{c['kind']}-{c['batch_size']}"
)
def test_draws_are_distributed_as_flyts(case: dict[str, Any]):
    """Both draw at random: shares of runs, equal within 4.5 standard errors.

    Hard caps are drawn one by one here and in batches there: what is above a row's
    limit in a batch is drawn anew, which is the same.
    """
    theirs, trials = GOLDEN["flyt"]["trials"], 6_000
    counts = times_drawn(case, trials)
    assert (counts.sum(axis=1) == case["total_size"]).all()
    for row, published in enumerate(case["times_drawn"]):
        shares = np.array(published) / theirs
        ours = np.bincount(counts[:, row], minlength=len(shares)) / trials
        assert ours[len(shares) :].sum() < 10 / trials
        ours = ours[: len(shares)]
        pooled = (theirs * shares + trials * ours) / (theirs + trials)
        variance = pooled * (1 - pooled) * (1 / theirs + 1 / trials)
        error = np.sqrt(variance) + 1 / trials
        assert (np.abs(ours - shares) < 4.5 * error).all()


# No public code of R2D2 was found: by hand, from the cost that the paper minimises.
def test_a_deletion_plan_by_hand_from_r2d2s_cost():
    """Tables a ⊂ b ⊂ c, d alone: min Σ kept storage + Σ expected cost of rebuilding.

    All kept 10 + 8 + 5 + 3 = 26; of {a, b, c}: c alone 10 + 6 + 4 = 20, c and b
    10 + 8 + 1 = 19, c and a 10 + 6 + 5 = 21, so a goes, rebuilt from b at 1: 22.
    """
    a, b, c = 0, 1, 2
    plan = Plan(
        keep=np.array([5.0, 8.0, 10.0, 3.0]),
        protected=np.zeros(4, bool),
        group=np.arange(4),
        child=np.array([a, a, b]),
        parent=np.array([b, c, c]),
        rebuild=np.array([1.0, 4.0, 6.0]),
    )
    retained = retain(plan)
    assert retained.source.tolist() == [b, -1, -1, -1]
