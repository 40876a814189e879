"""What a finished step says of itself, in its folder's `done.json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from winnow.core.integrity import Seal


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
    #: As `reuse_key`, whatever the input: what holds for equal contents.
    content_key: str = ""
    #: Length and checksum of every file of the step, by its path below the run.
    files: dict[str, Seal] = field(default_factory=dict)

    @property
    def dropped(self) -> int:
        """Rows that the step decided against."""
        return self.rows_in - self.kept - self.quarantined
