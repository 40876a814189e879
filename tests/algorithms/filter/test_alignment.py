import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from winnow.algorithms.filter import alignment
from winnow.algorithms.filter.alignment import (
    cosine,
    neg_clip_loss,
    neg_clip_loss_from_similarities,
)

from tests.examples import examples
from tests.vectors import unit_rows


def pairs(n, dim, seed=0, dtype=np.float16):
    random = np.random.default_rng(seed)
    image = random.standard_normal((n, dim))
    text = image + random.standard_normal((n, dim))
    return image.astype(dtype), text.astype(dtype)


# Facts page, negCLIPLoss.
@pytest.mark.parametrize(
    ("similarities", "scores"),
    [
        ([[0.3, 0.1], [0.1, 0.3]], (-0.0126928, -0.0126928)),
        ([[0.30, 0.10], [0.20, 0.25]], (-0.022009, -0.033775)),
    ],
)
def test_golden_neg_clip_loss(similarities, scores):
    computed = neg_clip_loss_from_similarities(np.array(similarities), 0.1)
    np.testing.assert_allclose(computed, scores, atol=1e-6)


@given(st.integers(1, 40), st.integers(0, 1000), st.sampled_from([0.01, 0.07, 1.0]))
@settings(max_examples=examples(15, 40), deadline=None)
def test_neg_clip_loss_is_its_formula(n, seed, temperature):
    image, text = pairs(n, 16, seed)
    c = unit_rows(image) @ unit_rows(text).T
    sums = logsumexp(c / temperature, axis=1) + logsumexp(c / temperature, axis=0)
    expected = np.diagonal(c) - temperature / 2 * sums
    scores = neg_clip_loss(image, text, temperature)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_blocks_do_not_matter(monkeypatch):
    image, text = pairs(100, 16)
    whole = neg_clip_loss(image, text, 0.01)
    monkeypatch.setattr(alignment, "_BLOCK_BYTES", 4 * 100 * 7)
    np.testing.assert_allclose(neg_clip_loss(image, text, 0.01), whole, atol=1e-6)


def test_a_caption_that_fits_everything_scores_lower():
    image = np.eye(4, dtype=np.float32)
    generic = image.copy()
    generic[0] = 1  # cosine 0.5 to every image
    scores = neg_clip_loss(image, generic, 0.1)
    assert scores[0] < scores[1:].min()


def test_swapped_captions_lower_the_mean_score():
    image, text = pairs(8, 32)
    swapped = text[[1, 0, 2, 3, 4, 5, 6, 7]]
    assert cosine(image, swapped).mean() < cosine(image, text).mean()
    right = neg_clip_loss(image, text, 0.07)
    assert neg_clip_loss(image, swapped, 0.07).mean() < right.mean()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_cosine_is_the_float64_cosine(dtype):
    image, text = pairs(50, 37, dtype=dtype)
    expected = (unit_rows(image) * unit_rows(text)).sum(axis=1)
    np.testing.assert_allclose(cosine(image, text), expected, atol=1e-14)


def test_cosine_does_not_depend_on_the_batch():
    image, text = pairs(9000, 8)
    whole = cosine(image, text)
    parts = [cosine(image[i : i + 999], text[i : i + 999]) for i in range(0, 9000, 999)]
    assert np.concatenate(parts).tolist() == whole.tolist()


def test_every_float16_is_read_as_numpy_reads_it():
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every) & (every != 0)]
    text = np.stack([np.ones_like(finite), np.zeros_like(finite)], axis=1)
    image = np.stack([finite, np.full_like(finite, 0.1)], axis=1)
    x, y = image.astype(np.float64).T
    expected = x / np.hypot(x, y)
    np.testing.assert_allclose(cosine(image, text), expected, rtol=1e-14)


def test_rows_without_a_direction_have_no_score():
    image = np.array([[1, 0], [0, 0], [1, np.nan], [1, np.inf], [2, 0]], np.float16)
    text = np.array([[1, 0], [1, 0], [1, 0], [1, 0], [0, 0]], np.float16)
    scores = cosine(image, text)
    assert scores[0] == 1
    assert np.isnan(scores[1:]).all()


def test_bad_input_is_refused():
    image, text = pairs(3, 4)
    with pytest.raises(ValueError, match="one text vector"):
        cosine(image, text[:2])
    with pytest.raises(ValueError, match="one text vector"):
        neg_clip_loss(image, text[:, :2], 0.1)
    with pytest.raises(ValueError, match="above 0"):
        neg_clip_loss(image, text, 0)
    with pytest.raises(ValueError, match="square"):
        neg_clip_loss_from_similarities(np.ones((2, 3)), 0.1)
    with pytest.raises(ValueError, match="zero or not finite"):
        neg_clip_loss(np.zeros((2, 2)), np.ones((2, 2)), 0.1)
