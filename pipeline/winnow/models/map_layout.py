"""Vectors laid out in the plane: near ones near, for maps that people look at.

PaCMAP (Wang, Huang, Rudin and Shaposhnik 2021, "Understanding How Dimension Reduction
Tools Work", JMLR 22, section 5): positions that keep pairs of near, mid-near and far
points apart as they are. Distances of the map are not those of the vectors; it says
which rows are alike, not how much.
"""

from __future__ import annotations

import logging
import warnings

import numpy as np
import numpy.typing as npt

from winnow.core.extras import require
from winnow.models.faiss_library import faiss_library

Singles = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

#: Fewer rows have no layout worth computing; they lie on a line, in their order.
_FEWEST = 12
#: Neighbours that a row's place is the mean of, where it was not laid out itself.
_NEIGHBOURS = 3
_BLOCK = 65_536
#: Lists that are looked through for a row's neighbours.
_PROBED = 8


def laid_out(vectors: Singles, seed: int) -> Singles:
    """Return a place in the plane for each vector: (n, 2) float32.

    vectors: (n, dim) float32 of unit length.
    seed: of the draws; with the same vectors, seed and versions the map is the same.

    Raises MissingExtraError without the extra `map`.

    >>> laid_out(np.eye(4, dtype=np.float32), seed=0).shape
    (4, 2)
    """
    rows = len(vectors)
    if rows < _FEWEST:
        return np.stack([np.arange(rows), np.zeros(rows)], axis=1).astype(np.float32)
    require("map", "winnow map")
    from pacmap import PaCMAP

    neighbours = min(10, rows - 2)
    # It says that a seed was set, and that few rows have few neighbours.
    logging.getLogger("pacmap").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reducer = PaCMAP(n_neighbors=neighbours, random_state=seed, verbose=False)
        return np.asarray(reducer.fit_transform(vectors, init="pca"), np.float32)


class PlacedRows:
    """Places for rows that were not laid out: between their nearest laid-out ones.

    vectors: (m, dim) float32, unit length, those that were laid out.
    places: (m, 2) float32, where.

    >>> known = PlacedRows(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32))
    >>> known.of(np.eye(2, dtype=np.float32)).shape
    (2, 2)
    """

    def __init__(self, vectors: Singles, places: Singles) -> None:
        faiss = faiss_library()

        self._places = places
        rows, dim = vectors.shape
        lists = max(1, round(rows**0.5))
        coarse = faiss.IndexFlatIP(dim)
        self._index = faiss.IndexIVFFlat(coarse, dim, lists, faiss.METRIC_INNER_PRODUCT)
        self._index.cp.spherical, self._index.cp.min_points_per_centroid = True, 1
        self._index.train(vectors)
        self._index.add(vectors)
        self._index.nprobe = min(lists, _PROBED)

    def of(self, vectors: Singles) -> Singles:
        """Return where rows lie, (n, 2): the mean of three neighbours by their cosine.

        A vector without a neighbour in the lists that are looked through has no place
        (NaN).
        """
        cosines, rows = self._index.search(vectors, min(_NEIGHBOURS, len(self._places)))
        weights = np.where(rows >= 0, np.clip(cosines, 1e-6, None) ** 8, 0.0)
        total = weights.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            weights = weights / total
        places: Singles = np.einsum("nk,nkd->nd", weights, self._places[rows])
        return places.astype(np.float32)


def normed(vectors: npt.NDArray[np.float16]) -> Singles:
    """Return vectors of unit length as float32, whatever float16 had made of them."""
    singles: Singles = vectors.astype(np.float32)
    lengths = np.linalg.norm(singles, axis=1, keepdims=True)
    np.divide(singles, lengths, out=singles, where=lengths > 0)
    return singles
