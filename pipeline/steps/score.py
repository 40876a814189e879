"""Image-text alignment: keep the best pairs by an exact budget, a threshold, or both.

A data filtering network is such a scorer and one cut (Fang et al. 2023, arXiv
2309.17425): the score is the cosine of the two unit vectors.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.algorithms.filter.alignment import cosine, neg_clip_loss
from pipeline.config.steps import ScoreConfig
from pipeline.core.engine import Frame
from pipeline.core.vectors import to_matrix
from pipeline.steps.embed import embed, store_vectors
from pipeline.steps.selection import (
    Words,
    budget_rows,
    count_unscored,
    keep_best,
    uniform,
)
from pipeline.steps.step import (
    Context,
    Contract,
    Outcome,
    Reuse,
    decisions_of,
    model_spec,
)

_BOTH = ("image", "text")
_PAIR = {"uid": "uid", "image": "image_vector", "text": "text_vector"}
_SCORED = pa.schema([("uid", pa.string()), ("score", pa.float64())])


def contract(config: ScoreConfig) -> Contract:
    """Return that the pairs' vectors come in, or the pairs for the filter's model."""
    draws = config.method == "neg_clip_loss"
    depends_on = frozenset({"seed"}) if draws else frozenset()
    if config.model is None:
        needs = frozenset(f"{modality}_vectors" for modality in _BOTH)
        return Contract(needs=needs, depends_on=depends_on)
    return Contract(frozenset(_BOTH), depends_on=depends_on)


def reuse(config: ScoreConfig) -> Reuse | None:
    """Return what the vectors of the filter's own model depend on."""
    if config.model is None:
        return None
    return Reuse(config.model.model_dump(mode="json"), same_rows=False)


def run(context: Context) -> Outcome:
    """Score every pair and cut."""
    engine, config = context.engine, context.config
    pairs, own = _pairs(context)
    if config.method == "alignment":
        scored = engine.map_batches(pairs, score_pairs, _SCORED)
    else:
        scored = _neg_clip_loss(context, pairs)
    count = budget_rows(context, config) if config.has_budget else None
    decided = keep_best(
        engine,
        scored,
        count,
        descending=True,
        words=Words("aligned", "low_alignment", "score_nan"),
        bound=config.threshold,
    )
    return Outcome(
        decisions_of(engine, decided),
        rejects=own.rejects,
        artifacts=own.artifacts,
        facts={
            **own.facts,
            "budget": count,
            "not_scored": count_unscored(engine, scored),
        },
    )


def _pairs(context: Context) -> tuple[Frame, Outcome]:
    """Return (uid, image, text) vectors, and what embedding them here left behind."""
    engine, config = context.engine, context.config
    if config.model is not None:
        spec = model_spec(config.model)
        frame, facts = embed(context, context.samples, spec, _BOTH)
        own = store_vectors(context, frame, _BOTH, facts)
        pairs = engine.scan(os.fspath(context.folder / "vectors"))
        return engine.select(pairs, _PAIR), own
    samples = engine.select(context.samples, {"uid": "uid"})
    return engine.join(_stored_pairs(context), samples, "uid", "semi"), Outcome()


def _stored_pairs(context: Context) -> Frame:
    engine = context.engine
    if context.artifacts["image_vectors"] == context.artifacts["text_vectors"]:
        return engine.select(context.scan("image_vectors"), _PAIR)
    # Two embed steps, one for each modality.
    image = engine.select(context.vectors("image"), {"uid": "uid", "image": "vector"})
    text = engine.select(context.vectors("text"), {"uid": "uid", "text": "vector"})
    return engine.join(image, text, "uid", "inner")


def score_pairs(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the cosine of each pair; NaN becomes null and is never kept."""
    for batch in batches:
        scores = cosine(
            to_matrix(batch.column("image")), to_matrix(batch.column("text"))
        )
        yield _scored(batch.column("uid"), scores)


def _neg_clip_loss(context: Context, pairs: Frame) -> Frame:
    """Average negCLIPLoss over random batches that are drawn by uid hash.

    Wang et al. 2024 (arXiv 2405.19547), eq. 1 and algorithm 1. A batch is a stretch of
    the hash's range, so its size is `batch` up to sampling noise on every engine.
    """
    engine, config = context.engine, context.config
    batches = max(1, round(context.rows / config.batch))
    total: Frame | None = None
    for repeat in range(config.repeats):
        kernel = partial(
            draw_batch,
            batches=batches,
            salt=f"{context.seed}:{context.step}:{repeat}",
        )
        schema = engine.schema(pairs).append(pa.field("batch", pa.int64()))
        drawn = engine.map_batches(pairs, kernel, schema)
        loss = partial(score_batch, temperature=config.temperature)
        scores = engine.map_groups(drawn, "batch", loss, _SCORED)
        named = engine.select(scores, {"uid": "uid", f"score_{repeat}": "score"})
        total = named if total is None else engine.join(total, named, "uid", "inner")
    return engine.map_batches(total, mean_score, _SCORED)


def draw_batch(
    rows: Iterator[pa.RecordBatch], *, batches: int, salt: str
) -> Iterator[pa.RecordBatch]:
    """Append the random batch that each row belongs to."""
    for part in rows:
        place = uniform(part.column("uid").to_pylist(), salt)
        batch = np.floor(place * batches).astype(np.int64)
        yield part.append_column("batch", pa.array(batch))


def score_batch(batch: pa.Table, *, temperature: float) -> pa.Table:
    """Return the negCLIPLoss of one batch, its rows in uid order."""
    batch = batch.sort_by("uid")
    scores = neg_clip_loss(
        to_matrix(batch["image"]), to_matrix(batch["text"]), temperature
    )
    return pa.Table.from_batches([_scored(batch["uid"].combine_chunks(), scores)])


def mean_score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Average the repeats, in their order."""
    for batch in batches:
        repeats = [
            batch.column(n).to_numpy(zero_copy_only=False)
            for n in batch.schema.names
            if n != "uid"
        ]
        yield _scored(batch.column("uid"), np.mean(repeats, axis=0))


def _scored(uid: pa.Array, scores: npt.NDArray[np.float64]) -> pa.RecordBatch:
    values = pa.array(scores, pa.float64(), from_pandas=True)
    return pa.RecordBatch.from_arrays([uid.cast(pa.string()), values], schema=_SCORED)
