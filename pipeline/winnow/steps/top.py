"""The best rows by a number that stands in the pool: a score somebody has computed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from winnow.config.column_steps import TopConfig
from winnow.core.errors import InputError
from winnow.formats.reader import SampleReader
from winnow.steps.contract import Context, Contract, Outcome, decisions_of
from winnow.steps.selection import Cut, Words, budget_rows, count_unscored, keep_best

_READ = pa.schema(
    [
        ("uid", pa.string()),
        ("score", pa.float64()),
        ("reason", pa.string()),
        ("valid", pa.bool_()),
    ]
)


def contract(config: TopConfig) -> Contract:
    """Return the one column that is read."""

    def fits(schema: pa.Schema) -> None:
        kind = schema.field(config.column).type
        if not _is_number(kind):
            raise InputError(
                f"top.column: the column '{config.column}' holds {kind}, not numbers; "
                "name a column of numbers"
            )

    return Contract(columns=(config.column,), fits=fits)


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )


def run(context: Context) -> Outcome:
    """Keep the best by budget, threshold or both."""
    engine, config = context.engine, context.config
    kernel = partial(read_numbers, reader=context.reader, column=config.column)
    read = engine.map_batches(
        context.samples, kernel, _READ, order_by=("source", "row")
    )
    scored = engine.select(
        engine.where(read, "valid", True), {"uid": "uid", "score": "score"}
    )
    count = budget_rows(context, config) if config.has_budget else None
    decided = keep_best(
        engine,
        scored,
        Cut(count, config.threshold, config.ties),
        descending=config.keep_high,
        words=Words("top", "not_top"),
    )
    unread = engine.where(read, "valid", False)
    return Outcome(
        decisions_of(engine, decided),
        rejects=engine.select(unread, {"uid": "uid", "reason": "reason"}),
        facts={"budget": count, "not_scored": count_unscored(engine, scored)},
    )


def read_numbers(
    batches: Iterator[pa.RecordBatch], *, reader: SampleReader, column: str
) -> Iterator[pa.RecordBatch]:
    """Yield the column as float64; NaN is no score."""
    for part in reader.read(batches, (), (column,)):
        numbers = part.column(f"extra.{column}").cast(pa.float64())
        known = pc.fill_null(pc.invert(pc.is_nan(numbers)), False)
        score = pc.if_else(known, numbers, pa.scalar(None, pa.float64()))
        reason = part.column("reason")
        yield pa.RecordBatch.from_arrays(
            [part.column("uid"), score, reason, pc.is_null(reason)], schema=_READ
        )
