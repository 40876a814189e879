"""Quality of texts: Gopher's and FineWeb's published rules, the first that fails."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.filter.text_quality import QualityLimits, first_failure
from winnow.config.text_steps import QualityConfig
from winnow.formats.reader import SampleReader
from winnow.steps.contract import (
    JUDGED,
    Context,
    Contract,
    Outcome,
    decisions_of,
    judged,
    rejects_of,
)


def contract(config: QualityConfig) -> Contract:
    """Return what the rules read: the text."""
    return Contract(frozenset({"text"}))


def run(context: Context) -> Outcome:
    """Judge each text by itself."""
    kernel = partial(apply_rules, reader=context.reader, config=context.config)
    frame = context.engine.map_batches(
        context.samples, kernel, JUDGED, order_by=("source", "row")
    )
    return Outcome(
        decisions_of(context.engine, frame), rejects_of(context.engine, frame)
    )


def apply_rules(
    batches: Iterator[pa.RecordBatch], *, reader: SampleReader, config: QualityConfig
) -> Iterator[pa.RecordBatch]:
    """Yield JUDGED rows: the rule's name, what was measured, and the limit."""
    limits = QualityLimits(
        **{name: getattr(config, name) for name in QualityLimits._fields}
    )
    for part in reader.read(batches, ("text",)):
        failures = [
            first_failure(text, config.rules, limits)
            for text in part.column("text").to_pylist()
        ]
        fault = part.column("reason")
        rejected = pc.is_valid(fault)
        names = [failure and failure.rule for failure in failures]
        failed = pa.array(names, pa.string())
        yield judged(
            part.column("uid"),
            keep=pc.and_(pc.is_null(failed), pc.invert(rejected)),
            reason=pc.coalesce(fault, failed, pa.scalar("rules_passed")),
            score=pa.array([f and f.value for f in failures], pa.float64()),
            threshold=pa.array([f and f.limit for f in failures], pa.float64()),
            rejected=rejected,
        )
