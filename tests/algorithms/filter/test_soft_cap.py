from collections import Counter

import numpy as np
import pytest
from winnow.algorithms.filter.soft_cap import (
    UNLIMITED,
    arrivals,
    expected_draws,
    gumbel,
)

LOGITS = np.array([0.0, 1.0, -0.5])


def exact_multisets(penalty, draws, limit=None):
    """Every way the published procedure can go, one draw after the other."""
    states = {(0, 0, 0): 1.0}
    for _ in range(draws):
        following = Counter()
        for counts, chance in states.items():
            spent = np.array([penalty * c if c else 0.0 for c in counts])
            weights = np.exp(LOGITS - spent)
            if limit is not None:
                weights[np.array(counts) >= limit] = 0
            for row, weight in enumerate(weights / weights.sum()):
                if weight:
                    after = tuple(c + (i == row) for i, c in enumerate(counts))
                    following[after] += chance * weight
        states = following
    return states


@pytest.mark.parametrize(
    ("penalty", "draws", "limit"),
    [(0.7, 4, None), (0.0, 3, None), (np.inf, 2, None), (0.0, 4, 2), (0.3, 5, 3)],
)
def test_the_race_draws_like_the_published_procedure(penalty, draws, limit):
    random, trials = np.random.default_rng(0), 20_000
    keys = random.integers(0, 2**64, 3 * trials, dtype=np.uint64)
    rows, _, times = arrivals(
        np.tile(LOGITS, trials), keys, penalty, 4.0, limit or UNLIMITED
    )
    trial = rows // 3
    order = np.lexsort((times, trial))
    turn = np.arange(len(rows)) - np.searchsorted(trial[order], trial[order])
    first = order[turn < draws]
    counts = np.bincount(rows[first], minlength=3 * trials).reshape(-1, 3)
    assert (counts.sum(axis=1) == draws).all()
    drawn = Counter(map(tuple, counts.tolist()))
    expected = exact_multisets(penalty, draws, limit)
    assert set(drawn) <= set(expected)
    chi = sum((drawn[s] - trials * p) ** 2 / (trials * p) for s, p in expected.items())
    # Five times the degrees of freedom is far beyond what chance gives.
    assert chi < 5 * len(expected)


def test_gumbel_noise_draws_without_replacement_by_softmax():
    random, trials = np.random.default_rng(1), 20_000
    keys = random.integers(0, 2**64, 3 * trials, dtype=np.uint64)
    noised = np.tile(LOGITS, (trials, 1)) + gumbel(keys, 0).reshape(-1, 3)
    pairs = np.sort(np.argsort(-noised, axis=1)[:, :2], axis=1)
    drawn = Counter(map(tuple, pairs.tolist()))
    weights = np.exp(LOGITS) / np.exp(LOGITS).sum()
    for (a, b), count in drawn.items():
        w, v = weights[a], weights[b]
        chance = w * v / (1 - w) + v * w / (1 - v)
        assert count / trials == pytest.approx(chance, abs=0.015)


def test_a_later_horizon_only_adds_draws():
    random = np.random.default_rng(2)
    logits = random.normal(size=500)
    keys = random.integers(0, 2**64, 500, dtype=np.uint64)
    early, late = (
        set(zip(*(part.tolist() for part in drawn), strict=True))
        for drawn in (arrivals(logits, keys, 0.3, until) for until in (1.0, 2.0))
    )
    assert early < late
    assert all(time > 1.0 for _, _, time in late - early)


@pytest.mark.parametrize("penalty", [0.0, 0.15, 2.0])
def test_the_expected_number_is_near_the_number(penalty):
    random = np.random.default_rng(3)
    logits = random.normal(0, 2, 20_000)
    keys = random.integers(0, 2**64, 20_000, dtype=np.uint64)
    drawn = len(arrivals(logits, keys, penalty, 0.5)[0])
    assert expected_draws(logits, penalty, 0.5) == pytest.approx(drawn, rel=0.15)
