"""Theory of a pruned perceptron: golden values, limits, and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from winnow.algorithms.prune.teacher_student import (
    errors,
    errors_of_pool,
    max_margin,
    simulate,
    theory,
)
from winnow.core.errors import ConfigError

# Test errors by (fraction, keep), then by α = kept samples per dimension; recomputed
# for the two saddle-point equations and verified against simulation with N = 100.
GOLDEN = {
    (1.0, "hard"): {1: 0.2657, 2: 0.1885, 4: 0.1137},
    (0.5, "hard"): {1: 0.3211, 2: 0.1361, 3: 0.0812, 4: 0.0610},
    (0.5, "easy"): {1: 0.1818, 2: 0.1173, 3: 0.0862, 4: 0.0679},
    (0.2, "hard"): {1: 0.4177, 2: 0.0971, 3: 0.0347, 4: 0.0250},
    (0.2, "easy"): {1: 0.1346, 2: 0.0840, 3: 0.0612, 4: 0.0482},
}


@pytest.mark.parametrize(("fraction", "keep"), GOLDEN)
def test_errors_are_those_of_the_paper(fraction, keep):
    wanted = GOLDEN[fraction, keep]
    assert errors(list(wanted), fraction, keep) == pytest.approx(
        list(wanted.values()), abs=1e-4
    )


def test_keeping_everything_is_neither_hard_nor_easy():
    hard, easy = theory(2.0, 1.0, "hard"), theory(2.0, 1.0, "easy")
    assert hard.error == pytest.approx(easy.error, abs=1e-9)
    assert hard.margin == pytest.approx(easy.margin, abs=1e-9)


def test_hard_samples_pay_when_there_are_many_and_cost_when_there_are_few():
    few, many = 0.8, 6.0
    assert theory(few, 0.5, "hard").error > theory(few).error
    assert theory(few, 0.5, "easy").error < theory(few).error
    assert theory(many, 0.5, "hard").error < theory(many).error
    assert theory(many, 0.5, "hard").error < theory(many, 0.5, "easy").error


def test_pruning_beats_the_power_law_of_its_pool():
    """Without pruning the error falls as 1/α; a tenth of a large pool loses little."""
    plain = errors([20, 40])
    assert plain[0] / plain[1] == pytest.approx(2, rel=0.05)
    half = errors_of_pool([20, 40], 0.5, "hard")
    assert (half < plain * 1.05).all()
    assert errors(20, 0.1, "hard")[0] < plain[0] / 5


@pytest.mark.parametrize(
    ("alpha", "fraction", "keep"),
    [(2.0, 1.0, "hard"), (3.0, 0.5, "hard"), (1.0, 0.2, "easy")],
)
def test_simulation_agrees_with_theory(alpha, fraction, keep):
    students = [
        simulate(alpha, fraction, keep, dimensions=80, seed=seed) for seed in range(12)
    ]
    errors = np.array([student.error for student in students])
    wanted = theory(alpha, fraction, keep)
    # Four standard errors, and 5 % for eighty dimensions instead of infinitely many.
    slack = 4 * errors.std(ddof=1) / np.sqrt(len(errors)) + 0.05 * wanted.error
    assert errors.mean() == pytest.approx(wanted.error, abs=slack)


def test_the_students_margin_is_maximal():
    signed = np.array([[1.0, 2.0], [1.0, -2.0], [5.0, 0.5]])
    student, margin = max_margin(signed)
    assert student == pytest.approx([1.0, 0.0], abs=1e-9)
    assert margin == pytest.approx(1.0)
    # Rows on a circle: the middle of the outer two, by hand.
    angles = np.radians([10.0, 40.0, 70.0])
    student, margin = max_margin(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    assert np.degrees(np.arctan2(student[1], student[0])) == pytest.approx(40.0)
    assert margin == pytest.approx(np.cos(np.radians(30.0)))


def test_a_seed_gives_the_same_student():
    assert simulate(1.0, 0.5, "hard", dimensions=20, seed=3) == simulate(
        1.0, 0.5, "hard", dimensions=20, seed=3
    )


@pytest.mark.parametrize("fraction", [0.0, 1.5, float("nan")])
def test_fractions_that_are_none_are_refused(fraction):
    with pytest.raises(ConfigError, match="fraction"):
        theory(1.0, fraction)
    with pytest.raises(ConfigError, match="fraction"):
        simulate(1.0, fraction)


def test_what_cannot_be_learned_is_refused():
    with pytest.raises(ConfigError, match="alpha"):
        theory(0.0)
    with pytest.raises(ConfigError, match="at least 1"):
        simulate(0.001, dimensions=10)
    with pytest.raises(ConfigError, match="separated"):
        max_margin(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
