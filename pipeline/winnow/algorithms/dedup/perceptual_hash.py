"""Perceptual hashes of pictures: 64 bits that survive another size and encoding.

dHash: whether each of 8 × 9 grey pixels is brighter than its left neighbour (N.
Krawetz, "Kind of like that", 2013). pHash: whether each of the 8 × 8 lowest frequencies
of 32 × 32 grey pixels lies above their median (N. Krawetz, "Looks like it", 2011, after
Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions",
§3.2). Bits are those of the library imagehash.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

#: (width, height) of the grey pixels that each hash is made of.
GREY_SIZE = {"dhash": (9, 8), "phash": (32, 32)}
_LOW = 8


def dhash(pixels: npt.NDArray[np.uint8]) -> Hashes:
    """Return the difference hash of grey pixels: (n, 8, 9) uint8 to (n,) uint64."""
    return packed(pixels[:, :, 1:] > pixels[:, :, :-1])


def phash(pixels: npt.NDArray[np.uint8]) -> Hashes:
    """Return the frequency hash of grey pixels: (n, 32, 32) uint8 to (n,) uint64."""
    low = low_frequencies(pixels)
    return packed(low > np.median(low, axis=(1, 2), keepdims=True))


HASHES = {"dhash": dhash, "phash": phash}


def contrast(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return how many grey levels each picture's pixels span: (n, h, w) to (n,)."""
    flat = pixels.reshape(len(pixels), -1).astype(np.int64)
    return np.asarray(flat.max(axis=1) - flat.min(axis=1))


def low_frequencies(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the 8 × 8 lowest terms of each square's cosine transform (DCT-II).

    pixels: (n, side, side). Each picture is transformed by itself, so its hash does not
    depend on the others. Terms are rounded: noise of the last bit must not decide about
    one that is zero by symmetry.
    """
    basis = _cosines(pixels.shape[1])
    low = basis @ pixels.astype(np.float64) @ basis.T
    return np.asarray(np.rint(low * 2.0**20))


@cache
def _cosines(side: int) -> npt.NDArray[np.float64]:
    frequency = np.arange(_LOW)[:, None]
    middle = 2 * np.arange(side)[None, :] + 1
    return np.asarray(np.cos(np.pi * frequency * middle / (2 * side)))


def packed(bits: npt.NDArray[np.bool_]) -> Hashes:
    """Return 8 × 8 bits as one number, the first bit highest: (n, 8, 8) to (n,)."""
    rows = np.packbits(bits.reshape(len(bits), 64), axis=1)
    return np.asarray(rows.view(">u8").reshape(-1).astype(np.uint64))
