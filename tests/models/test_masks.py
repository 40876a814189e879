"""Boxes as detectors give them, and pictures painted over, pixel by pixel."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from winnow.models.masks import painted_over, pixel_boxes

from tests.examples import examples


@pytest.mark.parametrize(
    ("masks", "boxes"),
    [
        (None, []),
        ([], []),
        ("", []),
        ("null", []),
        ([[1, 2, 3, 4]], [(1, 2, 3, 4)]),
        ("[[1, 2, 3, 4]]", [(1, 2, 3, 4)]),
        ([[0.9, 1.5, 2.1, 3.0]], [(0, 1, 3, 3)]),
        ([[5, 5, 6, 6], [1, 2, 3, 4], [5, 5, 6, 6]], [(1, 2, 3, 4), (5, 5, 6, 6)]),
        ([[2, 2, 2, 9]], []),
        ([[-3, -3, 1e300, 2]], [(-3, -3, 2**31 - 1, 2)]),
        # A contour, as T-MARS's code writes them.
        ([[[3, 1], [7.5, 2], [4, 9]]], [(3, 1, 8, 9)]),
        ([[[3, 1], [7, 2], [4, 9]], [0, 0, 1, 1]], [(0, 0, 1, 1), (3, 1, 7, 9)]),
    ],
)
def test_boxes_cover_what_the_masks_touch(masks: Any, boxes: list[Any]):
    assert pixel_boxes(masks) == boxes


@pytest.mark.parametrize(
    "masks",
    [
        5,
        True,
        {"x0": 1},
        [1, 2, 3, 4],
        [None],
        [[]],
        [[1, 2, 3]],
        [[1, 2, 3, 4, 5]],
        [[3, 0, 1, 4]],
        [[0, 4, 3, 1]],
        [[0, 0, math.nan, 1]],
        [[0, 0, math.inf, 1]],
        [[0, 0, None, 1]],
        [["0", 0, 1, 1]],
        [[0, 0, True, 1]],
        [[[0, 0], [1, 1]]],
        [[[0, 0], [1, 1], [2]]],
        [[[0, 0], [1, 1], 3]],
        "no JSON",
        "[[0, 0, NaN, 1]]",
        pytest.param("[[0, 0, 1" + "0" * 400 + ", 1]]", id="huge"),
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_what_is_no_box_is_refused(masks: Any):
    with pytest.raises(ValueError, match=r"\w"):
        pixel_boxes(masks)


def plainly_painted(pixels: np.ndarray, boxes: list[tuple[int, ...]]) -> np.ndarray:
    """Paint pixel by pixel, by what the documentation says."""
    height, width = pixels.shape[:2]

    def within(x: int, y: int, box: tuple[int, ...], wide: int = 0) -> bool:
        left, top, right, bottom = box
        across = left - wide <= x < right + wide
        return across and top - wide <= y < bottom + wide

    every = [(x, y) for y in range(height) for x in range(width)]
    bare = [p for p in every if not any(within(*p, box) for box in boxes)]
    painted = pixels.copy()
    for left, top, right, bottom in boxes:
        box = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
        wide = max(1, min(box[2] - box[0], box[3] - box[1]) // 4)
        frame = [p for p in bare if within(*p, box, wide)]
        values = [pixels[y, x].astype(int) for x, y in frame or bare or every]
        mean = np.floor(np.sum(values, axis=0) / len(values) + 0.5)
        for x, y in every:
            if within(x, y, box):
                painted[y, x] = mean
    return painted


side = st.integers(-4, 14)


@settings(max_examples=examples(20, 60), deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.lists(st.tuples(side, side, side, side), max_size=4),
    st.integers(0, 99),
)
def test_a_box_is_painted_in_the_mean_colour_of_its_frame(
    width: int, height: int, corners: list[tuple[int, ...]], seed: int
):
    size = (height, width, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    masks = [
        [min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1] for a, b, c, d in corners
    ]
    boxes = pixel_boxes(masks)
    painted = np.asarray(painted_over(Image.fromarray(pixels), boxes))
    np.testing.assert_array_equal(painted, plainly_painted(pixels, boxes))
    turned = pixel_boxes(json.dumps(masks[::-1]))
    again = np.asarray(painted_over(Image.fromarray(pixels), turned))
    np.testing.assert_array_equal(again, painted)


def test_writing_on_one_colour_is_gone():
    pixels = np.full((20, 30, 3), (200, 30, 77), np.uint8)
    pixels[5:9, 4:26:2] = 0
    painted = painted_over(Image.fromarray(pixels), pixel_boxes([[4, 5, 26, 9]]))
    assert painted.getcolors() == [(600, (200, 30, 77))]
