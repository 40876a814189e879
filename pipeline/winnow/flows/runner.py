"""Run a recipe: plan, resume, account for every row.

The same call after a crash goes on where it was; a changed setting runs again what
depends on it; a finished run is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from winnow.config.recipes import dump
from winnow.config.registry import APPLY, INDEX
from winnow.config.run import RunConfig
from winnow.core.engine import Engine, Frame
from winnow.core.errors import ConservationError
from winnow.core.meter import Meter
from winnow.core.progress import Progress, Silent
from winnow.core.run_folder import RESULTS, Marker, RunFolder, remove, write_text
from winnow.core.run_folder import replace as move
from winnow.core.schemas import DECISIONS
from winnow.flows import fingerprints
from winnow.flows.closing import close_run
from winnow.flows.image_text import (
    Planned,
    check_budgets,
    check_columns,
    ordered_steps,
    require_models,
)
from winnow.flows.overrides import SAVED, Rescues, overrides_of
from winnow.flows.pool import Pool, open_pool
from winnow.formats.reader import SampleReader
from winnow.formats.shards import pool_folders
from winnow.steps.overrides import check_known
from winnow.steps.step import Context, Outcome

#: Makes the engine, given a folder for its scratch files.
EngineFactory = Callable[[RunConfig, Path], Engine]


@dataclass(frozen=True)
class RunResult:
    """What a run came to; `ran` names the steps that this call had to run."""

    path: Path
    rows: int
    kept: int
    dropped: int
    quarantined: int
    steps: list[Marker]
    ran: list[str]


def run(
    config: RunConfig, make_engine: EngineFactory, progress: Progress | None = None
) -> RunResult:
    """Run a recipe and return what became of every row.

    Raises ConfigError or InputError before any work if the recipe cannot run on this
    input, and ConservationError if rows in and rows out do not add up.
    """
    planned = ordered_steps(config)
    pool = open_pool(config)
    check_columns(config, pool.schema, planned)
    check_budgets(planned, pool.rows)
    folder = RunFolder(config.output.path)
    require_models(config, [s for s in planned if folder.marker(s.name) is None])
    with folder.locked():
        folder.set_order([step.name for step in planned])
        if not any(step.kind == APPLY for step in planned):
            _remove_results(folder, besides=())
        write_text(folder.file("config.lock.yaml"), dump(config))
        engine = make_engine(config, folder.scratch("engine"))
        rescues = Rescues(engine, overrides_of(planned))
        session = Session(config, pool, folder, engine, progress or Silent(), rescues)
        for step in planned:
            session.run(step)
        markers = session.markers
        close_run(session)
        remove(folder.file(".work"))
    last = markers[-1]
    quarantined = sum(marker.quarantined for marker in markers)
    dropped = sum(marker.dropped for marker in markers)
    if last.kept + dropped + quarantined != pool.rows:
        raise ConservationError(
            f"{pool.rows} rows in, but {last.kept} kept + {dropped} dropped + "
            f"{quarantined} quarantined; please report this"
        )
    return RunResult(
        folder.path, pool.rows, last.kept, dropped, quarantined, markers, session.ran
    )


def _remove_results(folder: RunFolder, besides: Collection[str]) -> None:
    """Remove what an earlier `apply` left and this run does not write."""
    for name in RESULTS:
        if name not in besides:
            remove(folder.file(name))


@dataclass
class Session:
    """A run while it happens: which rows are alive, which artifacts stand."""

    config: RunConfig
    pool: Pool
    folder: RunFolder
    engine: Engine
    progress: Progress
    rescues: Rescues
    markers: list[Marker] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    artifacts: dict[str, Path] = field(default_factory=dict)
    _ledger: Path | None = None
    _rejects: list[Path] = field(default_factory=list)
    #: Fingerprint of the last step, overrides apart.
    _plain: str = ""

    @property
    def reader(self) -> SampleReader:
        """Reader of this pool's samples."""
        columns = self.config.input.columns
        paths = {shard.name: shard.path for shard in self.pool.shards}
        # A modality that no step reads may be named in the recipe and absent here.
        image, text = (
            name if name in self.pool.schema.names else None
            for name in (columns.image, columns.text)
        )
        folders = pool_folders(self.config.input.path)
        return SampleReader(
            self.pool.root, paths, image, text, self.pool.schema, folders
        )

    @property
    def rows(self) -> int:
        """Rows that enter the next step."""
        return self.markers[-1].kept if self.markers else self.pool.rows

    def run(self, step: Planned) -> None:
        """Run one step unless it is done, and take its result into account."""
        source = fingerprints.of_input(self.config, self.pool.shards)
        upstream = self._plain or source
        self._plain = fingerprints.of_step(step, self.config, upstream)
        overrides = self.rescues.overrides
        wanted = fingerprints.overridden(step, self._plain, overrides)
        self.progress.started(step.name, self.rows)
        marker = self.folder.marker(step.name)
        again = marker is not None and marker.fingerprint == wanted
        if marker is None or not again:
            reuse_key = fingerprints.of_reuse(step, self.config, source, upstream)
            marker = self._execute(step, wanted, reuse_key)
            self.ran.append(step.name)
        self._account(self._recounted(marker))
        self.progress.finished(marker, again=again)
        if step.kind == INDEX and overrides.rows:
            check_known(self.engine, self.alive(), overrides)

    def alive(self) -> Frame:
        """Return the samples that enter the next step."""
        engine = self.engine
        if "samples" not in self.artifacts:
            return None
        frame = engine.scan(os.fspath(self.artifacts["samples"]))
        if self._ledger is not None:
            ledger = engine.scan(os.fspath(self._ledger), ["uid", "keep"])
            kept = engine.select(engine.where(ledger, "keep", True), {"uid": "uid"})
            frame = engine.join(frame, kept, "uid", "semi")
        for path in self._rejects:
            rejected = engine.scan(os.fspath(path), ["uid"])
            frame = engine.join(frame, rejected, "uid", "anti")
        return frame

    def _execute(self, step: Planned, wanted: str, reuse_key: str) -> Marker:
        # 1. Run; 2. write decisions and rejects beside; 3. check that rows add up;
        # 4. void the old result; 5. move everything to its place, marker last.
        # Without a manifest the run is not whole: what `kept/` holds may be of before.
        remove(self.folder.file("manifest.json"))
        remove(self.folder.file("report.html"))
        meter = Meter()
        self.engine.label(step.name)
        work = self.folder.scratch(step.name) / "out"
        remove(work)
        work.mkdir(parents=True)
        entering = self.rows - self.rescues.waiting(step)
        if entering or step.kind in (INDEX, APPLY):
            outcome = step.step.run(self._context(step, work, wanted, reuse_key))
        else:
            outcome = self._nothing_left(step)
        marker = self._written(step, outcome, work, wanted, reuse_key, meter)
        final = self.folder.artifacts(step.name)
        (final / "done.json").unlink(missing_ok=True)
        if outcome.decisions is not None:
            move(work / "ledger", self.folder.ledger(step.name))
        for name, place in outcome.outputs.items():
            move(work / place, self.folder.file(name))
        if step.kind == APPLY:
            _remove_results(self.folder, besides=outcome.outputs)
        self.engine.clear()
        self.folder.commit(work, marker)
        remove(self.folder.scratch(step.name))
        return marker

    def _nothing_left(self, step: Planned) -> Outcome:
        """Return the outcome of a step that no row reaches."""
        none = self.engine.from_table(DECISIONS.empty_table())
        decisions = none if step.contract.decides else None
        return Outcome(decisions, facts={"skipped": "no row was left"})

    def _context(
        self, step: Planned, work: Path, wanted: str, reuse_key: str
    ) -> Context:
        previous = self.folder.marker(step.name)
        same = previous is not None and reuse_key and previous.reuse_key == reuse_key
        return Context(
            engine=self.engine,
            step=step.name,
            config=step.config,
            samples=self.rescues.seen_by(step, self.alive()),
            rows=self.rows - self.rescues.waiting(step),
            pool_rows=self.pool.rows,
            reader=self.reader,
            shard_rows={shard.name: shard.rows for shard in self.pool.shards},
            schema=self.pool.schema,
            artifacts=self.artifacts,
            model=self.config.model,
            seed=self.config.seed,
            folder=work,
            parts=self._parts(step.name, wanted),
            reusable=self.folder.artifacts(step.name) if same else None,
            progress=self.progress.advanced,
        )

    def _parts(self, step: str, fingerprint: str) -> Path:
        """Return the folder of work done in parts; parts under other settings go."""
        folder = self.folder.scratch(step)
        wanted = folder / f"parts-{fingerprint}"
        for stale in folder.glob("parts-*"):
            if stale != wanted:
                remove(stale)
        wanted.mkdir(parents=True, exist_ok=True)
        return wanted

    def _written(
        self,
        step: Planned,
        outcome: Outcome,
        work: Path,
        wanted: str,
        reuse_key: str,
        meter: Meter,
    ) -> Marker:
        engine = self.engine
        decided, kept, rejected, saved = 0, 0, 0, 0
        if outcome.rejects is not None:
            rejected = engine.write(
                outcome.rejects, os.fspath(work / "rejects"), ["uid"]
            )
        if outcome.decisions is not None:
            ledger = os.fspath(work / "ledger")
            decisions, saved = self.rescues.protect(step, outcome.decisions, work)
            decided = engine.write(decisions, ledger, ["uid"])
            kept = engine.count(engine.where(engine.scan(ledger), "keep", True))
            if decided + rejected != self.rows:
                raise ConservationError(
                    f"{step.name}: {self.rows} rows entered, but {decided} were "
                    f"decided and {rejected} rejected; please report this"
                )
        else:
            kept = self.rows - rejected
        seconds, own = meter.read()
        peak = max(own, engine.peak_rss_mb())
        return Marker(
            step=step.name,
            kind=step.kind,
            fingerprint=wanted,
            reuse_key=reuse_key,
            rows_in=self.rows,
            kept=kept,
            quarantined=rejected,
            decides=outcome.decisions is not None,
            seconds=seconds,
            peak_rss_mb=peak,
            artifacts=dict(outcome.artifacts),
            provides=sorted(step.contract.provides & outcome.artifacts.keys()),
            facts={**outcome.facts, **({SAVED: saved} if saved else {})},
        )

    def _recounted(self, marker: Marker) -> Marker:
        """Bring up to date how many rows pass a step that rescued ones do not enter."""
        if marker.decides or marker.rows_in == self.rows or marker.step == INDEX:
            return marker
        kept = self.rows - marker.quarantined
        marker = replace(marker, rows_in=self.rows, kept=kept)
        self.folder.restate(marker)
        return marker

    def _account(self, marker: Marker) -> None:
        self.markers.append(marker)
        place = self.folder.artifacts(marker.step)
        self.rescues.account(marker, place)
        for name, below in marker.artifacts.items():
            self.artifacts[name] = place / below
        if marker.decides:
            self._ledger = self.folder.ledger(marker.step)
            self._rejects = []
        elif marker.quarantined and marker.step != INDEX:
            self._rejects.append(place / "rejects")
