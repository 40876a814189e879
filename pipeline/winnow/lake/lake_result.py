"""What a scan comes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class LakeResult:
    """What a scan found; `plan` is what `plan_lake` returned if it was asked for."""

    path: Path
    tables: int
    #: Stored bytes of the tables.
    bytes: int
    #: Tables that cannot be read or only in part, with the reason.
    reasons: dict[str, str]
    #: Pairs by relation.
    relations: dict[str, int]
    stages: list[dict[str, Any]]
    plan: dict[str, Any] | None = None
    #: Files that are no table's, by their ending.
    ignored: dict[str, int] = field(default_factory=dict)
