"""Random changes of training images, a function of seed, uid and view alone."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np

from winnow.core.hashing import keys
from winnow.filters.train.recipe import Augmentation

if TYPE_CHECKING:
    from PIL import Image

#: Pixels above which an image is not made larger.
_LARGE = 2_000_000


def augmented(
    image: Image.Image, how: Augmentation, uid: str, salt: str
) -> Image.Image:
    """Return a changed copy of an RGB image: crop, flip, jitter, grey, size, JPEG."""
    if not how.changes:
        return image
    rng = np.random.default_rng(int(keys([uid], f"augment:{salt}")[0]))
    image = _cropped(image, how.crop, rng)
    if rng.random() < how.flip:
        from PIL.Image import Transpose

        image = image.transpose(Transpose.FLIP_LEFT_RIGHT)
    if how.jitter:
        image = _jittered(image, how.jitter, rng)
    if rng.random() < how.grey:
        image = image.convert("L").convert("RGB")
    if how.resize and rng.random() < how.resize:
        image = _resized(image, rng)
    if how.jpeg and rng.random() < how.jpeg:
        image = _encoded_again(image, int(rng.integers(35, 76)))
    return image


def _cropped(
    image: Image.Image, area: tuple[float, float], rng: np.random.Generator
) -> Image.Image:
    """Crop to a share of the area, at an aspect within 3:4 and 4:3 of the image's."""
    if area == (1.0, 1.0):
        return image
    share = rng.uniform(*area)
    aspect = math.exp(rng.uniform(-1, 1) * math.log(4 / 3) * (1 - share))
    width = min(1.0, math.sqrt(share * aspect)) * image.width
    height = min(1.0, math.sqrt(share / aspect)) * image.height
    left = rng.random() * (image.width - width)
    top = rng.random() * (image.height - height)
    box = (int(left), int(top), math.ceil(left + width), math.ceil(top + height))
    return image.crop(box)


def _resized(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Bring to 0.6 to 1.7 of its sides; a large image only becomes smaller."""
    from PIL.Image import Resampling

    largest = 1.7 if image.width * image.height <= _LARGE else 1.0
    factor = math.exp(rng.uniform(math.log(0.6), math.log(largest)))
    width, height = (max(1, round(side * factor)) for side in image.size)
    return image.resize((width, height), Resampling.LANCZOS)


def _encoded_again(image: Image.Image, quality: int) -> Image.Image:
    from PIL import Image as images

    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return images.open(buffer).convert("RGB")


def _jittered(
    image: Image.Image, strength: float, rng: np.random.Generator
) -> Image.Image:
    from PIL import ImageEnhance

    for kind in (
        ImageEnhance.Brightness,
        ImageEnhance.Contrast,
        ImageEnhance.Color,
    ):
        image = kind(image).enhance(1 + strength * rng.uniform(-1, 1))
    return image
