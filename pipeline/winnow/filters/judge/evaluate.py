"""A filter's held-out figures: `winnow filter eval`.

1. Captions and groups of each domain are read, images and captions embedded.
2. Every right pair gets a random and two hard wrong captions, within its domain.
3. Figures are taken for each domain, cluster, group and repeated caption.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from winnow.config.filter_steps import OutsideSet
from winnow.core.errors import ConfigError
from winnow.filters.judge import figures
from winnow.filters.judge.caption_groups import REPEATS, caption_groups
from winnow.filters.judge.evaluation_set import (
    EvaluationColumns,
    EvaluationSet,
    Ids,
    Matrix,
    load_set,
    model_of,
    with_image_vectors,
)
from winnow.filters.judge.leakage import Distances, leakage
from winnow.filters.judge.pair_scores import (
    PairScores,
    image_clusters,
    retrieval,
    score_pairs,
)
from winnow.models.encoder import ModelSpec, load_encoder

Result = dict[str, Any]

_EXAMPLES = 4


@dataclass(frozen=True)
class Evaluation:
    """How `evaluate_filter` evaluates: columns, rows, and what to compare with.

    columns: what the columns of the data mean.
    only: uids of the images to take. None: all.
    k: precision is taken among the k best of right and as many random pairs. None:
        half of all.
    train: data that the filter was trained on, in which no image of the evaluation may
        stand; paths.
    distances: up to where two images are the same.
    repeats: a caption that more images carry counts as boilerplate.
    precision: in which the model computes: `auto`, `float32`, `bfloat16`, `float16`.

    >>> winnow.Evaluation(k=100).precision
    'auto'
    """

    columns: EvaluationColumns = field(default_factory=EvaluationColumns)
    only: Collection[str] | None = None
    k: int | None = None
    train: tuple[str, ...] = ()
    distances: Distances = field(default_factory=Distances)
    repeats: int = REPEATS
    precision: str = "auto"


@dataclass(frozen=True)
class Judged:
    """A domain with its vectors, scores and places of right answers."""

    data: EvaluationSet
    images: Matrix
    clusters: Ids
    pairs: PairScores
    image_places: Ids
    text_places: Ids
    candidates: int


def evaluate(
    model: str,
    paths: Sequence[str],
    how: Evaluation | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Result, list[Judged]]:
    """Return a filter's figures on one or several domains, and what they come from.

    Raises ConfigError for a model or column that is not there, InputError for data that
    cannot be used.
    """
    how = how or Evaluation()
    _require_names(paths)
    spec = model_of(model, how.precision)
    load_encoder(spec)
    domains = []
    for path in paths:
        tell(f"reading {path}")
        data = load_set(path, how.columns, how.only)
        domains.append(judge(data, spec, tell))
    result = _whole(model, domains, how)
    if how.train:
        result["leakage"] = [
            leakage(judged.data, judged.images, spec, train, how.distances)
            for judged in domains
            for train in how.train
        ]
    result["model_identity"] = load_encoder(spec).identity
    return result, domains


def _require_names(paths: Sequence[str]) -> None:
    """Refuse two data sets of one name, whose figures could not be told apart."""
    titles = Counter(OutsideSet(path=path).title for path in paths)
    repeated = [title for title, times in titles.items() if times > 1]
    if repeated:
        raise ConfigError(
            f"two of the data sets are called '{repeated[0]}'; rename a folder"
        )


def judge(
    data: EvaluationSet, spec: ModelSpec, tell: Callable[[str], None] = lambda _: None
) -> Judged:
    """Embed a domain and score its right and wrong pairs."""
    tell(f"embedding {len(data):,} images of {data.name}")
    data, images = with_image_vectors(data, spec)
    clusters = image_clusters(data, images)
    tell(f"embedding the captions of {data.name}, right and changed ones")
    pairs, vectors = score_pairs(data, spec, images, clusters)
    image_places, text_places, candidates = retrieval(data, images, vectors)
    return Judged(data, images, clusters, pairs, image_places, text_places, candidates)


def _whole(model: str, domains: list[Judged], how: Evaluation) -> Result:
    parts = [_domain(judged, how) for judged in domains]
    whole = parts[0] if len(parts) == 1 else _pooled(domains, how)
    head = {
        "model": model,
        "data": [judged.data.given.path for judged in domains],
        **{name: value for name, value in whole.items() if name != "group"},
    }
    if len(parts) > 1:
        brief = [{n: v for n, v in p.items() if n not in _LONG} for p in parts]
        head["domains"] = figures.with_drops(brief)
        head["details"] = {part["group"]: part for part in parts}
    return head


_LONG = ("clusters", "by", "caption_groups", "histogram", "calibration", "bar_edges")


def _domain(judged: Judged, how: Evaluation) -> Result:
    data, pairs = judged.data, judged.pairs
    cluster_names = [f"{number}" for number in judged.clusters.tolist()]
    return {
        "group": data.name,
        "n": len(data),
        "pairs": len(pairs.right),
        **figures.areas(pairs),
        **figures.precisions(pairs, how.k),
        **_recalls(judged),
        "unusable": data.unusable,
        "pairs_without": _without(pairs),
        "calibration": figures.calibration(data, pairs),
        "histogram": figures.histogram(pairs),
        "bar_edges": figures.bar_edges(pairs),
        "clusters": [
            {**row, "examples": _examples(judged, int(row["group"]))}
            for row in figures.by_group(pairs, cluster_names)
        ],
        "by": {
            name: figures.by_group(pairs, values)
            for name, values in data.groups.items()
        },
        "caption_groups": caption_groups(data, pairs, how.repeats),
    }


def _recalls(judged: Judged) -> Result:
    """Return R@k from image to caption, and the other direction below its name."""
    return {
        **figures.recall_figures(judged.image_places),
        "text_to_image": figures.recall_figures(judged.text_places),
        "retrieval_images": judged.candidates,
        "retrieval_captions": len(judged.text_places),
    }


def _without(pairs: PairScores) -> dict[str, int]:
    """Return for how many pairs no wrong caption of a kind could be found."""
    return {
        name: int(np.isnan(getattr(pairs, name)).sum())
        for name in ("random", "same_cluster", "swapped")
    }


def _examples(judged: Judged, cluster: int) -> list[str]:
    """Return captions of the first images of a cluster, by uid."""
    rows = np.flatnonzero(judged.clusters == cluster)[:_EXAMPLES]
    return [judged.data.texts[judged.data.captions[row][0]] for row in rows.tolist()]


def _pooled(domains: list[Judged], how: Evaluation) -> Result:
    """Return figures over the pairs of all domains; wrong captions are of their own."""
    sizes = [len(judged.data) for judged in domains]
    pooled = PairScores.joined([judged.pairs for judged in domains], sizes)
    images = np.concatenate([judged.image_places for judged in domains])
    texts = np.concatenate([judged.text_places for judged in domains])
    return {
        "n": sum(sizes),
        "pairs": len(pooled.right),
        **figures.areas(pooled),
        **figures.precisions(pooled, how.k),
        **figures.recall_figures(images),
        "text_to_image": figures.recall_figures(texts),
        "pairs_without": _without(pooled),
        "histogram": figures.histogram(pooled),
    }
