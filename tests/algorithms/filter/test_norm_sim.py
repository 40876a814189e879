import numpy as np
import pytest
from winnow.algorithms.filter import norm_sim
from winnow.algorithms.filter.norm_sim import (
    nearest_target,
    norm_sim_2,
    norm_sim_inf,
    target_gram,
)

from tests.vectors import unit_rows


def vectors(n, dim, seed):
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float16)


def test_golden_values_of_the_facts_page():
    image = np.array([[0.6, 0.8]])
    targets = np.array([[1.0, 0.0], [0.0, -1.0]])
    cosine, row = nearest_target(image, targets)
    # Signed: |−0.8| would be larger.
    assert cosine[0] == pytest.approx(0.6, abs=1e-15)
    assert row[0] == 0
    assert norm_sim_inf(image, targets)[0] == pytest.approx(0.8, abs=1e-15)
    assert norm_sim_2(image, target_gram(targets))[0] == pytest.approx(1.0, abs=1e-15)


def test_both_are_their_formulas_for_any_norms(monkeypatch):
    monkeypatch.setattr(norm_sim, "_BLOCK_ROWS", 64)
    images, targets = vectors(150, 24, 0), 3 * vectors(170, 24, 1)
    c = unit_rows(images) @ unit_rows(targets).T
    cosine, row = nearest_target(images, targets)
    np.testing.assert_allclose(cosine, c.max(axis=1), atol=1e-14)
    np.testing.assert_array_equal(row, c.argmax(axis=1))
    absolute = np.linalg.norm(c, np.inf, axis=1)
    np.testing.assert_allclose(norm_sim_inf(images, targets), absolute, atol=1e-14)
    assert (abs(c).max(axis=1) > c.max(axis=1)).any()
    expected = np.linalg.norm(c, axis=1)
    np.testing.assert_allclose(
        norm_sim_2(images, target_gram(targets)), expected, rtol=1e-12
    )


def test_neither_depends_on_the_batch():
    images, targets = vectors(300, 16, 2), vectors(90, 16, 3)
    gram = target_gram(targets)
    for score in (
        lambda x: nearest_target(x, targets)[0],
        lambda x: norm_sim_2(x, gram),
    ):
        whole = score(images)
        parts = [score(images[i : i + 7]) for i in range(0, 300, 7)]
        assert np.concatenate(parts).tolist() == whole.tolist()


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="same"):
        nearest_target(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="no target"):
        nearest_target(np.ones((2, 3)), np.ones((0, 3)))
    with pytest.raises(ValueError, match="at least one"):
        target_gram(np.ones((0, 3)))
    with pytest.raises(ValueError, match="zero or not finite"):
        norm_sim_2(np.zeros((1, 3)), target_gram(np.ones((1, 3))))
