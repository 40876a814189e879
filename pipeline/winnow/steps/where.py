"""Keep the rows for which a condition in SQL over their own columns holds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from winnow.config.column_steps import WhereConfig
from winnow.core.errors import ConfigError, QueryError
from winnow.formats.reader import SampleReader
from winnow.pages.row_condition import RowCondition
from winnow.steps.contract import (
    JUDGED,
    Context,
    Contract,
    Outcome,
    decisions_of,
    judged,
    rejects_of,
)


def contract(config: WhereConfig) -> Contract:
    """Return the columns that the condition names; raises ConfigError if it is none."""
    condition = _condition(config)

    def fits(schema: pa.Schema) -> None:
        try:
            condition.require_boolean(schema)
        except QueryError as error:
            raise ConfigError(
                f"where.condition: {config.condition}: {error}"
            ) from error

    return Contract(
        columns=condition.columns, libraries=frozenset({"duckdb"}), fits=fits
    )


def _condition(config: WhereConfig) -> RowCondition:
    try:
        return RowCondition.parse(config.condition)
    except QueryError as error:
        raise ConfigError(f"where.condition: {config.condition}: {error}") from error


def run(context: Context) -> Outcome:
    """Ask the condition of each row."""
    engine = context.engine
    kernel = partial(
        judge_rows, reader=context.reader, condition=_condition(context.config)
    )
    frame = engine.map_batches(
        context.samples, kernel, JUDGED, order_by=("source", "row")
    )
    return Outcome(decisions_of(engine, frame), rejects_of(engine, frame))


def judge_rows(
    batches: Iterator[pa.RecordBatch], *, reader: SampleReader, condition: RowCondition
) -> Iterator[pa.RecordBatch]:
    """Yield JUDGED rows; raises ConfigError if a value makes the condition fail."""
    names = condition.columns
    for part in reader.read(batches, (), names):
        columns = [part.column("uid"), *(part.column(f"extra.{n}") for n in names)]
        given = pa.RecordBatch.from_arrays(columns, names=["winnow_uid", *names])
        try:
            holds = condition.holds(given)
        except QueryError as error:
            raise ConfigError(
                f"where.condition: {condition.sql}: {error}; TRY_CAST gives null for "
                "what cannot be cast"
            ) from error
        known = pc.if_else(pc.is_valid(holds), "where_false", "where_unknown")
        keep = pc.fill_null(holds, False)
        fault = part.column("reason")
        yield judged(
            part.column("uid"),
            keep=keep,
            reason=pc.coalesce(fault, pc.if_else(keep, "where_true", known)),
            rejected=pc.is_valid(fault),
        )
