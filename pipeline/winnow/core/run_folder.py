"""A run's folder: where things lie, how they become whole, who may write.

    RUN/artifacts/STEP/   what a step computed, its rejects and its marker done.json
    RUN/ledger/step=STEP/ decisions, one row per (sample, deciding step)
    RUN/kept/  RUN/quarantine/  RUN/steps.parquet  RUN/manifest.json  …

An artifact is whole when its folder carries its final name: everything is written
beside it and renamed, the marker with the step's fingerprint last.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from winnow.core.errors import RunError
from winnow.core.operating_system import lock

_MARKER = "done.json"
#: What `apply` leaves in the run's folder.
RESULTS = ("kept", "subset.npy", "repeats")
_OWNED = ("config.lock.yaml", "artifacts", ".lock")


def is_scan(run: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a scan of a lake rather than a run of samples."""
    return Path(run, "edges.parquet").is_file()


@dataclass(frozen=True)
class Marker:
    """What a finished step says of itself."""

    step: str
    kind: str
    fingerprint: str
    reuse_key: str
    rows_in: int
    kept: int
    quarantined: int
    decides: bool
    seconds: float = 0.0
    peak_rss_mb: float = 0.0
    artifacts: dict[str, str] = field(default_factory=dict)
    #: Artifacts that the step is there for, by its contract.
    provides: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def dropped(self) -> int:
        """Rows that the step decided against."""
        return self.rows_in - self.kept - self.quarantined


class RunFolder:
    """Paths and atomic commits below one run's folder."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
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

    def scratch(self, step: str) -> Path:
        """Return a folder for a step's unfinished work; survives a crash."""
        return self.path / ".work" / step

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for writing; the lock goes with the process, however it ends.

        Raises RunError if another process holds it, or if the folder holds something
        that is not a run.
        """
        self._refuse_foreign_folder()
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

    def _refuse_foreign_folder(self) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise RunError(f"{self.path} is a file; choose another folder with --out")
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
            return Marker(**json.loads(file.read_text()))
        except (TypeError, ValueError):
            return None

    def markers(self) -> list[Marker]:
        """Return the markers of all finished steps, in the order of the run.

        Raises RunError if the folder holds no run.
        """
        order = self.path / "artifacts" / "order.json"
        if not order.is_file():
            raise RunError(
                f"{self.path} holds no run; `winnow run RECIPE --out {self.path}` "
                "makes one"
            )
        markers = (self.marker(step) for step in json.loads(order.read_text()))
        return [marker for marker in markers if marker is not None]

    def set_order(self, steps: list[str]) -> None:
        """Record the steps of the run in order and forget all others."""
        folder = self.path / "artifacts"
        folder.mkdir(parents=True, exist_ok=True)
        for stale in [p for p in folder.iterdir() if p.is_dir()]:
            if stale.name not in steps:
                remove(stale)
        for stale in (self.path / "ledger").glob("step=*"):
            if stale.name.removeprefix("step=") not in steps:
                remove(stale)
        write_text(folder / "order.json", json.dumps(steps))

    def restate(self, marker: Marker) -> None:
        """Change what a finished step says of itself."""
        text = json.dumps(asdict(marker), indent=1) + "\n"
        write_text(self.artifacts(marker.step) / _MARKER, text)

    def commit(self, written: Path, marker: Marker) -> None:
        """Make a step's folder final; the marker is in it before it gets its name."""
        write_text(written / _MARKER, json.dumps(asdict(marker), indent=1) + "\n")
        replace(written, self.artifacts(marker.step))


def replace(new: Path, final: Path) -> None:
    """Give a written folder or file its final name; what stood there goes."""
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.is_dir():
        # rename() takes no non-empty target; without its marker a folder is void,
        # so that a crash between these lines costs a step, not a wrong answer.
        (final / _MARKER).unlink(missing_ok=True)
        shutil.rmtree(final)
    os.replace(new, final)


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
