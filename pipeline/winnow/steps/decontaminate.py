"""Drop what stands in an evaluation set: same image, near image, or shared words.

Every criterion is tried on every row; `artifacts/decontaminate/removed` lists each hit
with the evaluation item. The first criterion that hits gives the ledger its reason, and
the item, as SET:UID, its twin.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.filter.contamination import nearest_hash, shared_runs
from winnow.algorithms.filter.norm_sim import nearest_target
from winnow.config.filter_steps import DecontaminateConfig
from winnow.core.engine import Frame
from winnow.core.progress import doing
from winnow.core.vectors import to_matrix
from winnow.formats.reader import SampleReader
from winnow.steps.contract import (
    ENCODER_LIBRARIES,
    JUDGED,
    Context,
    Contract,
    Outcome,
    decisions_of,
    judged,
    model_spec,
)
from winnow.steps.evaluation_items import (
    Captions,
    Items,
    evaluation_captions,
    evaluation_hashes,
    evaluation_vectors,
    hash_images,
)
from winnow.steps.outside_sets import embeds, has_captions, has_images, state_of

#: How near a row comes to an evaluation item under one criterion.
_NEAR = pa.schema(
    [
        ("uid", pa.string()),
        ("similarity", pa.float64()),
        ("item", pa.string()),
        ("hit", pa.bool_()),
        ("fault", pa.string()),
        ("valid", pa.bool_()),
    ]
)
_REMOVED = pa.schema(
    [
        ("uid", pa.string()),
        ("criterion", pa.string()),
        ("item", pa.string()),
        ("similarity", pa.float64()),
        ("threshold", pa.float64()),
    ]
)
_MODALITY = {"perceptual_hash": "image", "captions": "text"}


def contract(config: DecontaminateConfig) -> Contract:
    """Return what the chosen criteria read of the pool."""
    by_vectors = "image_vectors" in config.by
    embedding = by_vectors and any(map(embeds, config.against))
    hashing = "perceptual_hash" in config.by
    depends_on = {"model"} if embedding else set()
    if hashing:
        depends_on.add("model.max_pixels")
    return Contract(
        modalities=frozenset(_MODALITY[c] for c in config.by if c in _MODALITY),
        needs=frozenset({"image_vectors"}) if by_vectors else frozenset(),
        depends_on=frozenset(depends_on),
        libraries=(ENCODER_LIBRARIES if embedding else frozenset[str]())
        | (frozenset({"pillow"}) if hashing else frozenset[str]()),
        version=" ".join(state_of(given) for given in config.against),
    )


def run(context: Context) -> Outcome:
    """Compare every row with every evaluation set, criterion by criterion."""
    engine, config = context.engine, context.config
    compared: dict[str, Frame] = {}
    facts: dict[str, Any] = {}
    for criterion in config.by:
        doing(criterion.replace("_", " "))
        compared[criterion], facts[criterion] = _COMPARE[criterion](context)
    table = engine.select(context.samples, {"uid": "uid"})
    rejects = None
    if "perceptual_hash" in compared:
        unread = engine.where(compared["perceptual_hash"], "valid", False)
        rejects = engine.select(unread, {"uid": "uid", "reason": "fault"})
        table = engine.join(table, engine.select(unread, {"uid": "uid"}), "uid", "anti")
    for criterion, frame in compared.items():
        columns = {f"{criterion}_{n}": n for n in ("similarity", "item", "hit")}
        named = engine.select(frame, {"uid": "uid", **columns})
        table = engine.join(table, named, "uid", "left")
    removed = os.fspath(context.folder / "removed")
    listing = partial(list_hits, thresholds=_thresholds(config))
    engine.write(engine.map_batches(table, listing, _REMOVED), removed, ["uid"])
    judging = partial(judge_hits, thresholds=_thresholds(config))
    return Outcome(
        decisions_of(engine, engine.map_batches(table, judging, JUDGED)),
        rejects=rejects,
        artifacts={"removed": "removed"},
        facts={**facts, "removed_by": _removed_by(context, removed)},
    )


def _thresholds(config: DecontaminateConfig) -> dict[str, float | None]:
    """Return the similarity at which each criterion, in their order, hits."""
    every = {
        "image_vectors": 1.0 - config.max_distance,
        "perceptual_hash": 1.0 - config.max_bits / 64,
        # One run in common is enough, whatever share of the caption that is.
        "captions": None,
    }
    return {criterion: every[criterion] for criterion in config.by}


def _removed_by(context: Context, removed: str) -> dict[str, int]:
    engine = context.engine
    counts = engine.aggregate(
        engine.scan(removed), "criterion", {"rows": ("uid", "count")}
    )
    table = engine.collect(counts, 10)
    return dict(zip(*(table[n].to_pylist() for n in table.column_names), strict=True))


def _by_vectors(context: Context) -> tuple[Frame, Mapping[str, Any]]:
    engine, config = context.engine, context.config
    samples = engine.select(context.samples, {"uid": "uid"})
    pool = engine.join(context.vectors("image"), samples, "uid", "semi")
    dim = engine.schema(pool).field("vector").type.list_size
    sets = [g for g in config.against if not embeds(g) or has_images(g)]
    items, facts = evaluation_vectors(sets, model_spec(context.model), dim)
    kernel = partial(near_vectors, items=items, least=1.0 - config.max_distance)
    return engine.map_batches(pool, kernel, _NEAR), facts


def _by_hash(context: Context) -> tuple[Frame, Mapping[str, Any]]:
    config = context.config
    sets = [given for given in config.against if has_images(given)]
    items, facts = evaluation_hashes(sets, context.model.max_pixels)
    kernel = partial(
        near_hashes,
        reader=context.reader,
        items=items,
        most=config.max_bits,
        max_pixels=context.model.max_pixels,
    )
    return _over_samples(context, kernel), facts


def _by_captions(context: Context) -> tuple[Frame, Mapping[str, Any]]:
    config = context.config
    sets = [given for given in config.against if has_captions(given)]
    items, facts = evaluation_captions(sets, config.ngram)
    kernel = partial(
        near_captions, reader=context.reader, items=items, words=config.ngram
    )
    return _over_samples(context, kernel), facts


def _over_samples(context: Context, kernel: Any) -> Frame:
    return context.engine.map_batches(
        context.samples, kernel, _NEAR, order_by=("source", "row")
    )


_COMPARE = {
    "image_vectors": _by_vectors,
    "perceptual_hash": _by_hash,
    "captions": _by_captions,
}


def near_vectors(
    batches: Iterator[pa.RecordBatch], *, items: Items, least: float
) -> Iterator[pa.RecordBatch]:
    """Yield each image's cosine to the nearest evaluation image."""
    for batch in batches:
        cosine, row = nearest_target(to_matrix(batch.column("vector")), items.values)
        yield _near(batch.column("uid"), cosine, items.called(row), cosine >= least)


def near_hashes(
    batches: Iterator[pa.RecordBatch],
    *,
    reader: SampleReader,
    items: Items,
    most: int,
    max_pixels: int,
) -> Iterator[pa.RecordBatch]:
    """Yield the share of equal bits with the nearest evaluation image's hash."""
    for part in reader.read(batches, ("image",)):
        hashes, faults = hash_images(part, max_pixels)
        fault = pc.coalesce(part.column("reason"), faults)
        bits, row = nearest_hash(hashes[:, 0], items.values)
        similar = 1.0 - bits / 64
        yield _near(part.column("uid"), similar, items.called(row), bits <= most, fault)


def near_captions(
    batches: Iterator[pa.RecordBatch],
    *,
    reader: SampleReader,
    items: Captions,
    words: int,
) -> Iterator[pa.RecordBatch]:
    """Yield the share of each caption's runs of words that an evaluation set has."""
    for part in reader.read(batches, ("text",)):
        captions = part.column("text").to_pylist()
        share, owner = shared_runs(captions, words, (items.hashes, items.owners))
        yield _near(part.column("uid"), share, items.called(owner), share > 0)


def _near(
    uid: pa.Array,
    similarity: npt.NDArray[np.float64],
    item: list[str | None],
    hit: npt.NDArray[np.bool_],
    fault: pa.Array | None = None,
) -> pa.RecordBatch:
    reason = pa.nulls(len(uid), pa.string()) if fault is None else fault
    columns = [
        uid.cast(pa.string()),
        pa.array(similarity, pa.float64()),
        pa.array(item, pa.string()),
        pc.and_(pa.array(hit), pc.is_null(reason)),
        reason,
        pc.is_null(reason),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_NEAR)


def list_hits(
    batches: Iterator[pa.RecordBatch], *, thresholds: Mapping[str, float | None]
) -> Iterator[pa.RecordBatch]:
    """Yield a row for each criterion that a sample meets."""
    for batch in batches:
        for criterion, threshold in thresholds.items():
            hit = batch.filter(pc.fill_null(batch.column(f"{criterion}_hit"), False))
            columns = [
                hit.column("uid"),
                pa.array([criterion] * len(hit), pa.string()),
                hit.column(f"{criterion}_item"),
                hit.column(f"{criterion}_similarity"),
                pa.array([threshold] * len(hit), pa.float64()),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=_REMOVED)


def judge_hits(
    batches: Iterator[pa.RecordBatch], *, thresholds: Mapping[str, float | None]
) -> Iterator[pa.RecordBatch]:
    """Drop a sample by its first criterion that hits; keep one without a hit."""
    for batch in batches:
        rows = len(batch)
        keep = pa.array([True] * rows)
        reason = pa.array(["not_in_evaluation"] * rows)
        score = threshold = pa.nulls(rows, pa.float64())
        twin = pa.nulls(rows, pa.string())
        for criterion, bound in thresholds.items():
            hit = pc.fill_null(batch.column(f"{criterion}_hit"), False)
            first = pc.and_(hit, keep)
            value = batch.column(f"{criterion}_similarity")
            keep = pc.and_(keep, pc.invert(hit))
            reason = pc.if_else(first, f"contaminated_{criterion}", reason)
            score = pc.if_else(first, value, score)
            limit = pa.scalar(bound, pa.float64())
            threshold = pc.if_else(first, limit, threshold)
            twin = pc.if_else(first, batch.column(f"{criterion}_item"), twin)
        yield judged(
            batch.column("uid"),
            keep=keep,
            reason=reason,
            score=score,
            threshold=threshold,
            kept_twin=twin,
        )
