"""Boxes over parts of a picture, and the picture without what is under them.

Maini et al. 2023 (T-MARS, arXiv 2307.03132) score an image whose writing is painted
over in the colour around it. Which boxes hold writing, somebody else has detected.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

#: Left, top, right, bottom in whole pixels; right and bottom lie outside.
PixelBox = tuple[int, int, int, int]

#: Further out than any picture reaches.
_FAR = 2**31 - 1
_CORNERS = 4
_LEAST_POINTS = 3
#: A box's frame is this part of its shorter side wide.
_FRAME = 4


def pixel_boxes(given: Any) -> list[PixelBox]:
    """Return boxes, each once and in order, over every pixel that `given` touches.

    given: None, or a list, or the JSON of one. An item is `[x0, y0, x1, y1]` with
    x0 <= x1 and y0 <= y1, or a polygon of at least three points `[x, y]`, of which the
    bounding box is taken; in pixels from the upper left corner, whole or not.

    Raises ValueError if it is anything else.
    """
    try:
        if isinstance(given, str):
            given = json.loads(given) if given.strip() else None
        boxes = {_box(item) for item in _listed(given or [])}
    except (OverflowError, RecursionError, TypeError) as error:
        raise ValueError(str(error)) from None
    return sorted(box for box in boxes if box[0] < box[2] and box[1] < box[3])


def _box(item: Any) -> PixelBox:
    values = _listed(item)
    if values and not isinstance(values[0], (int, float)):
        points = [_numbers(point) for point in values]
        if len(points) < _LEAST_POINTS or any(len(p) != 2 for p in points):
            raise ValueError("a polygon is three points or more")
        across, down = zip(*points, strict=True)
        left, top, right, bottom = min(across), min(down), max(across), max(down)
    else:
        numbers = _numbers(values)
        if len(numbers) != _CORNERS:
            raise ValueError("a box is four numbers")
        left, top, right, bottom = numbers
        if left > right or top > bottom:
            raise ValueError("a box ends before it begins")
    outer = math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)
    x0, y0, x1, y1 = (max(-_FAR, min(_FAR, value)) for value in outer)
    return x0, y0, x1, y1


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise ValueError("not a list")
    return list(value)


def _numbers(values: Any) -> list[float]:
    for value in _listed(values):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError("not a number")
        if not math.isfinite(value):
            raise ValueError("not finite")
    return list(values)


def painted_over(image: Image.Image, boxes: Sequence[PixelBox]) -> Image.Image:
    """Return an RGB image with each box in the average colour of its frame.

    A frame is a quarter of the box's shorter side wide, one pixel at least; what is in
    another box does not count. Without such a pixel it is the average of all that is
    in no box, or else of the whole image. Boxes are clipped to the image.
    """
    from PIL import Image

    pixels = np.asarray(image)
    inside = [box for given in boxes if (box := _clipped(given, image.size))]
    if not inside:
        return image
    bare = np.ones(pixels.shape[:2], bool)
    for left, top, right, bottom in inside:
        bare[top:bottom, left:right] = False
    everywhere = _average(pixels, bare)
    if everywhere is None:
        everywhere = _average(pixels, ~bare)
    painted = pixels.copy()
    for left, top, right, bottom in inside:
        wide = max(1, min(right - left, bottom - top) // _FRAME)
        frame = (
            slice(max(0, top - wide), bottom + wide),
            slice(max(0, left - wide), right + wide),
        )
        colour = _average(pixels[frame], bare[frame])
        painted[top:bottom, left:right] = everywhere if colour is None else colour
    return Image.fromarray(painted)


def _clipped(box: PixelBox, size: tuple[int, int]) -> PixelBox | None:
    width, height = size
    left, top, right, bottom = box
    left, top, right, bottom = (
        max(left, 0),
        max(top, 0),
        min(right, width),
        min(bottom, height),
    )
    return (left, top, right, bottom) if left < right and top < bottom else None


def _average(
    pixels: npt.NDArray[np.uint8], counted: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8] | None:
    """Return the mean colour of some pixels, halves up; None if there are none."""
    count = int(np.count_nonzero(counted))
    if not count:
        return None
    total = pixels.sum(axis=(0, 1), dtype=np.int64, where=counted[..., None])
    mean: npt.NDArray[np.uint8] = ((2 * total + count) // (2 * count)).astype(np.uint8)
    return mean
