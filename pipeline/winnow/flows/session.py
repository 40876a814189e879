"""A run while it happens: which rows are alive, which artifacts stand."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from winnow.config.run import RunConfig
from winnow.config.step_kinds import INDEX
from winnow.core.engine import Engine, Frame
from winnow.core.marker import Marker
from winnow.core.run_folder import RunFolder
from winnow.flows.overrides import Rescues
from winnow.flows.pool import Pool


@dataclass
class Session:
    """What the steps so far have left.

    folder: where the run is written; ran: the steps that were run, not taken over.
    """

    config: RunConfig
    pool: Pool
    folder: RunFolder
    engine: Engine
    rescues: Rescues
    markers: list[Marker] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    artifacts: dict[str, Path] = field(default_factory=dict)
    _ledger: Path | None = None
    _rejects: list[Path] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows that enter the next step."""
        return self.markers[-1].kept if self.markers else self.pool.rows

    def alive(self) -> Frame:
        """Return the samples that enter the next step; None before there are any."""
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

    def account(self, marker: Marker) -> None:
        """Take a finished step into account: its artifacts, who is alive after it."""
        self.markers.append(marker)
        # Absolute: workers of a cluster have working directories of their own.
        artifacts = self.folder.artifacts(marker.step).absolute()
        self.rescues.account(marker, artifacts)
        for name, below in marker.artifacts.items():
            self.artifacts[name] = artifacts / below
        if marker.decides:
            self._ledger = self.folder.ledger(marker.step).absolute()
            self._rejects = []
        elif marker.quarantined and marker.step != INDEX:
            self._rejects.append(artifacts / "rejects")
