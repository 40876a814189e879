"""Rescued rows: kept past every step, without a say in what the steps decide.

A row to rescue takes part like any other until a step decides against it. From then on
it waits aside: later steps do not see it, their ledgers say `override_rescue`, and it
comes back for `apply`. So a rescue changes the fate of no other row, counts against no
budget, and asks no step to work on it again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from winnow.config.overrides import Overrides
from winnow.config.step_kinds import APPLY, OVERRIDES
from winnow.core.engine import Engine, Frame
from winnow.core.marker import Marker
from winnow.core.schemas import DECISIONS
from winnow.flows.image_text import Planned
from winnow.steps.contract import judged
from winnow.steps.overrides import RESCUED, as_table

#: What a step decided about rows that it would have dropped: DECISIONS, all dropped.
SAVED = "rescued"
_LAST = (OVERRIDES, APPLY)


def overrides_of(planned: Iterable[Planned]) -> Overrides:
    """Return the overrides of a run's steps; none without a file."""
    given = (step.config for step in planned if step.kind == OVERRIDES)
    return next(given, Overrides())


@dataclass
class Rescues:
    """The rows to rescue, and those of them that a step has decided against."""

    engine: Engine
    overrides: Overrides
    #: Rows that wait aside.
    rows: int = 0
    _saved: list[Path] = field(default_factory=list)

    def waiting(self, step: Planned) -> int:
        """Return how many rows a step does not see."""
        return 0 if step.kind in _LAST else self.rows

    def seen_by(self, step: Planned, samples: Frame) -> Frame:
        """Return the samples without those that wait aside."""
        if not self.waiting(step):
            return samples
        return self.engine.join(samples, self._aside(), "uid", "anti")

    def protect(
        self, step: Planned, decisions: Frame, folder: Path
    ) -> tuple[Frame, int]:
        """Return a step's ledger, no rescued row dropped, and how many it had dropped.

        Its own words on those are written below `folder`.
        """
        engine, uids = self.engine, self.overrides.of("rescue")
        if not uids or step.kind in _LAST:
            return decisions, 0
        named = engine.select(
            engine.from_table(as_table(self.overrides)), {"uid": "uid", "ask": "action"}
        )
        marked = engine.map_batches(
            engine.join(decisions, named, "uid", "left"), mark_saved, _MARKED
        )
        columns = {name: name for name in DECISIONS.names}
        own_words = engine.select(engine.where(marked, "saved", True), columns)
        saved = engine.write(own_words, os.fspath(folder / SAVED), ["uid"])
        ledger = [engine.map_batches(marked, keep_saved, DECISIONS)]
        if self.rows:
            ledger.append(engine.map_batches(self._aside(), rescued, DECISIONS))
        return engine.union(ledger), saved

    def account(self, marker: Marker, folder: Path) -> None:
        """Take into account what a finished step has set aside."""
        saved = int(marker.facts.get(SAVED, 0))
        if saved:
            self.rows += saved
            self._saved.append(folder / SAVED)

    def _aside(self) -> Frame:
        engine = self.engine
        return engine.union(
            [engine.scan(os.fspath(path), ["uid"]) for path in self._saved]
        )


_MARKED = DECISIONS.append(pa.field("saved", pa.bool_()))


def mark_saved(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Mark the rows that are dropped and asked to be rescued."""
    for batch in batches:
        asked = pc.fill_null(pc.equal(batch.column("ask"), "rescue"), False)
        saved = pc.and_(asked, pc.invert(batch.column("keep")))
        columns = [batch.column(name) for name in DECISIONS.names]
        yield pa.RecordBatch.from_arrays([*columns, saved], names=_MARKED.names)


def keep_saved(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Keep the marked rows, with the step's score and threshold but without a twin."""
    for batch in batches:
        saved = batch.column("saved")
        columns = {name: batch.column(name) for name in DECISIONS.names}
        columns["keep"] = pc.or_(columns["keep"], saved)
        columns["reason"] = pc.if_else(saved, RESCUED, columns["reason"])
        columns["kept_twin"] = pc.if_else(
            saved, pa.scalar(None, pa.string()), columns["kept_twin"]
        )
        yield pa.RecordBatch.from_arrays(list(columns.values()), schema=DECISIONS)


def rescued(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Decide rows that wait aside: kept, and not looked at."""
    for batch in batches:
        uid = batch.column("uid").cast(pa.string())
        yield judged(uid, keep=True, reason=RESCUED).select(DECISIONS.names)
