"""The community around a few rows of an index: what is alike, and in which order.

Chamberlain et al. 2018 (arXiv 1601.03958): candidates by band look-up around each seed,
similarities among them, exact here, then one of three orders.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.algorithms.communities import (
    by_agglomeration,
    by_pagerank,
    by_similarity,
    layout,
)
from winnow.algorithms.dedup.jaccard import jaccard
from winnow.core.errors import ConfigError
from winnow.indexes.near_index import NearIndex
from winnow.pages.community_drawing import draw_community
from winnow.steps.near_index import found_with, near, settings_of

Order: TypeAlias = Literal["similarity", "agglomerative", "pagerank"]
Floats = npt.NDArray[np.float64]

_ORDERS: dict[str, Callable[[Floats, int], tuple[npt.NDArray[np.int64], Floats]]] = {
    "similarity": by_similarity,
    "agglomerative": by_agglomeration,
    "pagerank": by_pagerank,
}
#: Candidates whose similarities to one another are computed.
MOST_CANDIDATES = 2_000
#: Of a drawing: its vertices, and lines from each.
_DRAWN, _LINES = 80, 4


@dataclass(frozen=True)
class Growth:
    """How a community grows, and how far.

    order: by the mean `similarity` to the seeds, as rows join (`agglomerative`), or by
    personalised `pagerank`. size: at most so many rows. candidates: at most so many,
    those most similar to a seed, are ordered. min_jaccard: least similarity to a seed,
    0 to 1.
    """

    order: Order = "agglomerative"
    size: int = 50
    candidates: int = 500
    min_jaccard: float = 0.0

    def __post_init__(self) -> None:
        """Raise ConfigError for an unknown order or numbers out of range."""
        if self.order not in _ORDERS:
            raise ConfigError(f"communities: order is one of {', '.join(_ORDERS)}")
        if not 0 < self.candidates <= MOST_CANDIDATES:
            raise ConfigError(f"communities: candidates are 1 to {MOST_CANDIDATES}")
        if self.size < 1 or not 0 <= self.min_jaccard <= 1:
            raise ConfigError(
                "communities: size is at least 1, min_jaccard from 0 to 1"
            )


def community(
    path: str | os.PathLike[str],
    seeds: Sequence[str],
    growth: Growth = Growth(),
    drawing: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Return the rows that belong to some of an index, first those that belong most.

    seeds: uids of indexed rows. drawing: a file for an SVG of the result.

    Raises ConfigError for no seed or one named twice, InputError for a uid that the
    index does not have.
    """
    if not seeds:
        raise ConfigError("communities: name at least one seed")
    if len(set(seeds)) < len(seeds):
        raise ConfigError("communities: a seed is named twice")
    index = NearIndex(path)
    names, texts = _gathered(index, seeds, growth)
    similarity = _similarities(index, texts)
    positions, scores = _ORDERS[growth.order](similarity, len(seeds))
    to_seeds = similarity[:, : len(seeds)].mean(axis=1)
    chosen = positions[: growth.size].tolist()
    rows = [
        {
            "rank": rank,
            "uid": names[row],
            "score": float(scores[rank - 1]),
            "similarity": float(to_seeds[row]),
            "text": texts[row],
        }
        for rank, row in enumerate(chosen, 1)
    ]
    if drawing is not None:
        shown = [*range(len(seeds)), *chosen[:_DRAWN]]
        _draw(Path(drawing), names, similarity, shown, len(seeds))
    return {
        "order": growth.order,
        "seeds": list(seeds),
        "candidates": len(names) - len(seeds),
        "rows": rows,
        # Of rows as similar to one seed as the last one on average, how many are found.
        "found_share": found_with(index, rows[-1]["similarity"]) if rows else 1.0,
    }


def _gathered(
    index: NearIndex, seeds: Sequence[str], growth: Growth
) -> tuple[list[str], list[str]]:
    """Return names and texts of the seeds, then of the candidates by uid."""
    rows = [index.row_of(uid) for uid in seeds]
    texts = [segment.table.column("text")[row].as_py() for segment, row in rows]
    most = growth.candidates + len(seeds)
    best: dict[tuple[str, str], float] = {}
    for text in texts:
        for row in near(index, text, most, growth.min_jaccard):
            name = (row["uid"], row["text"])
            best[name] = max(best.get(name, 0.0), row["jaccard"])
    for name in zip(seeds, texts, strict=True):
        best.pop(name, None)
    kept = sorted(best, key=lambda name: (-best[name], name))[: growth.candidates]
    kept.sort()
    return [*seeds, *(uid for uid, _ in kept)], [*texts, *(text for _, text in kept)]


def _similarities(index: NearIndex, texts: Sequence[str]) -> Floats:
    """Return exact Jaccard similarities of all pairs, (m, m)."""
    bounds, hashes = settings_of(index).sets(pa.array(texts, pa.large_string()))
    left, right = np.triu_indices(len(texts), 1)
    values = jaccard(bounds, hashes, left.astype(np.uint32), right.astype(np.uint32))
    similarity = np.eye(len(texts))
    similarity[left, right] = similarity[right, left] = values
    return similarity


def _draw(
    file: Path, names: list[str], similarity: Floats, shown: list[int], seeds: int
) -> None:
    among = similarity[np.ix_(shown, shown)].copy()
    np.fill_diagonal(among, 0.0)
    edges = set()
    for row, values in enumerate(among):
        for other in np.argsort(-values, kind="stable")[:_LINES].tolist():
            if values[other] > 0:
                edges.add((min(row, other), max(row, other), float(values[other])))
    places = layout(among / max(among.max(initial=0.0), 1e-9))
    drawn = draw_community([names[row] for row in shown], seeds, places, sorted(edges))
    file.write_text(drawn, encoding="utf-8")
