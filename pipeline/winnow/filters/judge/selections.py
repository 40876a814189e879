"""What several filters keep of one pool, and how far they agree."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.algorithms.filter.ranking_quality import jaccard, rank_correlation
from winnow.algorithms.prune.budget import exact_multiple
from winnow.core.errors import ConfigError, InputError
from winnow.filters.judge.evaluation_set import (
    EvaluationColumns,
    EvaluationSet,
    Ids,
    load_set,
    model_of,
    with_image_vectors,
)
from winnow.filters.judge.figures import areas
from winnow.filters.judge.pair_scores import PairScores, image_clusters, score_pairs
from winnow.models.encoder import load_encoder

Result = dict[str, Any]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Tell = Callable[[str], None]

#: The control that keeps as many rows by uid hash.
RANDOM = "random"
# A cluster that chance leaves this many rows of is no longer there by chance alone.
_EXPECTED = 3.0
_SHOWN = 12


@dataclass(frozen=True)
class FilterSelection:
    """What one filter keeps of the pool: (n,) scores and flags."""

    name: str
    scores: Floats
    keep: Flags
    #: The filter's right and wrong pairs; none for the random control.
    pairs: PairScores | None = None


@dataclass(frozen=True)
class Selections:
    """A pool, its clusters, and the selections of all filters and of chance."""

    data: EvaluationSet
    clusters: Ids
    budget: int
    each: list[FilterSelection]

    @property
    def control(self) -> FilterSelection:
        """The selection by chance, which is the last one."""
        return self.each[-1]

    @property
    def filters(self) -> list[FilterSelection]:
        """All selections but that by chance."""
        return self.each[:-1]


@dataclass(frozen=True)
class Choosing:
    """How `compare_filters` lets each filter choose from the pool.

    budget: the fraction to keep, above 0 and up to 1; exact and rounded down, ties
        break on uid.
    columns: what the columns of the pool mean.
    only: uids of the rows to take. None: all.
    precision: in which models compute: `auto`, `float32`, `bfloat16`, `float16`.
    seed: of the random selection that filters are compared with.

    >>> winnow.Choosing(0.3).seed
    0
    """

    budget: float
    columns: EvaluationColumns = field(default_factory=EvaluationColumns)
    only: Collection[str] | None = None
    precision: str = "auto"
    seed: int = 0


def select(
    models: Sequence[str], pool: str, how: Choosing, tell: Tell = lambda _: None
) -> Selections:
    """Score a pool by every model and keep the same number of rows by each.

    A row's score is that of its first caption. Clusters are those of the first model's
    image vectors; rows that it cannot embed are left out for all. Raises ConfigError
    for a faulty budget or two models of one name.
    """
    budget = how.budget
    if not 0 < budget <= 1:
        raise ConfigError(f"--budget is {budget:g}; give a fraction above 0, up to 1")
    names = short_names(models)
    data = load_set(pool, how.columns, how.only)
    clusters: Ids | None = None
    scored = []
    for name, model in zip(names, models, strict=True):
        tell(f"scoring {len(data):,} rows of {data.name} by {name}")
        spec = model_of(model, how.precision)
        load_encoder(spec)
        usable, images = with_image_vectors(data, spec)
        if clusters is None:
            data, clusters = usable, image_clusters(usable, images)
        elif len(usable) != len(data):
            raise InputError(
                f"{name} cannot embed {len(data) - len(usable)} images that "
                f"{names[0]} can ({usable.unusable})"
            )
        pairs, _ = score_pairs(data, spec, images, clusters)
        scored.append((name, _first_captions(pairs, len(data)), pairs))
    assert clusters is not None
    count = exact_multiple(len(data), budget)
    if not count:
        raise ConfigError(f"--budget {budget:g} of {len(data)} rows keeps none")
    each = [
        FilterSelection(name, scores, best(scores, data.uids, count), pairs)
        for name, scores, pairs in scored
    ]
    chance = data.keys(f"random selection {how.seed}").astype(np.float64)
    each.append(FilterSelection(RANDOM, chance, best(chance, data.uids, count)))
    return Selections(data, clusters, count, each)


def short_names(models: Sequence[str]) -> list[str]:
    """Return the last parts of the models' names, or whole names where these repeat.

    Raises ConfigError if a model stands there twice.
    """
    if len(set(models)) < len(models):
        raise ConfigError("a model stands there twice; name each one once")
    names = [model.rstrip("/").rpartition("/")[2] for model in models]
    unique = len(set(names)) == len(names) and RANDOM not in names
    return names if unique else list(models)


def file_name(name: str) -> str:
    """Return a selection's name as one part of a path."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "filter"


def best(scores: Floats, uids: Sequence[str], count: int) -> Flags:
    """Return which `count` rows score highest; uids ascend, and ties go to the first.

    scores: (n,) without NaN; uids: (n,).
    """
    order = sorted(range(len(scores)), key=lambda row: (-scores[row], uids[row]))
    keep = np.zeros(len(scores), bool)
    keep[order[:count]] = True
    return keep


def _first_captions(pairs: PairScores, rows: int) -> Floats:
    first = np.flatnonzero(np.diff(pairs.rows, prepend=-1))
    assert len(first) == rows
    return np.asarray(pairs.right[first])


def agreement(selections: Selections) -> list[Result]:
    """Return for each two filters how their selections and rankings agree."""
    uids = np.array(selections.data.uids, object)
    rows = []
    for number, one in enumerate(selections.filters):
        for other in [*selections.filters[number + 1 :], selections.control]:
            chance = other.name == RANDOM
            rows.append(
                {
                    "one": one.name,
                    "other": other.name,
                    "both": int((one.keep & other.keep).sum()),
                    "jaccard": jaccard(
                        uids[one.keep].tolist(), uids[other.keep].tolist()
                    ),
                    "rank_correlation": None
                    if chance
                    else rank_correlation(one.scores, other.scores),
                }
            )
    return rows


def cluster_rates(selections: Selections, floor: float = 0.1) -> list[Result]:
    """Return each cluster's keep rate by filter, the unequal ones first.

    `deleted_by` names the filters that keep less than `floor` of the cluster's fair
    share, where that share (budget / n of its rows) is three rows or more, of which
    chance would leave none in one cluster of twenty.
    """
    rows = []
    fair = selections.budget / len(selections.data)
    for cluster in np.unique(selections.clusters).tolist():
        inside = selections.clusters == cluster
        size = int(inside.sum())
        rates = {s.name: float(s.keep[inside].mean()) for s in selections.each}
        deleted = [
            s.name
            for s in selections.filters
            if size * fair >= _EXPECTED and rates[s.name] < floor * fair
        ]
        rows.append(
            {
                "cluster": cluster,
                "rows": size,
                "fair_rate": fair,
                "keep_rates": rates,
                "deleted_by": deleted,
                "examples": _captions_of(selections.data, np.flatnonzero(inside)[:4]),
            }
        )

    def unequal(row: Result) -> tuple[int, float, int]:
        rates = [row["keep_rates"][s.name] for s in selections.filters]
        return -len(row["deleted_by"]), -row["rows"] * (max(rates) - min(rates)), 0

    return sorted(rows, key=unequal)


def _captions_of(data: EvaluationSet, rows: Ids) -> list[str]:
    return [data.texts[data.captions[row][0]] for row in rows.tolist()]


def disagreements(selections: Selections, shown: int = _SHOWN) -> list[Result]:
    """Return for each two filters what one keeps and the other drops.

    The rows whose places in the two rankings differ most, by uid where they tie.
    """
    data = selections.data
    places = {s.name: _ranks(s.scores) for s in selections.filters}
    parts = []
    for one in selections.filters:
        for other in selections.filters:
            if one is other:
                continue
            rows = np.flatnonzero(one.keep & ~other.keep)
            gap = places[one.name][rows] - places[other.name][rows]
            order = np.lexsort((rows, -gap))[:shown]
            parts.append(
                {
                    "kept_by": one.name,
                    "dropped_by": other.name,
                    "rows": len(rows),
                    "examples": [
                        {
                            "row": row,
                            "uid": data.uids[row],
                            "caption": _captions_of(data, np.array([row]))[0],
                            "place_kept": float(places[one.name][row]),
                            "place_dropped": float(places[other.name][row]),
                        }
                        for row in rows[order].tolist()
                    ],
                }
            )
    return parts


def _ranks(scores: Floats) -> Floats:
    """Return each score's place in the ranking, 1 at the top and 0 at the bottom."""
    ordered = np.sort(scores)
    below = np.searchsorted(ordered, scores, "left")
    up_to = np.searchsorted(ordered, scores, "right")
    return np.asarray((below + up_to) / (2 * len(scores)))


def pool_areas(selections: Selections) -> list[Result]:
    """Return each filter's areas on the pool's own pairs, right against wrong."""
    return [
        {"model": s.name, **areas(s.pairs)}
        for s in selections.filters
        if s.pairs is not None
    ]
