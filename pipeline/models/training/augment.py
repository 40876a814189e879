"""Random changes of training images, a function of seed, uid and view alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.hashing import keys
from pipeline.models.training.recipe import Augmentation

if TYPE_CHECKING:
    from PIL import Image


def augmented(
    image: Image.Image, how: Augmentation, uid: str, salt: str
) -> Image.Image:
    """Return a changed copy of an RGB image: crop, flip, jitter, grey."""
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
