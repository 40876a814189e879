"""A run's folder: where things lie, how they become whole, who may write.

    RUN/artifacts/STEP/   what a step computed, its rejects and its marker done.json
    RUN/ledger/step=STEP/ decisions, one row per (sample, deciding step)
    RUN/kept/  RUN/quarantine/  RUN/steps.parquet  RUN/manifest.json  …
    RUN/.next/            an update of a finished run, until it takes its place

An artifact is whole when its folder carries its final name: everything is written
beside it and renamed, the marker with the step's fingerprint last. A run is finished
when it has a manifest. What a finished run shows changes at once: an update is a run of
its own in `.next`, which shares what did not change, and gets its place at the end.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from winnow.core.errors import ConfigError, RunError
from winnow.core.inside import is_url
from winnow.core.integrity import damage, take_check, with_check
from winnow.core.links import link
from winnow.core.marker import Marker
from winnow.core.operating_system import lock
from winnow.core.other_kind import is_run, is_scan, no_run
from winnow.core.saved_files import DamagedError, read_manifest

_MARKER = "done.json"
LOCK_FILE, MANIFEST = "config.lock.yaml", "manifest.json"
#: Pools that were given in memory, a folder of shards each; no update touches them.
MEMORY_POOL = ".pool"
#: What `apply` leaves in the run's folder.
RESULTS = ("kept", "subset.npy", "repeats")
#: All that a run consists of; whatever else lies in its folder outlives an update.
PARTS = (
    *RESULTS,
    "artifacts",
    "ledger",
    "quarantine",
    "steps.parquet",
    "report.html",
    LOCK_FILE,
    MANIFEST,
)
_NEXT, _STALE, _OLD, _READY = ".next", ".stale", ".old", "ready.json"
_OWNED = (LOCK_FILE, "artifacts", ".lock", _NEXT, MEMORY_POOL)
_RETRY_SECONDS, _PATIENCE_SECONDS = 0.05, 30.0
_ORDER_AGAIN = "`winnow run` with the same recipe and --out makes it again"

#: What `pathlib` makes of a URL's beginning.
_LIKE_URL = re.compile(r"[a-z][a-z0-9+.-]+:/")


class RunFolder:
    """Paths and atomic commits below one run's folder."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if is_url(str(path)):
            raise RunError(f"{path}: a URL where a folder of this machine is needed")
        self.path = Path(path).expanduser()

    def file(self, name: str) -> Path:
        """Return the path of a file or folder of the run."""
        return self.path / name

    def artifacts(self, step: str) -> Path:
        """Return the folder that a step's artifacts lie in when they are whole."""
        return self.path / "artifacts" / step

    def ledger(self, step: str) -> Path:
        """Return the ledger's partition of a step."""
        return self.path / "ledger" / f"step={step}"

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end; its manifest is written last."""
        return self.file(MANIFEST).is_file()

    @property
    def next(self) -> RunFolder:
        """An update of this run, as long as it is not finished."""
        return RunFolder(self.path / _NEXT)

    @property
    def stale(self) -> RunFolder:
        """Steps that an unfinished run was about before its recipe changed."""
        return RunFolder(self.path / _STALE)

    def under_way(self) -> tuple[list[str], list[str]] | None:
        """Return the steps of an update that stand and those to come, if there is one.

        Of an unfinished run, its own steps.
        """
        folder = self.next if self.finished else self
        try:
            order = folder.order()
        except RunError:
            return None
        stand = [step for step in order if folder.marker(step) is not None]
        return stand, [step for step in order if step not in stand]

    def is_being_written(self) -> bool:
        """Whether a process holds the run for writing at this moment."""
        try:
            with open(self.path / ".lock", "r+") as handle:
                try:
                    lock(handle)
                except OSError:
                    return True
        except OSError:  # nobody has ever written it, or this user may not
            pass
        return False

    def lost_results(self) -> str:
        """Say which file of `kept/` is not there any more, or is cut; '' if none is."""
        try:
            markers = [self.marker(step) for step in self.order()]
        except RunError:
            return ""
        for marker in markers:
            if marker is None:
                continue
            files = {n: s for n, s in marker.files.items() if n.startswith("kept/")}
            fault = damage(self.path, files, contents=False)
            if fault:
                return fault
        return ""

    def scratch(self, step: str) -> Path:
        """Return a folder for a step's unfinished work; survives a crash.

        Absolute: workers of a cluster have working directories of their own.
        """
        return self.path.absolute() / ".work" / step

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for writing; the lock goes with the process, however it ends.

        Raises RunError if another process holds it, or if the folder holds something
        that is not a run.
        """
        self.refuse_foreign()
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / ".lock", "w") as handle:
            try:
                lock(handle)
            except OSError as error:
                raise RunError(
                    f"{self.path}: another process is writing this run; wait for it, "
                    "or choose another folder with --out"
                ) from error
            yield

    def refuse_run_of_samples(self) -> None:
        """Raise RunError if the folder holds a run of samples, for whoever scans."""
        if is_run(self.path):
            raise RunError(
                f"{self.path} holds a run of samples; choose another folder with --out"
            )

    def refuse_foreign(self) -> None:
        """Raise RunError if the folder holds what is no run, ConfigError for a file."""
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise ConfigError(
                f"{self.path} is a file; choose another folder with --out"
            )
        inside = {entry.name for entry in self.path.iterdir()}
        if inside and not inside & set(_OWNED):
            raise RunError(
                f"{self.path} is not empty and holds no run; choose another folder "
                "with --out"
            )

    def marker(self, step: str) -> Marker | None:
        """Return the marker of a finished step, or None.

        None too for a marker that is damaged or of another version of Winnow: the step
        is then run again.
        """
        file = self.artifacts(step) / _MARKER
        if not file.is_file():
            return None
        try:
            values = json.loads(file.read_text())
            return Marker(**values) if take_check(values) else None
        except (AttributeError, TypeError, ValueError):
            return None

    def order(self) -> list[str]:
        """Return the run's steps in order.

        Raises RunError if the folder holds no run, or the list of its steps is damaged.
        """
        file = self.path / "artifacts" / "order.json"
        if not file.is_file():
            if _LIKE_URL.match(str(self.path)):
                raise RunError(
                    f"{self.path}: a URL where a folder is needed; give it as text, "
                    "not as a Path"
                )
            if self.finished and file.parent.is_dir() and not is_scan(self.path):
                raise DamagedError(f"{file} is gone; {_ORDER_AGAIN}")
            raise no_run(self.path)
        try:
            return [str(step) for step in json.loads(file.read_text())]
        except (TypeError, ValueError) as error:
            raise DamagedError(f"{file} is damaged; {_ORDER_AGAIN}") from error

    def markers(self) -> list[Marker]:
        """Return the markers of all finished steps, in the order of the run.

        An update that was stopped while it took the run's place gets it first.

        Raises RunError if the folder holds no run, DamagedError if one that is finished
        lacks the marker of a step.
        """
        self._settle_for_reader()
        markers = {step: self.marker(step) for step in self.order()}
        missing = [step for step, marker in markers.items() if marker is None]
        if missing and self.finished:
            file = self.artifacts(missing[0]) / _MARKER
            raise DamagedError(
                f"{file} is damaged or gone, or order.json beside it is; `winnow run` "
                "with the same recipe and --out makes them again"
            )
        return [marker for marker in markers.values() if marker is not None]

    def standing(self) -> list[Marker]:
        """Return the markers of all finished steps that lie here, in no order."""
        folders = sorted(self.file("artifacts").glob(f"*/{_MARKER}"))
        markers = (self.marker(file.parent.name) for file in folders)
        return [marker for marker in markers if marker is not None]

    def damage(self, marker: Marker, *, contents: bool = True) -> str:
        """Return what is wrong with a step's files, in words; '' if nothing is."""
        return damage(self.path, marker.files, contents=contents)

    def require_whole(self, marker: Marker, below: str = "") -> None:
        """Raise DamagedError if a file of a step is not as it was written.

        below: only files whose path below the run begins so.
        """
        sealed = {n: s for n, s in marker.files.items() if n.startswith(below)}
        fault = damage(self.path, sealed)
        if fault:
            raise DamagedError(
                f"{fault}; `winnow run` with the same recipe and --out makes "
                f"{marker.step} again"
            )

    def require_closed(self) -> None:
        """Raise DamagedError if a file that the manifest seals is not as it was."""
        if not self.finished:
            return
        fault = damage(self.path, read_manifest(self.file(MANIFEST)).get("files", {}))
        if fault:
            raise DamagedError(
                f"{fault}; `winnow run` with the same recipe and --out makes it again"
            )

    def begin(self, steps: list[str], fingerprints: Mapping[str, str]) -> None:
        """Record the steps of the run in order; put aside what is not of it.

        fingerprints: what each step's marker has to say for its results to stay.
        """
        folder = self.path / "artifacts"
        folder.mkdir(parents=True, exist_ok=True)
        standing = {
            m.step for m in self.standing() if fingerprints.get(m.step) == m.fingerprint
        }
        for there in [p for p in folder.iterdir() if p.is_dir()]:
            if there.name not in standing:
                self._put_aside(there.name)
        for there in self.file("ledger").glob("step=*"):
            if there.name.removeprefix("step=") not in standing:
                remove(there)
        write_text(folder / "order.json", json.dumps(steps))

    def _put_aside(self, step: str) -> None:
        """Keep a step's work for steps that may take some of it over."""
        if self.marker(step) is None:
            remove(self.artifacts(step))
            return
        if self.ledger(step).exists():
            replace(self.ledger(step), self.stale.ledger(step))
        replace(self.artifacts(step), self.stale.artifacts(step))

    def publish(self) -> None:
        """Let the update, which is finished, take the place of the run.

        Stopped at any moment, `settle` goes on with it.
        """
        parts = [name for name in PARTS if self.next.file(name).exists()]
        write_text(self.next.file(_READY), json.dumps(parts))
        self.settle()

    def settle(self) -> None:
        """Finish what `publish` began, if anything; the caller holds the lock."""
        ready = self.next.file(_READY)
        if not ready.is_file():
            return
        parts = json.loads(ready.read_text())
        old = self.next.file(_OLD)
        for name in PARTS:
            final, new = self.file(name), self.next.file(name)
            if final.exists() and (new.exists() or name not in parts):
                replace(final, old / name)
            if new.exists():
                replace(new, final)
        ready.unlink()
        remove(self.file(_NEXT))

    def _settle_for_reader(self) -> None:
        ready = self.next.file(_READY)
        patience = time.monotonic() + _PATIENCE_SECONDS
        while ready.is_file():
            try:
                with self.locked():
                    self.settle()
            except (OSError, RunError) as error:
                if isinstance(error, OSError) or time.monotonic() > patience:
                    raise RunError(
                        f"{self.path}: an update was stopped while it took the run's "
                        f"place, and cannot be let go on here ({error}); run any "
                        "command on it where it may be written"
                    ) from error
                # Whoever holds the run is about to finish it.
                time.sleep(_RETRY_SECONDS)

    def restate(self, marker: Marker) -> None:
        """Change what a finished step says of itself."""
        write_text(self.artifacts(marker.step) / _MARKER, _text_of(marker))

    def commit(self, written: Path, marker: Marker) -> None:
        """Make a step's folder final; the marker is in it before it gets its name."""
        write_text(written / _MARKER, _text_of(marker))
        replace(written, self.artifacts(marker.step))


def _text_of(marker: Marker) -> str:
    """Return a marker as JSON, with a checksum of what it says."""
    return json.dumps(with_check(asdict(marker)), indent=1) + "\n"


def replace(new: Path, final: Path) -> None:
    """Give a written folder or file its final name; what stood there goes."""
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.is_dir():
        # rename() takes no non-empty target; without its marker a folder is void,
        # so that a crash between these lines costs a step, not a wrong answer.
        (final / _MARKER).unlink(missing_ok=True)
        shutil.rmtree(final)
    os.replace(new, final)


def link_all(source: Path, target: Path) -> None:
    """Give a file, or all files of a folder, a second name; what stood there goes."""
    remove(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=link)
    else:
        link(source, target)


def remove(path: Path) -> None:
    """Remove a folder or file if it is there; a folder's marker goes first."""
    if path.is_dir():
        (path / _MARKER).unlink(missing_ok=True)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old one or the new one.

    A file that holds this text already is left alone.
    """
    if path.is_file() and path.read_bytes() == text.encode():
        return
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(text)
    os.replace(beside, path)
