"""Semantic duplicates: SemDeDup within one cluster.

Abbas et al. 2023, arXiv 2303.09540, §3: rows are visited in an order, M_j is the
largest cosine of row j to any earlier row, and a row with M_j above 1 − ε is a
duplicate. M does not depend on ε: `best_earlier` finds it once, `select` applies any ε.

All decisions are float64 (see `algorithms.cosine`) and no n × n matrix ever exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from winnow.algorithms.cosine import (
    SLACK,
    Floats,
    Ids,
    Singles,
    Vectors,
    exact_cosine,
    pairwise,
    products_into,
)
from winnow.algorithms.dedup.cluster import Cluster, Flags
from winnow.algorithms.dedup.components import flatten, root_of
from winnow.algorithms.prune.ranking import Uids, order
from winnow.numeric.compiled import compiled

Rule = Literal["hard", "easy", "random"]
Semantics = Literal["greedy", "reference", "components"]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Each row's most similar earlier row, in visiting order; all shapes (n,).

    similarity: its cosine M_j in float64; twin: its position, the earliest one of
    equally similar rows. The first row has none: NaN and −1.
    """

    similarity: Floats
    twin: Ids


@dataclass(frozen=True, slots=True)
class Selection:
    """What `select` decided, in visiting order; all shapes (n,).

    keep; twin: the position of the row that makes a dropped row redundant, −1 for a
    kept one; similarity: the float64 cosine to that twin. Of a kept row it is NaN, but
    where its most similar earlier row is a duplicate of it that had gone itself: then
    that to the most similar earlier row that was kept.
    """

    keep: Flags
    twin: Ids
    similarity: Floats


def visiting_order(
    distances: Floats, uids: Uids, rule: Rule, keys: npt.NDArray[np.uint64]
) -> Ids:
    """Return the (n,) permutation in which rows are visited; the first survives.

    `hard` starts at the row farthest from the centroid, `easy` at the nearest one,
    `random` at the smallest of `keys` (hashes of the uids). Ties go to the smaller uid.
    Raises ValueError for an unknown rule.
    """
    if rule == "random":
        return order(keys, uids, descending=False)
    if rule not in ("hard", "easy"):
        raise ValueError(f"rule {rule!r} is unknown: use 'hard', 'easy' or 'random'")
    return order(distances, uids, descending=rule == "hard")


def best_earlier(vectors: Vectors | Cluster) -> Neighbours:
    """Return each row's most similar earlier row, whatever ε will be.

    vectors: (n, dim) in visiting order, of any float type (float16 may be a memory
    map) and norms above 0; a `Cluster` of them spares `select` preparing them again.
    Costs n²/2 products; memory beyond the rows is bounded. Raises ValueError if a row
    is zero or not finite.
    """
    cluster = _as_cluster(vectors)
    similarity = np.full(len(cluster), np.nan)
    twin = np.full(len(cluster), -1, np.int64)
    for part in cluster.search_blocks():
        best = cluster.best_of(part)
        cluster.show_earlier(best, np.arange(part.start, part.stop))
        similarity[part], twin[part] = best.cosine, best.ids
    similarity[:1] = np.nan
    return Neighbours(similarity, twin)


def select(
    vectors: Vectors | Cluster,
    neighbours: Neighbours,
    epsilon: float,
    semantics: Semantics = "greedy",
) -> Selection:
    """Decide which rows are duplicates: those above a cosine of 1 − ε, not equal to it.

    - `greedy`: dropped if a *kept* earlier row is that similar; the twin is the most
      similar kept one, so every dropped row has a survivor to show.
    - `reference`: dropped if any earlier row is, kept or not; so the twin may itself be
      dropped (the paper's code).
    - `components`: rows that similar are linked; each connected component keeps its
      first row, which is the twin of all others and may be less similar than 1 − ε.

    vectors: as for `best_earlier`, and `neighbours` its result. Only rows with M_j
    above 1 − ε cost more products, for `greedy` only if their twin was dropped. Raises
    ValueError if `epsilon` is outside [0, 2] or `semantics` is unknown.
    """
    if not 0 <= epsilon <= 2:
        raise ValueError(f"epsilon is {epsilon}: 1 − cosine lies between 0 and 2")
    if len(neighbours.twin) != len(vectors):
        raise ValueError(
            f"{len(neighbours.twin):,} neighbours for {len(vectors):,} vectors: they "
            "belong to another cluster"
        )
    least = 1.0 - epsilon
    if semantics == "reference":
        return _nearest_decides(neighbours, ~(neighbours.similarity > least))
    if semantics == "greedy":
        return _select_greedy(vectors, neighbours, least)
    if semantics == "components":
        return _select_components(vectors, neighbours, least)
    raise ValueError(
        f"semantics {semantics!r} is unknown: use 'greedy', 'reference' or 'components'"
    )


def _as_cluster(vectors: Vectors | Cluster) -> Cluster:
    return vectors if isinstance(vectors, Cluster) else Cluster(vectors)


def _nearest_decides(neighbours: Neighbours, keep: Flags) -> Selection:
    return Selection(
        keep,
        np.where(keep, -1, neighbours.twin),
        np.where(keep, np.nan, neighbours.similarity),
    )


KEPT, DROPPED, OPEN = np.int8(0), np.int8(1), np.int8(2)
#: Kept, and what decided about it is still to be measured.
SPARED = np.int8(3)


def _select_greedy(
    vectors: Vectors | Cluster, neighbours: Neighbours, least: float
) -> Selection:
    """Resolve, in order, what the most similar earlier row alone does not decide.

    1. A row with M_j ≤ `least` is kept; one whose twin is kept goes. The rest is open.
    2. Open rows, a block at a time, see all earlier rows that are known to be kept,
       and then, one by one, the kept rows of their own block.
    """
    state = np.empty(len(vectors), np.int8)
    propagate(neighbours.similarity, neighbours.twin, least, state)
    selection = _nearest_decides(neighbours, state == KEPT)
    still_open = np.flatnonzero(state == OPEN)
    if len(still_open) == 0:
        return selection
    cluster = _as_cluster(vectors)
    for positions in cluster.blocks(still_open):
        best = cluster.best_of(positions, least)
        cluster.show_members(best, positions, state == KEPT)
        products = products_into(cluster.scratch, best.rows.unit, best.rows.unit)
        settle_in_order(
            (products, positions),
            (best.rows.exact, best.rows.squares),
            (best.cosine, best.ids),
            least,
        )
        dropped = best.cosine > least
        state[positions] = np.where(dropped, DROPPED, KEPT)
        selection.keep[positions] = ~dropped
        selection.twin[positions] = np.where(dropped, best.ids, -1)
        selection.similarity[positions] = np.where(dropped, best.cosine, np.nan)
    _measure_spared(cluster, neighbours, least, selection)
    return selection


def spared(neighbours: Neighbours, keep: Flags, least: float) -> Flags:
    """Return (n,): kept rows whose most similar earlier row had itself gone."""
    return keep & (neighbours.similarity > least)


def _measure_spared(
    cluster: Cluster, neighbours: Neighbours, least: float, selection: Selection
) -> None:
    """Set what decided about spared rows: their most similar earlier kept row."""
    rows = np.flatnonzero(spared(neighbours, selection.keep, least))
    for positions in cluster.blocks(rows):
        best = cluster.best_of(positions)
        cluster.show_members(best, positions, selection.keep)
        selection.similarity[positions] = best.cosine


@compiled
def propagate(
    similarity: Floats,
    twin: Ids,
    least: float,
    state: npt.NDArray[np.int8],
    first: int = 0,
) -> None:
    """Set KEPT, DROPPED or OPEN by each row's most similar earlier row, in order.

    state: (n,) of all rows; similarity, twin: (m,) of those from `first` on.
    """
    for j in range(len(twin)):
        if not similarity[j] > least:
            state[first + j] = KEPT
        else:
            state[first + j] = DROPPED if state[twin[j]] == KEPT else OPEN


@compiled
def settle_in_order(
    tile: tuple[Singles, Ids],
    rows: tuple[Vectors, Floats],
    best: tuple[Floats, Ids],
    least: float,
) -> None:
    """Let the rows of a block see the kept rows among themselves, in order."""
    products, positions = tile
    exact, squares = rows
    cosine, ids = best
    terms = np.zeros(exact.shape[1] + 1)
    bar = np.float32(least - SLACK)
    for r in range(len(products)):
        for s in range(r):
            if cosine[s] > least or products[r, s] < bar:
                continue
            value = exact_cosine(exact[r], squares[r], exact[s], squares[s], terms)
            # Of equally similar rows the earliest counts, whether of this block or not.
            if value > cosine[r] or (value == cosine[r] and positions[s] < ids[r]):
                cosine[r] = value
                ids[r] = positions[s]


def _select_components(
    vectors: Vectors | Cluster, neighbours: Neighbours, least: float
) -> Selection:
    """Link all rows above `least`; the later row of each link has M_j above it."""
    cluster = _as_cluster(vectors)
    first = np.arange(len(cluster))
    for positions in cluster.blocks(np.flatnonzero(neighbours.similarity > least)):
        _link_earlier(cluster, positions, least, first)
    flatten(first)
    keep = first == np.arange(len(cluster))
    similarity = np.full(len(cluster), np.nan)
    for ids in cluster.blocks(np.flatnonzero(~keep)):
        similarity[ids] = pairwise(cluster.rows(ids), cluster.rows(first[ids]))
    return Selection(keep, np.where(keep, -1, first), similarity)


def _link_earlier(cluster: Cluster, positions: Ids, least: float, parent: Ids) -> None:
    rows = cluster.rows(positions)
    for part in cluster.tiles_before(int(positions[-1])):
        earlier = cluster.rows(part)
        products = products_into(cluster.scratch, rows.unit, earlier.unit)
        link_tile(
            (products, positions, part.start),
            (rows.exact, rows.squares),
            (earlier.exact, earlier.squares),
            least,
            parent,
        )


@compiled
def link_tile(
    tile: tuple[Singles, Ids, int],
    rows: tuple[Vectors, Floats],
    earlier: tuple[Vectors, Floats],
    least: float,
    parent: Ids,
) -> None:
    """Join, in a forest of rows, those of a tile that are similar above `least`.

    tile: products, places of their rows in the forest, and that of its first column.
    """
    products, positions, start = tile
    exact, squares = rows
    earlier_exact, earlier_squares = earlier
    terms = np.zeros(exact.shape[1] + 1)
    bar, sure = np.float32(least - SLACK), np.float32(least + SLACK)
    for r in range(len(products)):
        for c in range(min(products.shape[1], positions[r] - start)):
            if products[r, c] < bar:
                continue
            one, other = root_of(parent, positions[r]), root_of(parent, start + c)
            if one == other:
                continue
            if products[r, c] <= sure:
                value = exact_cosine(
                    exact[r], squares[r], earlier_exact[c], earlier_squares[c], terms
                )
                if not value > least:
                    continue
            # The root of a component is its first row: the one that is kept.
            parent[max(one, other)] = min(one, other)
