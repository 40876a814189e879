"""What is measured on a picture's pixels: brightness, edges, information, sharpness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

# Pictures are shrunk to this before their edges are looked for, as by CleanVision.
_EDGES_SIDE = 64
# Parts of red, green and blue in a squared brightness (HSP colour model).
_PARTS = (0.241, 0.691, 0.068)


def brightness_percentile(
    image: Image.Image, percents: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    """Return percentiles of the pixels' brightness, 0 to 1, of an L or RGB image.

    Those of numpy's linear method; only the pixels beside each are looked at closely,
    since the brightness grows with the weighted squares that it is the root of.
    """
    pixels = np.asarray(image)
    levels = np.arange(256, dtype=np.float64)
    if pixels.ndim == 2:
        counts = np.bincount(pixels.reshape(-1), minlength=256)
        return _percentiles_of_counts(counts, levels / 255.0, percents)
    squares = [part * (levels * levels) for part in _PARTS]
    total = squares[0][pixels[:, :, 0]]
    total += squares[1][pixels[:, :, 1]]
    total += squares[2][pixels[:, :, 2]]
    flat = total.reshape(-1)
    lower, share = _ranks(len(flat), percents)
    upper = np.minimum(lower + 1, len(flat) - 1)
    flat.partition(np.union1d(lower, upper))
    return _between(np.sqrt(flat[lower]) / 255, np.sqrt(flat[upper]) / 255, share)


def _percentiles_of_counts(
    counts: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    percents: tuple[int, ...],
) -> npt.NDArray[np.float64]:
    ends = np.cumsum(counts)
    lower, share = _ranks(int(ends[-1]), percents)
    upper = np.minimum(lower + 1, ends[-1] - 1)
    first, second = (values[np.searchsorted(ends, r, "right")] for r in (lower, upper))
    return _between(first, second, share)


def _ranks(
    pixels: int, percents: tuple[int, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    exact = np.array(percents) / 100 * (pixels - 1)
    lower = np.floor(exact).astype(np.int64)
    return lower, exact - lower


def _between(
    first: npt.NDArray[np.float64],
    second: npt.NDArray[np.float64],
    share: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Interpolate as `numpy.percentile` does, from the nearer end."""
    difference = second - first
    from_first = first + difference * share
    return np.where(share >= 0.5, second - difference * (1 - share), from_first)


def edge_strength(image: Image.Image) -> tuple[float, float]:
    """Return how strong edges are, and how spread greys, of an L or RGB image.

    The standard deviation of a small copy's edges, and of its grey histogram.
    """
    from PIL import ImageFilter, ImageStat

    ratio = max(image.width, image.height) / _EDGES_SIDE
    if ratio > 1:
        sides = (max(int(side // ratio), 1) for side in image.size)
        image = image.resize((next(sides), next(sides)))
    grey = image.convert("L")
    edges = grey.filter(ImageFilter.FIND_EDGES)
    variance = float(ImageStat.Stat(edges).var[0])
    return float(np.sqrt(variance)), float(np.std(grey.histogram()))


def sharpness(image: Image.Image) -> float:
    """Return the variance of the Laplacian of an L or RGB image's greys.

    The four-neighbour Laplacian inside the border, in whole numbers, so that the result
    is the same wherever it is computed (Pech-Pacheco et al., "Diatom autofocusing in
    brightfield microscopy", ICPR 2000). 0 for a picture narrower than three pixels.
    """
    grey = np.asarray(image.convert("L"), np.int32)
    if min(grey.shape) < 3:
        return 0.0
    laplacian = -4 * grey[1:-1, 1:-1]
    laplacian += grey[:-2, 1:-1]
    laplacian += grey[2:, 1:-1]
    laplacian += grey[1:-1, :-2]
    laplacian += grey[1:-1, 2:]
    count = laplacian.size
    total = int(laplacian.sum(dtype=np.int64))
    squares = int(np.square(laplacian).sum(dtype=np.int64))
    return (squares * count - total * total) / (count * count)
