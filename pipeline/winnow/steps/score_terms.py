"""The kinds of scores: each turns pairs of vectors into (uid, score)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.algorithms.filter.alignment import cosine, neg_clip_loss
from winnow.algorithms.filter.norm_sim import (
    nearest_target,
    norm_sim_2,
    norm_sim_inf,
    target_gram,
    variance_alignment,
)
from winnow.config.filter_steps import ScoreTerm
from winnow.core.engine import Engine, Frame
from winnow.core.errors import ConfigError
from winnow.core.extensions import load_part
from winnow.core.vectors import to_matrix
from winnow.models.encoder import ModelSpec, load_encoder
from winnow.steps.cluster_ranks import uniform
from winnow.steps.contract import Context, model_spec
from winnow.steps.embed import embed, store_contents
from winnow.steps.known_vectors import Variant, VectorsWanted, vectors_folder
from winnow.steps.outside_sets import outside_vectors

SCORED = pa.schema([("uid", pa.string()), ("score", pa.float64())])
#: Reasons that rows may have, with their details.
_MOST_REASONS = 10_000_000

#: The modality that a variant changes.
CHANGED: Mapping[Variant, str] = {
    "mirrored": "image",
    "no_digits": "text",
    "masked": "image",
}


@dataclass(frozen=True)
class Scored:
    """(uid, score) of one kind; rows may be absent, their score is unknown then."""

    frame: Frame
    facts: Mapping[str, Any]


def score_term(context: Context, pairs: Frame, term: ScoreTerm) -> Scored:
    """Score (uid, image, text) pairs by one method."""
    scored: Scored = load_part(term.kind.score)(context, pairs, term)
    return scored


def own_spec(context: Context) -> ModelSpec:
    """Return the model that the pairs' vectors come from."""
    return model_spec(context.config.model or context.model)


def alignment(context: Context, pairs: Frame, term: ScoreTerm) -> Scored:
    """Score by the cosine of the two vectors."""
    return Scored(context.engine.map_batches(pairs, score_pairs, SCORED), {})


def changed_alignment(context: Context, pairs: Frame, term: ScoreTerm) -> Scored:
    """Score with vectors of changed images or captions, stored beside the others."""
    engine = context.engine
    variant = term.kind.variant
    assert variant is not None
    changed = CHANGED[variant]
    spec = own_spec(context)
    dim = load_encoder(spec).dim
    stored = engine.schema(pairs).field(changed).type.list_size
    if dim != stored:
        raise ConfigError(
            f"{context.step}: {term.method} embeds by {spec.name}, whose vectors have "
            f"{dim} numbers, but those of the pool have {stored}; name their model "
            "under model"
        )
    vectors = os.fspath(context.folder / vectors_folder(variant))
    paired = engine.select(pairs, {"uid": "uid"})
    samples = engine.join(context.samples, paired, "uid", "semi")
    wanted = VectorsWanted((changed,), variant, term.masks)
    frame, facts = embed(context, samples, spec, wanted)
    good = engine.where(frame, "valid", True)
    column = f"{changed}_vector"
    engine.write(engine.select(good, {"uid": "uid", column: column}), vectors, ())
    store_contents(context, good, variant)
    others = [name for name in ("uid", "image", "text") if name != changed]
    both = engine.join(
        engine.select(pairs, {name: name for name in others}),
        engine.select(engine.scan(vectors), {"uid": "uid", changed: column}),
        "uid",
        "inner",
    )
    without = _reasons(engine, engine.where(frame, "valid", False))
    return Scored(
        engine.map_batches(both, score_pairs, SCORED),
        {**facts, **({"without_vector": without} if without else {})},
    )


def _reasons(engine: Engine, bad: Frame) -> Mapping[str, int]:
    """Return how many rows have no vector, by the reason without its details."""
    counts: Counter[str] = Counter()
    told = engine.aggregate(bad, "reason", {"rows": ("uid", "count")})
    for row in engine.collect(told, _MOST_REASONS).to_pylist():
        counts[row["reason"].partition(":")[0]] += row["rows"]
    return dict(sorted(counts.items()))


def neg_clip_loss_of(context: Context, pairs: Frame, term: ScoreTerm) -> Scored:
    """Average negCLIPLoss over random batches that are drawn by uid hash.

    Wang et al. 2024 (arXiv 2405.19547), eq. 1 and algorithm 1. A batch is a stretch of
    the hash's range, so its size is `batch` up to sampling noise on every engine.
    """
    engine = context.engine
    batches = max(1, round(context.rows / term.batch))
    total: Frame | None = None
    for repeat in range(term.repeats):
        kernel = partial(
            draw_batch,
            batches=batches,
            salt=f"{context.seed}:{context.step}:{repeat}",
        )
        schema = engine.schema(pairs).append(pa.field("batch", pa.int64()))
        drawn = engine.map_batches(pairs, kernel, schema)
        loss = partial(score_batch, temperature=term.temperature)
        scores = engine.map_groups(drawn, "batch", loss, SCORED)
        named = engine.select(scores, {"uid": "uid", f"score_{repeat}": "score"})
        total = named if total is None else engine.join(total, named, "uid", "inner")
    return Scored(engine.map_batches(total, mean_score, SCORED), {"batches": batches})


def norm_sim(context: Context, pairs: Frame, term: ScoreTerm) -> Scored:
    """Score images by their similarity to the target set (arXiv 2405.19547, §3.2)."""
    assert term.target is not None
    dim = context.engine.schema(pairs).field("image").type.list_size
    target = outside_vectors(term.target, own_spec(context), dim)
    if term.p == "inf":
        kernel = partial(score_nearest, targets=target.matrix)
    elif term.p == "abs_inf":
        kernel = partial(score_norm_inf, targets=target.matrix)
    else:
        kernel = partial(score_norm_2, gram=target_gram(target.matrix))
    frame = context.engine.map_batches(pairs, kernel, SCORED)
    return Scored(frame, {"target": {"path": term.target.path, **target.facts}})


def vas(context: Context, pairs: Frame, term: ScoreTerm) -> Scored:
    """Score images by the target's variance in their direction (arXiv 2402.02055)."""
    assert term.target is not None
    dim = context.engine.schema(pairs).field("image").type.list_size
    target = outside_vectors(term.target, own_spec(context), dim)
    kernel = partial(
        score_variance, gram=target_gram(target.matrix), count=len(target.names)
    )
    frame = context.engine.map_batches(pairs, kernel, SCORED)
    return Scored(frame, {"target": {"path": term.target.path, **target.facts}})


def score_variance(
    batches: Iterator[pa.RecordBatch], *, gram: npt.NDArray[np.float64], count: int
) -> Iterator[pa.RecordBatch]:
    """Yield Variance Alignment Scores."""
    for batch in batches:
        images = to_matrix(batch.column("image"))
        yield scored_batch(batch.column("uid"), variance_alignment(images, gram, count))


def score_pairs(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the cosine of each pair; NaN becomes null and is never kept."""
    for batch in batches:
        scores = cosine(
            to_matrix(batch.column("image")), to_matrix(batch.column("text"))
        )
        yield scored_batch(batch.column("uid"), scores)


def score_nearest(
    batches: Iterator[pa.RecordBatch], *, targets: npt.NDArray[np.float16]
) -> Iterator[pa.RecordBatch]:
    """Yield each image's largest cosine to a target, signed."""
    for batch in batches:
        scores, _ = nearest_target(to_matrix(batch.column("image")), targets)
        yield scored_batch(batch.column("uid"), scores)


def score_norm_inf(
    batches: Iterator[pa.RecordBatch], *, targets: npt.NDArray[np.float16]
) -> Iterator[pa.RecordBatch]:
    """Yield each image's largest absolute cosine to a target: NormSim with p = ∞."""
    for batch in batches:
        scores = norm_sim_inf(to_matrix(batch.column("image")), targets)
        yield scored_batch(batch.column("uid"), scores)


def score_norm_2(
    batches: Iterator[pa.RecordBatch], *, gram: npt.NDArray[np.float64]
) -> Iterator[pa.RecordBatch]:
    """Yield the 2-norm of each image's cosines to all targets."""
    for batch in batches:
        scores = norm_sim_2(to_matrix(batch.column("image")), gram)
        yield scored_batch(batch.column("uid"), scores)


def draw_batch(
    rows: Iterator[pa.RecordBatch], *, batches: int, salt: str
) -> Iterator[pa.RecordBatch]:
    """Append the random batch that each row belongs to."""
    for part in rows:
        position = uniform(part.column("uid").to_pylist(), salt)
        batch = np.floor(position * batches).astype(np.int64)
        yield part.append_column("batch", pa.array(batch))


def score_batch(batch: pa.Table, *, temperature: float) -> pa.Table:
    """Return the negCLIPLoss of one batch, its rows in uid order."""
    batch = batch.sort_by("uid")
    scores = neg_clip_loss(
        to_matrix(batch["image"]), to_matrix(batch["text"]), temperature
    )
    return pa.Table.from_batches([scored_batch(batch["uid"].combine_chunks(), scores)])


def mean_score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Average the repeats, in their order."""
    for batch in batches:
        repeats = [
            batch.column(n).to_numpy(zero_copy_only=False)
            for n in batch.schema.names
            if n != "uid"
        ]
        # One by one: NumPy sums a batch of a single row in another order.
        mean = reduce(np.add, repeats) / len(repeats)
        yield scored_batch(batch.column("uid"), mean)


def scored_batch(uid: pa.Array, scores: npt.NDArray[np.float64]) -> pa.RecordBatch:
    """Return (uid, score) rows; NaN becomes null."""
    values = pa.array(scores, pa.float64(), from_pandas=True)
    return pa.RecordBatch.from_arrays([uid.cast(pa.string()), values], schema=SCORED)
