"""Run a recipe: plan, resume, take over, account for every row.

The same call after a crash goes on where it was; a changed setting runs again what
depends on it; a finished run is left alone until its update is finished too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from winnow.config.lock_file import lock_text
from winnow.config.run import RunConfig
from winnow.config.step_kinds import APPLY, INDEX
from winnow.core.engine import Engine
from winnow.core.errors import ConservationError, InputError
from winnow.core.inside import is_url
from winnow.core.marker import Marker
from winnow.core.progress import Progress, Silent
from winnow.core.run_folder import (
    LOCK_FILE,
    MANIFEST,
    RESULTS,
    RunFolder,
    remove,
    write_text,
)
from winnow.core.run_log import EVENTS, LoggedProgress, logged
from winnow.core.versions import versions
from winnow.flows.closing import close_run, is_closed
from winnow.flows.execution import Execution, Guard
from winnow.flows.fingerprints import Prints, of_steps
from winnow.flows.image_text import (
    Planned,
    check_budgets,
    check_columns,
    doubts,
    ordered_steps,
    require_models,
)
from winnow.flows.losses import WatchedProgress
from winnow.flows.other_run import refuse_other_run, refuse_scan
from winnow.flows.overrides import Rescues, overrides_of
from winnow.flows.pool import Pool, open_pool
from winnow.flows.session import Session
from winnow.flows.taking_over import Sources, is_whole
from winnow.steps.overrides import check_known

_log = logging.getLogger(__name__)

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
    #: Where it was published, of a run on an object store.
    url: str = ""


@dataclass(frozen=True)
class Recipe:
    """A recipe checked against its input: what runs, and what results are known by."""

    config: RunConfig
    pool: Pool
    steps: list[Planned]
    prints: list[Prints]

    @classmethod
    def of(cls, config: RunConfig) -> Recipe:
        """Check a recipe; raises ConfigError or InputError as `run` does."""
        steps = ordered_steps(config)
        pool = open_pool(config)
        check_columns(config, pool.schema, steps)
        check_budgets(steps, pool.rows)
        return cls(config, pool, steps, of_steps(steps, config, pool))

    @property
    def doubts(self) -> list[str]:
        """What the recipe asks for and cannot have, in sentences."""
        pages = self.pool.large_pages(self.config.engine.batch_mb * 2**20)
        return [*doubts(self.steps, self.pool.rows), *pages]

    def not_standing(self, sources: Sources) -> list[Planned]:
        """Return the steps that no run has under the fingerprint they need."""
        pairs = zip(self.steps, self.prints, strict=True)
        return [s for s, prints in pairs if sources.find(s.name, prints.step) is None]


def run(
    config: RunConfig,
    make_engine: EngineFactory,
    progress: Progress | None = None,
    *,
    sources: Sequence[Path] = (),
    replace_other: bool = False,
    work: Path | None = None,
) -> RunResult:
    """Run a recipe and return what became of every row.

    sources: folders of runs, of which steps with equal fingerprints are taken over.
    replace_other: whether a run of another recipe or input, which the folder holds, may
    be replaced; it stays until the new one is finished.
    work: the run's folder on this machine, of a run that lies elsewhere.

    Raises ConfigError or InputError before any work if the recipe cannot run on this
    input, RunError if the folder holds another run, InputError if the input changes on
    the way, and ConservationError if rows in and rows out do not add up.
    """
    recipe = Recipe.of(config)
    folder = RunFolder(work or config.output.path)
    told = progress or Silent()
    for doubt in recipe.doubts:
        _log.warning("%s", doubt)
    with folder.locked(), logged(folder.path):
        folder.settle()
        refuse_scan(folder)
        if not replace_other:
            refuse_other_run(folder, config, recipe.pool, recipe.prints[0].step)
        finished = _finished(recipe, folder)
        if finished is not None:
            for rest in (folder.next.path, folder.stale.path, folder.file(".work")):
                remove(rest)
            for marker in finished:
                told.started(marker.step, marker.rows_in)
                told.finished(marker, again=True)
            return _result(folder, recipe, finished, [])
        given = [RunFolder(source) for source in sources]
        session = _updated(recipe, folder, make_engine, told, given)
    return _result(folder, recipe, session.markers, session.ran)


def _finished(recipe: Recipe, folder: RunFolder) -> list[Marker] | None:
    """Return the markers of a run that is finished and whole; None if it is not."""
    if not folder.finished:
        return None
    markers = []
    for step, wanted in zip(recipe.steps, recipe.prints, strict=True):
        marker = folder.marker(step.name)
        if marker is None or marker.fingerprint != wanted.step:
            return None
        markers.append(marker)
    closed = is_closed(folder, recipe.config, recipe.pool, markers)
    return markers if closed and all(is_whole(folder, m) for m in markers) else None


def _updated(
    recipe: Recipe,
    folder: RunFolder,
    make_engine: EngineFactory,
    progress: Progress,
    given: Sequence[RunFolder],
) -> Session:
    """Run what has to be run, beside a finished run if there is one, and close."""
    EVENTS.info("%s, %s", recipe.config.input.path, versions())
    target = folder.next if folder.finished else folder
    others = [target.stale, *([folder] if target is not folder else []), *given]
    sources = Sources(others)
    remove(target.file(MANIFEST))
    require_models(recipe.config, recipe.not_standing(Sources([target, *others])))
    watched = WatchedProgress(LoggedProgress(progress), recipe.config, target)
    session = run_steps(recipe, target, sources, make_engine, watched)
    _require_unchanged(session)
    close_run(session)
    remove(target.file(".work"))
    remove(target.stale.path)
    if target is not folder:
        folder.publish()
        session.folder = folder
    return session


def run_steps(
    recipe: Recipe,
    target: RunFolder,
    sources: Sources,
    make_engine: EngineFactory,
    progress: Progress,
    guard: Guard = lambda step, context: None,
) -> Session:
    """Run a recipe's steps in `target`, or take them over; nothing sums them up yet."""
    config, steps = recipe.config, recipe.steps
    prints = {s.name: p.step for s, p in zip(steps, recipe.prints, strict=True)}
    target.begin([step.name for step in steps], prints)
    if not any(step.kind == APPLY and target.marker(step.name) for step in steps):
        for name in RESULTS:
            remove(target.file(name))
    write_text(target.file(LOCK_FILE), lock_text(config))
    engine = make_engine(config, target.scratch("engine"))
    rescues = Rescues(engine, overrides_of(steps))
    session = Session(config, recipe.pool, target, engine, rescues)
    execution = Execution(session, sources, progress, guard)
    for step, wanted in zip(steps, recipe.prints, strict=True):
        _run_step(execution, step, wanted, progress)
    return session


def _run_step(
    execution: Execution, step: Planned, prints: Prints, progress: Progress
) -> None:
    """Run one step unless it stands here or elsewhere; take it into account."""
    session, folder = execution.session, execution.session.folder
    progress.started(step.name, session.rows)
    marker = folder.marker(step.name)
    if marker is not None and not is_whole(folder, marker):
        marker = None
    if marker is None:
        marker = execution.sources.take(step.name, prints.step, folder)
    again = marker is not None
    if marker is None:
        if step.kind == APPLY:
            _require_unchanged(session)
        marker = execution.run(step, prints)
        session.ran.append(step.name)
    session.account(_recounted(session, marker))
    progress.finished(session.markers[-1], again=again)
    overrides = session.rescues.overrides
    if step.kind == INDEX and overrides.rows:
        check_known(session.engine, session.alive(), overrides)


def _recounted(session: Session, marker: Marker) -> Marker:
    """Bring up to date how many rows pass a step that rescued ones do not enter."""
    if marker.decides or marker.rows_in == session.rows or marker.step == INDEX:
        return marker
    kept = session.rows - marker.quarantined
    marker = replace(marker, rows_in=session.rows, kept=kept)
    session.folder.restate(marker)
    return marker


def _require_unchanged(session: Session) -> None:
    """Raise InputError if the input changed; what may be of both states goes."""
    try:
        session.pool.require_unchanged()
    except InputError:
        for name in RESULTS:
            remove(session.folder.file(name))
        for marker in session.folder.standing():
            if marker.kind == APPLY:
                remove(session.folder.artifacts(marker.step))
        raise


def _result(
    folder: RunFolder, recipe: Recipe, markers: list[Marker], ran: list[str]
) -> RunResult:
    """Return what became of every row; raises ConservationError if one is missing."""
    rows, output = recipe.pool.rows, recipe.config.output.path
    url = output.rstrip("/") if is_url(output) else ""
    kept = markers[-1].kept
    quarantined = sum(marker.quarantined for marker in markers)
    dropped = sum(marker.dropped for marker in markers)
    if kept + dropped + quarantined != rows:
        raise ConservationError(
            f"{rows} rows in, but {kept} kept + {dropped} dropped + {quarantined} "
            "quarantined; please report this"
        )
    return RunResult(folder.path, rows, kept, dropped, quarantined, markers, ran, url)
