"""Generated pictures that cost a decoder what a photograph of their size costs.

1/f^1.35 noise, brightness strong and colours weak, with sharp shapes on it: JPEG of
quality 90 takes 1.9 to 2.6 bits a pixel, PNG 12, WebP 1.7 to 2.3. Photographs of 640 ×
480 (scikit-learn's two, imagededup's) take 0.8 to 2.9, 6 to 14 and 0.5 to 2.6.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

FORMATS = ("JPEG", "PNG", "WEBP")
SIDES = (512, 1024, 2048)
#: Encoded once each; a pool repeats them, since no decoder remembers.
_DISTINCT = 8
_STEEPNESS = 1.35
_SHAPES = 6


def encoded(side: int, kind: str) -> list[bytes]:
    """Return the files of some square pictures of `side` pixels."""
    rng = np.random.default_rng(side)
    field = [_noise(side, rng) for _ in range(3)]
    return [_file(_picture(field, rng), kind) for _ in range(_DISTINCT)]


def write_shard(path: Path, files: list[bytes], count: int) -> None:
    """Write a Parquet shard of `count` rows of uid, image and text."""
    rng = np.random.default_rng(count)
    rows = {
        "uid": [f"{row:032x}" for row in range(count)],
        "image": [files[row % len(files)] for row in range(count)],
        "text": [" ".join(map(str, rng.integers(0, 999, 6))) for _ in range(count)],
    }
    pq.write_table(pa.table(rows), path, row_group_size=256)


def _noise(side: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    across, down = np.fft.rfftfreq(side)[None, :], np.fft.fftfreq(side)[:, None]
    frequency = np.hypot(across, down)
    frequency[0, 0] = np.inf
    real, imaginary = rng.standard_normal((2, *frequency.shape))
    noise = np.fft.irfft2((real + 1j * imaginary) / frequency**_STEEPNESS, (side, side))
    return noise / noise.std()


def _picture(
    field: list[npt.NDArray[np.float64]], rng: np.random.Generator
) -> Image.Image:
    """Return a picture of noise, shifted as its edges allow: they fit each other."""
    side = len(field[0])
    light, blue, red = (np.roll(f, rng.integers(0, side, 2), (0, 1)) for f in field)
    grey = 128 + 50 * light
    colours = (grey + 15 * red, grey - 8 * blue - 8 * red, grey + 15 * blue)
    pixels = np.stack(colours, axis=-1).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    draw, size = ImageDraw.Draw(image), side // 8
    for _ in range(_SHAPES):
        x, y = (int(value) for value in rng.integers(0, side, 2))
        fill = tuple(int(value) for value in rng.integers(0, 256, 3))
        draw.ellipse([x - size, y - size, x + size // 2, y + size], fill=fill)
    return image


def _file(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **({} if kind == "PNG" else {"quality": 90}))
    return file.getvalue()
