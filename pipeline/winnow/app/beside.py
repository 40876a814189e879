"""Two runs side by side: what each step kept in either, and the rows that differ."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

from winnow.app.rows import IndexedRows
from winnow.reports.diff import diff

#: Rows that are shown on each side.
_EXAMPLES = 24


class RunsBeside:
    """This run, and another one that was named when the app was opened.

    Raises RunError, when it is first asked, if the other folder holds no finished run.
    """

    def __init__(self, run: Path, other: str | Path | None, rows: IndexedRows) -> None:
        self._run, self.other, self._rows = run, other, rows
        self._told: dict[str, Any] | None = None
        self._lock = Lock()

    def told(self) -> dict[str, Any]:
        """Return how the two differ, as `diff` does, with this run's rows by uid."""
        with self._lock:
            if self._told is None:
                assert self.other is not None
                told = diff(self._run, self.other, _EXAMPLES)
                sides = (told["only_a"], told["only_b"])
                uids = [row["uid"] for side in sides for row in side["examples"]]
                self._told = {**told, "rows": self._rows.by_uid(uids)}
            return self._told
