"""The last word on rows that a person has looked at: what is overridden to be dropped.

Runs before `apply` in a run that has a file of overrides; no section of its own. Rows
to rescue come here alive: `flows.overrides` has kept them past every step.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from winnow.config.overrides import Overrides
from winnow.core.engine import Engine, Frame
from winnow.core.errors import InputError
from winnow.steps.contract import (
    JUDGED,
    Context,
    Contract,
    Outcome,
    decisions_of,
    judged,
)

RESCUED, DROPPED = "override_rescue", "override_drop"
UNTOUCHED = "not_overridden"

_TABLE = pa.schema(
    [("uid", pa.string()), ("action", pa.string()), ("note", pa.string())]
)
# Uids that a message lists.
_LISTED = 5


def contract(config: Overrides) -> Contract:
    """Return that nothing but the rows that are left matters."""
    return Contract(version=config.fingerprint())


def as_table(overrides: Overrides) -> pa.Table:
    """Return overrides as a table of uid, action and note."""
    rows = [vars(row) for row in overrides.rows]
    return pa.Table.from_pylist(rows, schema=_TABLE)


def run(context: Context) -> Outcome:
    """Decide every row that is left; store the file's rows as they were read."""
    engine = context.engine
    table = engine.from_table(as_table(context.config))
    uids = engine.select(context.samples, {"uid": "uid"})
    joined = engine.join(uids, table, "uid", "left")
    decided = engine.map_batches(joined, decide, JUDGED)
    engine.write(table, os.fspath(context.folder / "given"), ["uid"])
    return Outcome(
        decisions=decisions_of(engine, decided),
        artifacts={"given": "given"},
        facts={
            "file": context.config.path,
            "sha": context.config.fingerprint(),
            "to_rescue": len(context.config.of("rescue")),
            "to_drop": len(context.config.of("drop")),
        },
    )


def decide(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Drop what is overridden to be dropped; keep all else."""
    for batch in batches:
        action = pc.fill_null(batch.column("action"), "")
        drop = pc.equal(action, "drop")
        rescue = pc.equal(action, "rescue")
        reason = pc.if_else(drop, DROPPED, pc.if_else(rescue, RESCUED, UNTOUCHED))
        yield judged(batch.column("uid"), keep=pc.invert(drop), reason=reason)


def check_known(engine: Engine, samples: Frame, overrides: Overrides) -> None:
    """Raise InputError if the pool has no row of an overridden uid."""
    table = engine.from_table(as_table(overrides))
    known = engine.select(samples, {"uid": "uid"})
    unknown = engine.collect(
        engine.join(table, known, "uid", "anti"), len(overrides.rows)
    )
    uids = sorted(unknown["uid"].to_pylist())
    if uids:
        named = ", ".join(f"'{uid}'" for uid in uids[:_LISTED])
        more = f" and {len(uids) - _LISTED:,} more" if len(uids) > _LISTED else ""
        raise InputError(
            f"overrides: {overrides.path}: this pool has no row {named}{more}; uids "
            "are those of the input, as `winnow explain` shows them"
        )
