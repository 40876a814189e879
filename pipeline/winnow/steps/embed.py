"""Vectors of images and captions, by an open_clip model or ready-made.

The pool is worked through in parts of whole shards; a part that is on disk is not
embedded again, so that a killed run goes on where it was. Vectors of rows that were
embedded under the same model in an earlier run of this step are taken over, and those
of equal contents from runs over other pools, or over this one before it grew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from winnow.config.steps import EmbedConfig
from winnow.core.engine import Frame
from winnow.core.errors import ConservationError
from winnow.core.hashing import fingerprint
from winnow.core.progress import doing, one_pass, rows_done
from winnow.formats import npz_features
from winnow.formats.clip_retrieval import ClipRetrieval, state_of
from winnow.formats.reader import SampleReader
from winnow.models.embed import embed_batches, output_schema
from winnow.models.encoder import ModelSpec, load_encoder
from winnow.steps.contract import (
    EMBED_RATE,
    ENCODER_LIBRARIES,
    VECTOR_BYTES,
    Context,
    Contract,
    Outcome,
    Reuse,
    model_spec,
)
from winnow.steps.known_vectors import (
    CONTENT,
    Variant,
    VectorsWanted,
    content_digests,
    contents_folder,
    known_vectors,
)
from winnow.steps.ready_vectors import ready_vectors

# For each kernel that runs at a time.
_PART_ROWS = 4_000
# Vectors that exist already, copied: rows per second on two cores.
_READY_RATE = 50_000


def contract(config: EmbedConfig) -> Contract:
    """Return what is read: samples, vector columns, or nothing of the shards."""
    given = {"image": config.image_column, "text": config.text_column}
    columns = tuple(given[m] or "" for m in config.modalities if given[m])
    if config.clip_retrieval:
        # What is wrong with the files is told before anything runs.
        folder = Path(config.clip_retrieval)
        ClipRetrieval.find(folder, config.clip_retrieval_uid, config.modalities)
    version = state_of(config.clip_retrieval) if config.clip_retrieval else ""
    if config.npz:
        version = npz_features.state_of(config.npz)
    return Contract(
        modalities=frozenset() if config.ready_made else frozenset(config.modalities),
        columns=columns,
        vectors=columns,
        provides=frozenset(f"{m}_vectors" for m in config.modalities),
        depends_on=frozenset() if config.ready_made else frozenset({"model"}),
        decides=False,
        libraries=frozenset() if config.ready_made else ENCODER_LIBRARIES,
        rate=_READY_RATE if config.ready_made else EMBED_RATE,
        row_bytes=VECTOR_BYTES * len(config.modalities),
        version=version,
    )


def reuse(config: EmbedConfig) -> Reuse | None:
    """Return what a row's vector depends on besides model and input."""
    if config.ready_made:
        return None
    return Reuse(config.model_dump(mode="json"), same_rows=False, by_content=True)


def run(context: Context) -> Outcome:
    """Embed what has no vector yet; write vectors and rejects."""
    config: EmbedConfig = context.config
    if config.ready_made:
        frame, facts = ready_vectors(context)
    else:
        spec = model_spec(context.model)
        wanted = VectorsWanted(config.modalities)
        frame, facts = embed(context, context.samples, spec, wanted)
    return store_vectors(context, frame, config.modalities, facts)


def store_vectors(
    context: Context,
    frame: Frame,
    modalities: tuple[str, ...],
    facts: Mapping[str, Any],
) -> Outcome:
    """Write the good vectors as the step's artifact; the others are rejects."""
    engine = context.engine
    good = engine.where(frame, "valid", True)
    bad = engine.where(frame, "valid", False)
    names = ["uid", *(f"{m}_vector" for m in modalities)]
    stored = engine.write(
        engine.select(good, {name: name for name in names}),
        os.fspath(context.folder / "vectors"),
        (),
    )
    if stored + engine.count(bad) != context.rows:
        raise ConservationError(
            f"{context.step}: {context.rows} rows entered and {stored} vectors came "
            "out; is a uid stored twice among ready-made vectors?"
        )
    store_contents(context, good, "plain")
    return Outcome(
        rejects=engine.select(bad, {"uid": "uid", "reason": "reason"}),
        artifacts={f"{m}_vectors": "vectors" for m in modalities},
        facts=facts,
    )


def store_contents(context: Context, good: Frame, variant: Variant) -> None:
    """Write which contents the good vectors are of; ready-made ones are of none."""
    engine = context.engine
    if CONTENT in engine.schema(good).names:
        contents = engine.select(good, {"uid": "uid", CONTENT: CONTENT})
        engine.write(contents, os.fspath(context.folder / contents_folder(variant)), ())


def embed(
    context: Context,
    samples: Frame,
    spec: ModelSpec,
    wanted: VectorsWanted,
) -> tuple[Frame, Mapping[str, Any]]:
    """Return (uid, vectors…, reason, valid) of `samples`, and the model's identity."""
    engine = context.engine
    encoder = load_encoder(spec)
    schema = output_schema(encoder.dim, wanted.modalities)
    schema = schema.append(pa.field(CONTENT, pa.binary()))
    schema = schema.append(pa.field("valid", pa.bool_()))
    kernel = partial(
        embed_samples,
        reader=context.reader,
        spec=spec,
        wanted=wanted,
        threads=context.model.decode_threads,
    )
    old, todo = known_vectors(context, samples, wanted)
    valid = partial(as_valid, names=tuple(wanted.columns))

    def part_rows(sources: list[str], path: str) -> int:
        """Embed the rows of some shards unless that is done; return how many."""
        if os.path.isdir(path):
            return engine.count(engine.scan(path))
        table = pa.table({"source": pa.array(sources, pa.string())})
        part = engine.join(todo, engine.from_table(table), "source", "semi")
        embedded = engine.map_batches(part, kernel, schema, order_by=("source", "row"))
        return engine.write(embedded, path, ())

    variant = wanted.variant
    doing("" if variant == "plain" else f"vectors with {variant} input")
    with one_pass() as this:
        frames = [engine.map_batches(rows, valid, schema) for rows in old]
        for sources in _parts(context.shard_rows, _PART_ROWS * engine.slots):
            name = f"part-{fingerprint(' '.join(sources))[:16]}"
            path, before = os.fspath(context.parts / variant / name), this.done
            this.reached(before + part_rows(sources, path))
            frames.append(engine.scan(path))
    return engine.union(frames), {"model": encoder.identity}


def embed_samples(
    batches: Iterator[pa.RecordBatch],
    *,
    reader: SampleReader,
    spec: ModelSpec,
    wanted: VectorsWanted,
    threads: int | None,
) -> Iterator[pa.RecordBatch]:
    """Read and embed references; unreadable rows keep the reader's own reason."""
    unread: dict[str, str] = {}
    contents: dict[str, bytes] = {}

    def readable() -> Iterator[pa.RecordBatch]:
        # They are done when they are embedded, not when they are read.
        for part in wanted.read(replace(reader, counted=False), batches):
            faults = part.filter(pc.is_valid(part.column("reason")))
            unread.update(
                zip(
                    faults.column("uid").to_pylist(),
                    faults.column("reason").to_pylist(),
                    strict=True,
                )
            )
            given = part.drop_columns(["reason"])
            digests = content_digests(given, wanted.modalities)
            contents.update(zip(given.column("uid").to_pylist(), digests, strict=True))
            yield without_digits(given) if wanted.variant == "no_digits" else given

    for batch in embed_batches(
        readable(),
        spec=spec,
        modalities=wanted.modalities,
        threads=threads,
        mirrored=wanted.variant == "mirrored",
        masked=wanted.masks is not None,
    ):
        uids = batch.column("uid").to_pylist()
        reasons = batch.column("reason").to_pylist()
        reason = pa.array(
            [unread.pop(u, r) for u, r in zip(uids, reasons, strict=True)], pa.string()
        )
        index = batch.schema.get_field_index("reason")
        content = pa.array([contents.pop(uid) for uid in uids], pa.binary())
        yield (
            batch.set_column(index, "reason", reason)
            .append_column(CONTENT, content)
            .append_column("valid", pc.is_null(reason))
        )
        rows_done(len(batch))


def without_digits(part: pa.RecordBatch) -> pa.RecordBatch:
    """Take every decimal digit (Unicode category Nd) out of the captions."""
    index = part.schema.get_field_index("text")
    stripped = pc.replace_substring_regex(part.column("text"), r"\p{Nd}", "")
    return part.set_column(index, "text", stripped)


def as_valid(
    batches: Iterator[pa.RecordBatch], *, names: tuple[str, ...]
) -> Iterator[pa.RecordBatch]:
    """Yield vectors that are known to be good, with an empty reason and `valid`."""
    for batch in batches:
        columns = [batch.column("uid"), *(batch.column(name) for name in names)]
        reason = pa.nulls(len(batch), pa.string())
        valid = pa.array([True] * len(batch))
        yield pa.RecordBatch.from_arrays(
            [*columns, reason, batch.column(CONTENT), valid],
            names=["uid", *names, "reason", CONTENT, "valid"],
        )


def _parts(shard_rows: Mapping[str, int], least: int) -> Iterator[list[str]]:
    """Gather neighbouring shards into parts of at least `least` rows."""
    held: list[str] = []
    rows = 0
    for source, count in shard_rows.items():
        held.append(source)
        rows += count
        if rows >= least:
            yield held
            held, rows = [], 0
    if held:
        yield held
