"""One step run: its result written beside, its rows counted, then given its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from winnow.config.step_kinds import APPLY, INDEX
from winnow.core.errors import ConservationError
from winnow.core.free_memory import give_back_memory, share_heaps
from winnow.core.integrity import seals
from winnow.core.marker import Marker
from winnow.core.meter import Meter
from winnow.core.progress import Progress, watched
from winnow.core.run_folder import RESULTS, remove
from winnow.core.run_folder import replace as move
from winnow.core.schemas import DECISIONS
from winnow.flows.fingerprints import Prints
from winnow.flows.image_text import Planned
from winnow.flows.overrides import SAVED
from winnow.flows.session import Session
from winnow.flows.taking_over import Sources
from winnow.steps.contract import Context, Outcome

#: Told what a step is about to work on; may refuse by raising.
Guard = Callable[[Planned, Context], None]


@dataclass(frozen=True)
class Execution:
    """Runs steps of one session.

    sources: runs whose work may be taken over in part.
    progress: told how far a step is.
    """

    session: Session
    sources: Sources
    progress: Progress
    guard: Guard = lambda step, context: None

    def run(self, step: Planned, prints: Prints) -> Marker:
        """Run a step and return its marker.

        1. Run; 2. write decisions and rejects beside; 3. check that rows add up;
        4. void the old result; 5. move everything to its place, marker last.

        Raises ConservationError if rows in and rows out do not add up.
        """
        session = self.session
        folder, engine = session.folder, session.engine
        share_heaps()
        give_back_memory()
        meter = Meter()
        engine.label(step.name)
        work = folder.scratch(step.name) / "out"
        remove(work)
        work.mkdir(parents=True)
        with watched(self.progress, session.rows, engine.tasks):
            outcome = self._outcome(step, work, prints)
            counts = self._written(step, outcome, work)
        seconds, peak = meter.read()
        (folder.artifacts(step.name) / "done.json").unlink(missing_ok=True)
        files = self._placed(step, outcome, work)
        engine.clear()
        marker = Marker(
            step=step.name,
            kind=step.kind,
            fingerprint=prints.step,
            reuse_key=prints.reuse,
            content_key=prints.content,
            rows_in=session.rows,
            **counts,
            decides=outcome.decisions is not None,
            seconds=seconds,
            peak_rss_mb=max(peak, engine.peak_rss_mb()),
            artifacts=dict(outcome.artifacts),
            provides=sorted(step.contract.provides & outcome.artifacts.keys()),
            files=files,
        )
        folder.commit(work, marker)
        remove(folder.scratch(step.name))
        return marker

    def _outcome(self, step: Planned, work: Path, prints: Prints) -> Outcome:
        session = self.session
        entering = session.rows - session.rescues.waiting(step)
        if not entering and step.kind not in (INDEX, APPLY):
            return _nothing_left(step, session)
        context = self._context(step, work, prints)
        self.guard(step, context)
        outcome: Outcome = step.step.run(context)
        return outcome

    def _context(self, step: Planned, work: Path, prints: Prints) -> Context:
        session = self.session
        pool = session.pool
        batch_bytes = session.config.engine.batch_mb * 2**20
        return Context(
            engine=session.engine,
            step=step.name,
            config=step.config,
            samples=session.rescues.seen_by(step, session.alive()),
            rows=session.rows - session.rescues.waiting(step),
            pool_rows=pool.rows,
            reader=replace(pool.reader, batch_bytes=batch_bytes),
            shard_rows={shard.name: shard.rows for shard in pool.shards},
            schema=pool.schema,
            artifacts=session.artifacts,
            model=session.config.model,
            seed=session.config.seed,
            folder=work,
            parts=self._parts(step.name, prints.step),
            reusable=self.sources.reusable(prints.reuse),
            alike=tuple(self.sources.alike(prints.content)),
        )

    def _parts(self, step: str, fingerprint: str) -> Path:
        """Return the folder of work done in parts; parts under other settings go."""
        folder = self.session.folder.scratch(step)
        wanted = folder / f"parts-{fingerprint}"
        for stale in folder.glob("parts-*"):
            if stale != wanted:
                remove(stale)
        wanted.mkdir(parents=True, exist_ok=True)
        return wanted

    def _written(self, step: Planned, outcome: Outcome, work: Path) -> dict[str, Any]:
        """Write decisions and rejects; return the marker's counts and facts."""
        session = self.session
        engine, rows = session.engine, session.rows
        rejected, facts = 0, dict(outcome.facts)
        if outcome.rejects is not None:
            rejected = engine.write(
                outcome.rejects, os.fspath(work / "rejects"), ["uid"]
            )
        if outcome.decisions is None:
            return {"kept": rows - rejected, "quarantined": rejected, "facts": facts}
        ledger = os.fspath(work / "ledger")
        decisions, saved = session.rescues.protect(step, outcome.decisions, work)
        decided = engine.write(decisions, ledger, ["uid"])
        kept = _kept_rows(work / "ledger")
        if decided + rejected != rows:
            raise ConservationError(
                f"{step.name}: {rows} rows entered, but {decided} were decided and "
                f"{rejected} rejected; please report this"
            )
        if saved:
            facts[SAVED] = saved
        return {"kept": kept, "quarantined": rejected, "facts": facts}

    def _placed(
        self, step: Planned, outcome: Outcome, work: Path
    ) -> dict[str, list[int | str]]:
        """Move ledger and outputs to their place; return the seals of all files."""
        folder = self.session.folder
        places = []
        if outcome.decisions is not None:
            places.append(folder.ledger(step.name))
            move(work / "ledger", places[0])
        for name, below in outcome.outputs.items():
            places.append(folder.file(name))
            move(work / below, places[-1])
        if step.kind == APPLY:
            for name in RESULTS:
                if name not in outcome.outputs:
                    remove(folder.file(name))
        below_artifacts = folder.artifacts(step.name).relative_to(folder.path)
        sealed = seals(work, work.iterdir())
        inside = {f"{below_artifacts.as_posix()}/{n}": s for n, s in sealed.items()}
        return {**inside, **seals(folder.path, places)}


def _kept_rows(ledger: Path) -> int:
    """Return the rows that a ledger keeps: a bit each, read where this runs."""
    kept = 0
    for file in sorted(ledger.rglob("*.parquet")):
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(columns=["keep"]):
                kept += batch.column("keep").true_count
    return kept


def _nothing_left(step: Planned, session: Session) -> Outcome:
    """Return the outcome of a step that no row reaches."""
    none = session.engine.from_table(DECISIONS.empty_table())
    decisions = none if step.contract.decides else None
    return Outcome(decisions, facts={"skipped": "no row was left"})
