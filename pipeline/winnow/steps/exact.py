"""Exact duplicates of image bytes, of decoded pixels, of normalised captions.

Of equal rows the first in the order of `keeper` stays, without one the smallest uid.
Several criteria apply in the order
they are given; a row's twin is always one that survives them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.dedup.exact import bytes_digests, caption_digests
from winnow.config.steps import ExactConfig
from winnow.core.engine import Engine, Frame
from winnow.core.run_log import told_of
from winnow.formats.reader import SampleReader
from winnow.models.images import ImageRejected, pixel_digest
from winnow.steps.contract import (
    JUDGED,
    Context,
    Contract,
    Outcome,
    decisions_of,
    judged,
)
from winnow.steps.keeper import kept_uid, preferences, with_keeper

_MODALITY = {"image_bytes": "image", "image_pixels": "image", "caption": "text"}


def contract(config: ExactConfig) -> Contract:
    """Return which modality the chosen criteria read."""
    modalities = frozenset(_MODALITY[criterion] for criterion in config.by)
    decodes = "image_pixels" in config.by
    without_keeper = Contract(
        modalities,
        depends_on=frozenset({"model.max_pixels"}) if decodes else frozenset(),
        libraries=frozenset({"pillow"}) if decodes else frozenset(),
    )
    return with_keeper(without_keeper, config.keeper)


def run(context: Context) -> Outcome:
    """Decide by digests: one reading pass, then one grouping for each criterion."""
    engine, criteria = context.engine, context.config.by
    names = [f"digest_{criterion}" for criterion in criteria]
    schema = pa.schema(
        [
            ("uid", pa.string()),
            *((name, pa.binary()) for name in names),
            ("reason", pa.string()),
            ("valid", pa.bool_()),
        ]
    )
    kernel = partial(
        digest_samples,
        reader=context.reader,
        criteria=criteria,
        max_pixels=context.model.max_pixels,
    )
    digests = engine.map_batches(
        context.samples, kernel, schema, order_by=("source", "row")
    )
    unread = engine.where(digests, "valid", False)
    alive, dropped = engine.where(digests, "valid", True), None
    keeper = context.config.keeper
    if keeper:
        alive = engine.join(alive, preferences(context, keeper), "uid", "inner")
    for criterion, name in zip(criteria, names, strict=True):
        alive, duplicates = _deduplicate(engine, alive, (criterion, name), len(keeper))
        dropped = duplicates if dropped is None else _chain(engine, dropped, duplicates)
    kept = engine.map_batches(alive, judge_kept, JUDGED)
    frames = [kept] if dropped is None else [kept, dropped]
    return Outcome(
        decisions=decisions_of(engine, engine.union(frames)),
        rejects=engine.select(unread, {"uid": "uid", "reason": "reason"}),
    )


def digest_samples(
    batches: Iterator[pa.RecordBatch],
    *,
    reader: SampleReader,
    criteria: tuple[str, ...],
    max_pixels: int,
) -> Iterator[pa.RecordBatch]:
    """Yield uid, one digest for each criterion, and the reason of unreadable rows.

    A row that lacks what a criterion compares gets a digest of its own: what is
    missing is not a duplicate.
    """
    modalities = tuple(sorted({_MODALITY[criterion] for criterion in criteria}))
    for part in reader.read(batches, modalities):
        uid, reason = part.column("uid"), part.column("reason")
        columns = []
        for criterion in criteria:
            if criterion == "caption":
                digests = caption_digests(part.column("text"))
            elif criterion == "image_bytes":
                digests = bytes_digests(part.column("image"))
            else:
                images = told_of(uid.to_pylist(), part.column("image").to_pylist())
                digests, faults = pixel_digests(images, max_pixels)
                reason = pc.coalesce(reason, faults)
            unlike_any = uid.cast(pa.binary())
            columns.append(pc.coalesce(digests.cast(pa.binary()), unlike_any))
        names = [f"digest_{criterion}" for criterion in criteria]
        yield pa.RecordBatch.from_arrays(
            [uid, *columns, reason, pc.is_null(reason)],
            names=["uid", *names, "reason", "valid"],
        )


def pixel_digests(
    images: Iterable[bytes | None], max_pixels: int
) -> tuple[pa.Array, pa.Array]:
    """Return digests of decoded pixels and the reason of each image without one."""
    digests: list[bytes | None] = []
    faults: list[str | None] = []
    for data in images:
        digest, fault = None, None
        if data is not None:
            try:
                digest = pixel_digest(data, max_pixels)
            except ImageRejected as rejected:
                fault = str(rejected)
        digests.append(digest)
        faults.append(fault)
    return pa.array(digests, pa.binary()), pa.array(faults, pa.string())


def _deduplicate(
    engine: Engine, frame: Frame, criterion: tuple[str, str], keys: int
) -> tuple[Frame, Frame]:
    """Return the rows that stay under one criterion, and JUDGED rows of the others.

    criterion: its name, and the column of its digests. keys: how many the keeper has;
    without one, the smallest uid stays.
    """
    reason, name = criterion
    preferred = "preference" if keys else "uid"
    keepers = engine.aggregate(frame, name, {"best": (preferred, "min")})
    fields = engine.schema(frame)
    twins = [("best", pa.string()), ("kept_twin", pa.string()), ("keep", pa.bool_())]
    marked = engine.map_batches(
        engine.join(frame, keepers, name, "inner"),
        partial(mark_keepers, preferred=preferred, keys=keys),
        pa.schema([*fields, *twins]),
    )
    columns = {column: column for column in fields.names}
    kept = engine.select(engine.where(marked, "keep", True), columns)
    others = engine.where(marked, "keep", False)
    kernel = partial(judge_duplicates, reason=f"duplicate_{reason}")
    return kept, engine.map_batches(others, kernel, JUDGED)


def mark_keepers(
    batches: Iterator[pa.RecordBatch], *, preferred: str, keys: int
) -> Iterator[pa.RecordBatch]:
    """Mark the row that its group keeps, and name it."""
    for batch in batches:
        best = batch.column("best")
        keep = pc.equal(batch.column(preferred), best)
        named = batch.append_column("kept_twin", kept_uid(best, keys))
        yield named.append_column("keep", keep)


def judge_duplicates(
    batches: Iterator[pa.RecordBatch], *, reason: str
) -> Iterator[pa.RecordBatch]:
    """Drop every row in favour of its twin; equal content has similarity 1."""
    for batch in batches:
        twin = batch.column("kept_twin")
        yield judged(
            batch.column("uid"), False, reason, score=1.0, threshold=1.0, kept_twin=twin
        )


def judge_kept(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Keep every row as the only one of its content."""
    for batch in batches:
        yield judged(batch.column("uid"), True, "unique")


def _chain(engine: Engine, earlier: Frame, later: Frame) -> Frame:
    """Join two lists of dropped rows; a twin that went later hands on its own twin."""
    successors = engine.select(later, {"kept_twin": "uid", "successor": "kept_twin"})
    chained = engine.map_batches(
        engine.join(earlier, successors, "kept_twin", "left"), follow_twins, JUDGED
    )
    return engine.union([chained, later])


def follow_twins(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Replace a twin by its successor where there is one."""
    for batch in batches:
        twin = pc.coalesce(batch.column("successor"), batch.column("kept_twin"))
        table = batch.drop_columns(["successor"])
        index = table.schema.get_field_index("kept_twin")
        yield table.set_column(index, "kept_twin", twin).select(JUDGED.names)
