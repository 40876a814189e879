"""Image-text alignment and its relatives: keep the best by a budget, a threshold, both.

A data filtering network is such a scorer and one cut (Fang et al. 2023, arXiv
2309.17425): the score is the cosine of the two unit vectors. Several scores are mixed
by weights once they are on one scale.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.filter.mixture import (
    MOST_ROWS,
    Scaling,
    integer_moments,
    mix,
    range_scaling,
    standard_scaling,
)
from winnow.config.filter_steps import ScoreConfig
from winnow.core.engine import Frame
from winnow.core.errors import InputError
from winnow.steps.contract import (
    EMBED_RATE,
    ENCODER_LIBRARIES,
    LEDGER_BYTES,
    VECTOR_BYTES,
    Context,
    Contract,
    Outcome,
    Reuse,
    decisions_of,
)
from winnow.steps.embed import embed, store_vectors
from winnow.steps.head_score import weights_state
from winnow.steps.known_vectors import VectorsWanted
from winnow.steps.outside_sets import embeds, state_of
from winnow.steps.score_terms import CHANGED, SCORED, own_spec, score_term
from winnow.steps.selection import Cut, Words, budget_rows, count_unscored, keep_best

_BOTH = ("image", "text")

#: Lists within each other: of boxes, of polygons.
_BOX_DEPTHS = (2, 3)

#: Sums over one batch of rows; integers, so that they add up in any order.
_MOMENTS = pa.schema(
    [("rows", pa.int64()), ("first", pa.int64()), ("second", pa.int64())]
)
#: Batches of a pool, of at least thousands of rows each.
_MOST_BATCHES = 10_000_000


def contract(config: ScoreConfig) -> Contract:
    """Return that the pairs' vectors come in, or the pairs for the filter's model."""
    depends_on, modalities = set(), set()
    if any(term.kind.draws for term in config.parts):
        depends_on.add("seed")
    targets = [term.target for term in config.parts if term.target is not None]
    for term in config.parts:
        if term.kind.variant:
            modalities.add(CHANGED[term.kind.variant])
    masks = _masks(config)
    if config.model is not None:
        modalities |= set(config.read)
    elif modalities or any(embeds(target) for target in targets):
        depends_on.add("model")
    stored = (f"{modality}_vectors" for modality in config.read)
    versions = [f"{term.method} {term.kind.version}" for term in config.parts]
    embeds_itself = config.model is not None
    return Contract(
        modalities=frozenset(modalities),
        columns=() if masks is None else (masks,),
        fits=None if masks is None else partial(_hold_boxes, masks),
        needs=frozenset() if embeds_itself else frozenset(stored),
        provides=frozenset({"scores"}),
        depends_on=frozenset(depends_on),
        version=" ".join([*versions, *map(state_of, targets), *_heads(config)]),
        libraries=ENCODER_LIBRARIES
        if embeds_itself or "model" in depends_on
        else frozenset[str](),
        rate=EMBED_RATE if embeds_itself else None,
        row_bytes=VECTOR_BYTES * len(config.read) if embeds_itself else LEDGER_BYTES,
    )


def reuse(config: ScoreConfig) -> Reuse | None:
    """Return what the vectors that this step makes itself depend on."""
    masks = [name] if (name := _masks(config)) is not None else []
    pairs = ["pairs", *(() if config.read == _BOTH else config.read)]
    if config.model is not None:
        # Which model it is, the fingerprint says already.
        return Reuse([*pairs, *masks], same_rows=False, by_content=True)
    if any(term.kind.variant for term in config.parts):
        return Reuse(["variants", *masks], same_rows=False, by_content=True)
    return None


def _heads(config: ScoreConfig) -> list[str]:
    """Return the state of the files of weights that scores read."""
    return [weights_state(term) for term in config.parts if term.weights is not None]


def _masks(config: ScoreConfig) -> str | None:
    """Return the column of masks that a score reads; the terms name one at most."""
    return next((term.masks for term in config.parts if term.masks is not None), None)


def _hold_boxes(column: str, schema: pa.Schema) -> None:
    """Raise InputError if a column holds neither boxes nor JSON."""
    kind = inner = schema.field(column).type
    depth = 0
    while hasattr(inner, "value_field"):
        inner, depth = inner.value_type, depth + 1
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    numbers = pa.types.is_integer(inner) or pa.types.is_floating(inner)
    lists = depth in _BOX_DEPTHS and (numbers or pa.types.is_null(inner))
    if not (text or lists or pa.types.is_null(inner)):
        raise InputError(
            f"score.masks: the column '{column}' holds {kind}, not boxes; name one of "
            "lists of [x0, y0, x1, y1] or of polygons in pixels, or of their JSON"
        )


def run(context: Context) -> Outcome:
    """Score every pair and cut."""
    engine, config = context.engine, context.config
    pairs, left = _pairs(context)
    scored, facts = _mixture(context, pairs) if config.terms else _alone(context, pairs)
    count = budget_rows(context, config) if config.has_budget else None
    decided = keep_best(
        engine,
        scored,
        Cut(count, config.threshold, config.ties),
        descending=True,
        words=Words("aligned", "low_alignment", "score_nan"),
    )
    return Outcome(
        decisions_of(engine, decided),
        rejects=left.rejects,
        artifacts={**left.artifacts, "scores": "scores"},
        facts={
            **left.facts,
            **facts,
            "budget": count,
            "not_scored": count_unscored(engine, scored),
        },
    )


def _pairs(context: Context) -> tuple[Frame, Outcome]:
    """Return (uid, image, text) vectors, and what embedding them here left behind.

    Of image and text only what the scores are made of.
    """
    engine, config = context.engine, context.config
    if config.model is not None:
        wanted = VectorsWanted(config.read)
        frame, facts = embed(context, context.samples, own_spec(context), wanted)
        left = store_vectors(context, frame, config.read, facts)
        pairs = engine.scan(os.fspath(context.folder / "vectors"))
        return engine.select(pairs, _columns(config.read)), left
    samples = engine.select(context.samples, {"uid": "uid"})
    return engine.join(_stored_pairs(context), samples, "uid", "semi"), Outcome()


def _stored_pairs(context: Context) -> Frame:
    engine, read = context.engine, context.config.read
    if len({context.artifacts[f"{modality}_vectors"] for modality in read}) == 1:
        return engine.select(context.scan(f"{read[0]}_vectors"), _columns(read))
    # Two embed steps, one for each modality.
    image = engine.select(context.vectors("image"), {"uid": "uid", "image": "vector"})
    text = engine.select(context.vectors("text"), {"uid": "uid", "text": "vector"})
    return engine.join(image, text, "uid", "inner")


def _columns(read: Sequence[str]) -> dict[str, str]:
    """Return how pairs name the stored vectors of these modalities."""
    return {"uid": "uid", **{name: f"{name}_vector" for name in read}}


def _alone(context: Context, pairs: Frame) -> tuple[Frame, Mapping[str, Any]]:
    """Return (uid, score) of every pair by the one method."""
    engine, config = context.engine, context.config
    term = score_term(context, pairs, config)
    scored = term.frame
    if config.kind.variant:
        # Rows whose changed picture or caption gave no vector have no score.
        every = engine.select(pairs, {"uid": "uid"})
        scored = engine.join(every, scored, "uid", "left")
    return _stored(context, scored), term.facts


def _mixture(context: Context, pairs: Frame) -> tuple[Frame, Mapping[str, Any]]:
    """Return (uid, score) of every pair: the weighted sum of its normalised terms."""
    engine, config = context.engine, context.config
    table, facts = engine.select(pairs, {"uid": "uid"}), {}
    for term in config.terms:
        rated = score_term(context, pairs, term)
        named = engine.select(rated.frame, {"uid": "uid", term.title: "score"})
        table = engine.join(table, named, "uid", "left")
        facts[term.title] = dict(rated.facts)
    names = tuple(term.title for term in config.terms)
    scalings = _scalings(context, table, names)
    kernel = partial(
        mix_terms,
        names=names,
        weights=tuple(term.weight for term in config.terms),
        scalings=scalings,
    )
    schema = engine.schema(table).append(pa.field("score", pa.float64()))
    for name, scaling in zip(names, scalings, strict=True):
        facts[name] |= {"shift": scaling.shift, "factor": scaling.factor}
    return _stored(context, engine.map_batches(table, kernel, schema)), {"terms": facts}


def _stored(context: Context, scores: Frame) -> Frame:
    """Write uid, terms and score as an artifact; return its (uid, score)."""
    folder = os.fspath(context.folder / "scores")
    context.engine.write(scores, folder, ["uid"])
    return context.engine.scan(folder, SCORED.names)


def _scalings(
    context: Context, table: Frame, names: tuple[str, ...]
) -> tuple[Scaling, ...]:
    """Return how each term is scaled, over the rows that have all terms."""
    engine, config = context.engine, context.config
    if config.normalise == "none":
        return tuple(Scaling(0.0, 1.0) for _ in names)
    whole = engine.map_batches(table, whole_rows, engine.schema(table))
    bounds = engine.aggregate(
        whole,
        None,
        {f"{end}_{name}": (name, end) for name in names for end in ("min", "max")},
    )
    (extremes,) = engine.collect(bounds, 1).to_pylist()
    scalings = []
    for name in names:
        least, most = extremes[f"min_{name}"], extremes[f"max_{name}"]
        to_unit = range_scaling(least or 0.0, most or 0.0)
        if config.normalise == "range":
            scalings.append(to_unit)
            continue
        kernel = partial(sum_moments, name=name, scaling=to_unit)
        sums = engine.collect(
            engine.map_batches(whole, kernel, _MOMENTS), _MOST_BATCHES
        )
        rows, first, second = (sum(sums[n].to_pylist()) for n in _MOMENTS.names)
        scalings.append(standard_scaling(rows, first, second, to_unit))
    return tuple(scalings)


def whole_rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Keep the rows that have every term."""
    for batch in batches:
        yield batch.drop_null()


def sum_moments(
    batches: Iterator[pa.RecordBatch], *, name: str, scaling: Scaling
) -> Iterator[pa.RecordBatch]:
    """Yield one row of integer sums for each batch."""
    for batch in batches:
        for start in range(0, len(batch), MOST_ROWS):
            values = batch.column(name).slice(start, MOST_ROWS).to_numpy()
            first, second = integer_moments(values, scaling)
            row = {"rows": len(values), "first": first, "second": second}
            yield pa.RecordBatch.from_pylist([row], _MOMENTS)


def mix_terms(
    batches: Iterator[pa.RecordBatch],
    *,
    names: tuple[str, ...],
    weights: tuple[float, ...],
    scalings: tuple[Scaling, ...],
) -> Iterator[pa.RecordBatch]:
    """Append the mixture; it is null where a term is."""
    for batch in batches:
        terms = [
            pc.cast(batch.column(name), pa.float64()).to_numpy(zero_copy_only=False)
            for name in names
        ]
        mixed = mix([np.asarray(t, np.float64) for t in terms], weights, scalings)
        yield batch.append_column("score", pa.array(mixed, from_pandas=True))
