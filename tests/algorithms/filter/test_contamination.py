import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from scipy.fft import dctn
from winnow.algorithms.filter.contamination import (
    nearest_hash,
    perceptual_hashes,
    run_index,
    shared_runs,
    word_runs,
)


def squares(n, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (n, 32, 32))
    smooth = [
        np.asarray(
            Image.fromarray(square.astype(np.uint8)).filter(ImageFilter.GaussianBlur(3))
        )
        for square in noise
    ]
    return np.stack(smooth)


def bits(a, b):
    return int(a ^ b).bit_count()


def test_a_hash_is_the_signs_of_low_frequencies_against_their_median():
    for square, found in zip(squares(5), perceptual_hashes(squares(5)), strict=True):
        low = dctn(square.astype(float), type=2)[:8, :8].ravel()
        # SciPy doubles each pass; rows and columns of frequency 0 are not special.
        above = low[1:] > np.median(low[1:])
        expected = int("0" + "".join("01"[int(bit)] for bit in above), 2)
        assert int(found) == expected


def test_hashes_do_not_depend_on_their_neighbours():
    every = squares(40)
    whole = perceptual_hashes(every).tolist()
    assert [int(perceptual_hashes(one[None])[0]) for one in every] == whole


def test_brightness_hardly_matters_and_another_picture_does():
    first, second = squares(2)
    brighter = (first.astype(float) * 0.8 + 40).astype(np.uint8)
    one, light, other = perceptual_hashes(np.stack([first, brighter, second]))
    assert bits(one, light) <= 4
    assert bits(one, other) > 16


def test_a_blank_picture_has_the_hash_zero():
    assert perceptual_hashes(np.full((1, 32, 32), 77, np.uint8))[0] == 0


def test_the_nearest_hash_is_found():
    random = np.random.default_rng(1)
    ours = random.integers(0, 2**64, 50, dtype=np.uint64)
    others = random.integers(0, 2**64, 70, dtype=np.uint64)
    distances, row = nearest_hash(ours, others)
    table = np.array([[bits(int(a), int(b)) for b in others] for a in ours])
    assert distances.tolist() == table.min(axis=1).tolist()
    assert row.tolist() == table.argmin(axis=1).tolist()
    every = np.array([0, 2**64 - 1], np.uint64)
    assert nearest_hash(every[:1], every[1:])[0].tolist() == [64]
    with pytest.raises(ValueError, match="no other hash"):
        nearest_hash(ours, others[:0])


def test_runs_of_words():
    caption = "A Man, riding a WAVE!"
    assert word_runs(caption, 4) == ["a man riding a", "man riding a wave"]
    assert word_runs("too short", 3) == word_runs(None, 1) == []


def test_shared_runs_name_the_caption_that_has_them():
    known = run_index(["one two three four", None, "three four five six"], 3)
    captions = ["zero ONE two three", "three four five", "four five", None, "a b c"]
    share, owner = shared_runs(captions, 3, known)
    assert share.tolist() == [0.5, 1.0, 0.0, 0.0, 0.0]
    assert owner.tolist() == [0, 2, -1, -1, -1]
    assert shared_runs(["a b c"], 3, run_index([], 3))[0].tolist() == [0.0]


def test_drawn_copies_keep_their_hash():
    image = Image.new("L", (120, 90), 200)
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 10, 70, 70), fill=30)
    draw.rectangle((60, 50, 110, 80), fill=120)
    sizes = [(120, 90), (60, 45), (240, 180)]
    small = [np.asarray(image.resize(s).resize((32, 32))) for s in sizes]
    one, half, double = perceptual_hashes(np.stack(small))
    assert bits(one, half) <= 4
    assert bits(one, double) <= 4
