"""What a scan of a lake came to, and the way to what it left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.core.words import number_of
from winnow.lake.lake_result import LakeResult

if TYPE_CHECKING:
    from winnow.handles.lake import Lake


@dataclass(frozen=True, repr=False)
class FinishedScan(LakeResult):
    """What a scan of a lake found: figures, and `lake` to ask it more.

    path: the scan's folder.
    tables: how many tables the lake has.
    bytes: what they take, as stored.
    reasons: tables that cannot be read, or only in part, with the reason.
    relations: pairs of tables by relation.
    stages: how the pairs became fewer, and what that cost.
    plan: totals and rows of the plan, if one was made.
    ignored: files that are no table's, by their ending.

    >>> winnow.scan("lake", "runs/lake").relations["contained"]
    1
    """

    @property
    def lake(self) -> Lake:
        """The scan, opened."""
        # A scan alone reads nothing of what it wrote.
        from winnow.handles.lake import Lake

        return Lake(self.path)

    def __repr__(self) -> str:
        counts = ", ".join(f"{n:,} {name}" for name, n in self.relations.items())
        tables = number_of(self.tables, "table")
        return f"{tables}; pairs: {counts or 'none'}; see {self.path}"

    def _repr_html_(self) -> str:
        return self.lake._repr_html_()
