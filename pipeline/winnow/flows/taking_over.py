"""What a run need not do again: steps of other runs, under equal fingerprints.

A step's files are linked, not copied, after they were checked. What cannot be taken
over whole may serve in part: stored vectors, neighbours, similarities.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from winnow.core.errors import ConfigError
from winnow.core.marker import Marker
from winnow.core.run_folder import LOCK_FILE, RunFolder, link_all, remove, replace
from winnow.stores.copies import local_run

_log = logging.getLogger(__name__)


def runs_to_take_from(
    recipe: object, given: Iterable[str | os.PathLike[str]] = ()
) -> tuple[Path, ...]:
    """Return the runs that a run may take steps over from.

    recipe: what the run is of; if it is a run's lock file, that run comes first.
    given: folders of runs, or URLs. Raises ConfigError if one of them holds no run.
    """
    folders = [local_run(folder).expanduser() for folder in given]
    for folder in folders:
        if not (folder / "artifacts" / "order.json").is_file():
            raise ConfigError(f"--from {folder}: there is no run in that folder")
    if isinstance(recipe, str | Path) and Path(recipe).name == LOCK_FILE:
        run = Path(recipe).expanduser().parent
        if (run / "artifacts" / "order.json").is_file():
            folders.insert(0, run)
    return tuple(folders)


class Sources:
    """Other runs, to take finished steps over from."""

    def __init__(self, folders: Sequence[RunFolder]) -> None:
        self._folders = list(folders)
        self._whole: dict[tuple[Path, str], bool] = {}

    def find(self, step: str, fingerprint: str) -> tuple[RunFolder, Marker] | None:
        """Return the first run that has a step under this fingerprint."""
        for folder in self._folders:
            marker = folder.marker(step)
            if marker is not None and marker.fingerprint == fingerprint:
                return folder, marker
        return None

    def take(self, step: str, fingerprint: str, target: RunFolder) -> Marker | None:
        """Link a step's files to `target` if a run has it whole; None otherwise."""
        for folder in self._folders:
            marker = folder.marker(step)
            if (
                marker is not None
                and marker.fingerprint == fingerprint
                and self._is_whole(folder, marker)
            ):
                _link_step(folder, marker, target)
                return marker
        return None

    def reusable(self, key: str) -> Path | None:
        """Return the artifacts of a step with this reuse key, of the first that is."""
        folders = (
            self._with(lambda marker: marker.reuse_key == key) if key else iter(())
        )
        return next(folders, None)

    def alike(self, key: str) -> list[Path]:
        """Return the artifacts of every step with this content key."""
        return list(self._with(lambda m: m.content_key == key)) if key else []

    def _with(self, wanted: Callable[[Marker], bool]) -> Iterator[Path]:
        for folder in self._folders:
            for marker in folder.standing():
                if wanted(marker) and self._is_whole(folder, marker):
                    yield folder.artifacts(marker.step)

    def _is_whole(self, folder: RunFolder, marker: Marker) -> bool:
        key = folder.path, marker.step
        if key not in self._whole:
            self._whole[key] = is_whole(folder, marker)
        return self._whole[key]


def is_whole(folder: RunFolder, marker: Marker) -> bool:
    """Whether all files of a step are as they were written; if not, it is told."""
    fault = folder.damage(marker)
    if fault:
        _log.warning("%s; %s is not taken over", fault, marker.step)
    return not fault


def _link_step(source: RunFolder, marker: Marker, target: RunFolder) -> None:
    """Link a step's results, its marker last."""
    beside = target.scratch(marker.step) / "linked"
    pairs = [(source.artifacts(marker.step), target.artifacts(marker.step))]
    if marker.decides:
        pairs.insert(0, (source.ledger(marker.step), target.ledger(marker.step)))
    outputs = {name.partition("/")[0] for name in marker.files}
    for name in sorted(outputs - {"artifacts", "ledger"}):
        pairs.insert(0, (source.file(name), target.file(name)))
    for there, here in pairs:
        link_all(there, beside)
        replace(beside, here)
    remove(target.scratch(marker.step))
