"""Scores of right pairs and of wrong ones: random, of the same cluster, swapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from winnow.algorithms.filter.alignment import cosine
from winnow.algorithms.filter.hard_negatives import (
    Vocabulary,
    strangers,
    swapped,
    vocabulary,
    words_of,
)
from winnow.algorithms.filter.ranking_quality import recalls
from winnow.core.hashing import keys
from winnow.filters.judge.evaluation_set import EvaluationSet, Ids, Matrix, text_vectors
from winnow.models.encoder import ModelSpec
from winnow.models.kmeans import default_k, train_kmeans

Floats = npt.NDArray[np.float64]

_CLUSTER_SAMPLE = 100_000
#: Images and captions among which one is looked for.
MOST_CANDIDATES = 10_000
_BLOCK_ROWS = 512


@dataclass(frozen=True)
class PairScores:
    """m pairs of an image and a right caption of it, and what stands against them.

    rows, texts: (m,) image and caption; right: (m,) cosines; random, same_cluster,
    swapped: (m,) cosines of the image to a wrong caption, NaN where there is none.
    """

    rows: Ids
    texts: Ids
    right: Floats
    random: Floats
    same_cluster: Floats
    swapped: Floats
    #: The captions with a changed word; None where none could be changed.
    changed: list[str | None]

    def of(self, chosen: npt.NDArray[np.bool_]) -> PairScores:
        """Return some of the pairs."""
        numbers = np.flatnonzero(chosen).tolist()
        return PairScores(
            self.rows[chosen],
            self.texts[chosen],
            self.right[chosen],
            self.random[chosen],
            self.same_cluster[chosen],
            self.swapped[chosen],
            [self.changed[number] for number in numbers],
        )

    @classmethod
    def joined(cls, parts: Sequence[PairScores], images: Sequence[int]) -> PairScores:
        """Return the pairs of several sets, whose images are numbered on."""
        offsets = np.cumsum([0, *images])
        return cls(
            np.concatenate([p.rows + o for p, o in zip(parts, offsets, strict=False)]),
            np.concatenate([part.texts for part in parts]),
            np.concatenate([part.right for part in parts]),
            np.concatenate([part.random for part in parts]),
            np.concatenate([part.same_cluster for part in parts]),
            np.concatenate([part.swapped for part in parts]),
            [text for part in parts for text in part.changed],
        )

    @property
    def hard(self) -> Floats:
        """All hard wrong pairs' scores."""
        both = np.concatenate([self.same_cluster, self.swapped])
        return np.asarray(both[~np.isnan(both)])


def image_clusters(data: EvaluationSet, images: Matrix, seed: int = 0) -> Ids:
    """Return each image's cluster by spherical k-means with √n clusters: (n,)."""
    order = np.argsort(data.keys("cluster sample"), kind="stable")[:_CLUSTER_SAMPLE]
    sample = images[np.sort(order)].astype(np.float32)
    centroids = train_kmeans(sample, default_k(len(data)), seed=seed)
    places = np.empty(len(data), np.int64)
    for start in range(0, len(data), _BLOCK_ROWS):
        part = images[start : start + _BLOCK_ROWS].astype(np.float32)
        places[start : start + _BLOCK_ROWS] = (part @ centroids.T).argmax(axis=1)
    return places


def score_pairs(
    data: EvaluationSet, spec: ModelSpec, images: Matrix, clusters: Ids
) -> tuple[PairScores, Matrix]:
    """Score every right pair and three wrong ones; also return the captions' vectors.

    images: (n, dim) unit vectors; clusters: (n,). Every caption of an image makes a
    pair. Against it stand a caption of a random image, one of another image of its
    cluster, and itself with a noun or number changed; none of them is a caption of
    the image.
    """
    rows = np.repeat(np.arange(len(data)), [len(ids) for ids in data.captions])
    texts = np.array([text for ids in data.captions for text in ids], np.int64)
    slots = np.concatenate([np.arange(len(ids)) for ids in data.captions])
    changed = _changed(data, clusters, rows, texts)
    known = dict(zip(data.texts, range(len(data.texts)), strict=True))
    extra: dict[str, int] = {}
    for text in changed:
        if text is not None and text not in known:
            extra.setdefault(text, len(known) + len(extra))
    number = known | extra
    vectors = text_vectors([*data.texts, *extra], spec)
    caption_sets = [frozenset(ids) for ids in data.captions]
    nobody = np.zeros(len(data), np.int64)
    partners = {
        "random": strangers(data.keys("random caption"), nobody, caption_sets),
        "same_cluster": strangers(data.keys("cluster caption"), clusters, caption_sets),
    }
    wrong = {
        name: _partner_captions(data, partner[rows], slots)
        for name, partner in partners.items()
    }
    wrong["swapped"] = np.array(
        [-1 if text is None else number[text] for text in changed], np.int64
    )
    scores = {name: _cosines(images, vectors, rows, ids) for name, ids in wrong.items()}
    right = _cosines(images, vectors, rows, texts)
    scored = PairScores(rows, texts, right, changed=changed, **scores)
    return scored, vectors[: len(data.texts)]


def score_random_pairs(
    data: EvaluationSet, spec: ModelSpec, images: Matrix
) -> tuple[Floats, Floats, Matrix]:
    """Return right and random pairs' scores, as `score_pairs`, and caption vectors."""
    rows = np.repeat(np.arange(len(data)), [len(ids) for ids in data.captions])
    texts = np.array([text for ids in data.captions for text in ids], np.int64)
    slots = np.concatenate([np.arange(len(ids)) for ids in data.captions])
    caption_sets = [frozenset(ids) for ids in data.captions]
    partner = strangers(
        data.keys("random caption"), np.zeros(len(data), np.int64), caption_sets
    )
    vectors = text_vectors(data.texts, spec)
    random = _partner_captions(data, partner[rows], slots)
    right = _cosines(images, vectors, rows, texts)
    return right, _cosines(images, vectors, rows, random), vectors


def _partner_captions(data: EvaluationSet, partner: Ids, slots: Ids) -> Ids:
    """Return a caption of each pair's partner: the one of the pair's own number."""
    return np.array(
        [
            data.captions[row][slot % len(data.captions[row])] if row >= 0 else -1
            for row, slot in zip(partner.tolist(), slots.tolist(), strict=True)
        ],
        np.int64,
    )


def _cosines(images: Matrix, vectors: Matrix, rows: Ids, texts: Ids) -> Floats:
    scores = np.full(len(rows), np.nan)
    there = np.flatnonzero(texts >= 0)
    for start in range(0, len(there), 4096):
        part = there[start : start + 4096]
        scores[part] = cosine(images[rows[part]], vectors[texts[part]])
    return scores


def _changed(
    data: EvaluationSet, clusters: Ids, rows: Ids, texts: Ids
) -> list[str | None]:
    """Return each pair's caption with a word of another caption of its cluster."""
    known: dict[int, Vocabulary] = {}
    for cluster in np.unique(clusters).tolist():
        members = np.flatnonzero(clusters == cluster).tolist()
        known[cluster] = vocabulary(
            data.texts[text] for row in members for text in data.captions[row]
        )
    right = [words_of(data.texts[text] for text in ids) for ids in data.captions]
    salted = keys(
        (
            f"{data.uids[row]}\n{data.texts[text]}"
            for row, text in zip(rows.tolist(), texts.tolist(), strict=True)
        ),
        "changed word",
    )
    return [
        swapped(data.texts[text], known[int(clusters[row])], right[row], int(key))
        for row, text, key in zip(
            rows.tolist(), texts.tolist(), salted.tolist(), strict=True
        )
    ]


def retrieval(
    data: EvaluationSet, images: Matrix, vectors: Matrix
) -> tuple[Ids, Ids, int]:
    """Return the places of right answers, from 1: of images, of captions; and rows.

    Each image looks for its captions among all captions, each caption for its images
    among all images, of at most 10,000 images that are drawn by uid hash.
    """
    order = np.argsort(data.keys("retrieval"), kind="stable")[:MOST_CANDIDATES]
    rows = np.sort(order).tolist()
    caption_ids = [data.captions[row] for row in rows]
    used = sorted({text for ids in caption_ids for text in ids})
    column = {text: number for number, text in enumerate(used)}
    right = np.zeros((len(rows), len(used)), bool)
    for image, ids in enumerate(caption_ids):
        right[image, [column[text] for text in ids]] = True
    left = images[rows].astype(np.float32)
    other = vectors[used].astype(np.float32)
    return _places(left, other, right), _places(other, left, right.T), len(rows)


def _places(
    queries: npt.NDArray[np.float32],
    candidates: npt.NDArray[np.float32],
    right: npt.NDArray[np.bool_],
) -> Ids:
    parts = [
        recalls(
            queries[start : start + _BLOCK_ROWS] @ candidates.T,
            right[start : start + _BLOCK_ROWS],
        )
        for start in range(0, len(queries), _BLOCK_ROWS)
    ]
    return np.concatenate(parts)
