"""Perceptual hashes have the bits of the library imagehash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from winnow.algorithms.dedup.perceptual_hash import GREY_SIZE, HASHES, contrast
from winnow.models.images import decode_rgb, grey_pixels

imagehash = pytest.importorskip("imagehash")
WHOLE = ((0.0, 0.0, 1.0, 1.0),)


def theirs(kind: str, image: Image.Image) -> int:
    return int(str(getattr(imagehash, kind)(image)), 16)


def ours(kind: str, image: Image.Image) -> int:
    return int(HASHES[kind](grey_pixels(image, GREY_SIZE[kind], WHOLE))[0])


def photos(shared: Path, rows: int) -> Iterator[Image.Image]:
    file = sorted((shared / "data/photos").glob("*.parquet"))[0]
    for data in pq.read_table(file, columns=["image"])["image"].to_pylist()[:rows]:
        yield decode_rgb(data)


@pytest.mark.parametrize("kind", ["dhash", "phash"])
def test_bits_of_photographs(shared: Path, kind: str):
    images = list(photos(shared, 30))
    images += [Image.open(file) for file in _ukbench(shared)]
    for image in images:
        rgb = image.convert("RGB")
        assert ours(kind, rgb) == theirs(kind, image)


def _ukbench(shared: Path) -> list[Path]:
    return sorted((shared / "data/outside/imagededup").glob("base_images/*.jpg"))


@pytest.mark.parametrize("kind", ["dhash", "phash"])
def test_a_picture_is_hashed_by_itself(kind: str):
    rng = np.random.default_rng(1)
    width, height = GREY_SIZE[kind]
    pixels = rng.integers(0, 256, (9, height, width), dtype=np.uint8)
    alone = [int(HASHES[kind](one[None])[0]) for one in pixels]
    assert HASHES[kind](pixels).tolist() == alone


def test_contrast_is_the_span_of_greys(make_picture: Callable[..., bytes]):
    flat = np.full((1, 8, 9), 40, np.uint8)
    spread = np.array([[[3, 250]]], np.uint8)
    assert (contrast(flat)[0], contrast(spread)[0]) == (0, 247)
