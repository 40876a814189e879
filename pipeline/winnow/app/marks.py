"""Rows that a person marks to rescue or to drop, kept beside the run.

`RUN/ui/overrides.csv` is the file that a recipe's `overrides` reads, so nothing has to
be converted: what is marked is what the next run honours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from winnow.config.overrides import Action, Override, Overrides, as_csv, read
from winnow.core.errors import RunError
from winnow.core.operating_system import lock
from winnow.core.run_folder import write_text

#: Their file in the folder `ui` of a run.
MARKS = "overrides.csv"
_MOST = 100_000
_LONGEST_NOTE = 2_000
#: Changes that can be taken back.
_CHANGES = 100


class Marks:
    """The marks of one run; several threads and processes may mark at once.

    given: overrides that the run itself honoured, with which a new file begins, so
    that a run with the marked file does not forget them. written: told of the file
    whenever it has changed, for whoever keeps it elsewhere.
    """

    def __init__(
        self,
        file: Path,
        given: Iterable[Override] = (),
        written: Callable[[Path], None] | None = None,
    ) -> None:
        self.file = file
        self._written = written
        self._given = {row.uid: row for row in given}
        self._lock = Lock()
        self._changes: list[dict[str, Override | None]] = []
        self._seen: tuple[int, int] | None = None
        self._rows = self._given
        self.rows()

    def rows(self) -> dict[str, Override]:
        """Return all marks by uid, as the file has them now.

        Raises ConfigError that names the line if the file has been damaged.
        """
        with self._lock:
            return self._read()

    def actions(self) -> dict[str, str]:
        """Return what is marked for each uid."""
        return {uid: row.action for uid, row in self.rows().items()}

    def mark(self, uids: Iterable[str], action: Action, note: str = "") -> None:
        """Mark rows; a mark that was there before is replaced.

        Raises RunError for too many marks, or where they cannot be written.
        """
        told = " ".join(note.split())[:_LONGEST_NOTE]
        with self._changing() as rows:
            uids = list(uids)
            self._remember(rows, uids)
            rows.update({uid: Override(uid, action, told) for uid in uids})
            if len(rows) > _MOST:
                raise RunError(
                    f"more than {_MOST:,} rows would be marked; change a threshold "
                    "with `winnow what-if` instead"
                )

    def clear(self, uids: Iterable[str]) -> None:
        """Take marks away."""
        with self._changing() as rows:
            uids = list(uids)
            self._remember(rows, uids)
            for uid in uids:
                rows.pop(uid, None)

    def undo(self) -> int:
        """Take the last change of this session back; return how many rows that were."""
        with self._changing() as rows:
            before = self._changes.pop() if self._changes else {}
            for uid, mark in before.items():
                rows.pop(uid, None)
                if mark is not None:
                    rows[uid] = mark
        return len(before)

    @property
    def undoable(self) -> int:
        """How many changes of this session can be taken back."""
        return len(self._changes)

    def _remember(self, rows: dict[str, Override], uids: list[str]) -> None:
        self._changes.append({uid: rows.get(uid) for uid in uids})
        del self._changes[:-_CHANGES]

    def overrides(self) -> Overrides:
        """Return the marks as a run reads them, sorted by uid."""
        rows = self.rows()
        return Overrides(tuple(rows[uid] for uid in sorted(rows)), str(self.file))

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Override]]:
        with self._lock:
            try:
                self.file.parent.mkdir(exist_ok=True)
                with open(self.file.with_name(".lock"), "w") as handle:
                    lock(handle, wait=True)
                    rows = dict(self._read())
                    yield rows
                    ordered = [rows[uid] for uid in sorted(rows)]
                    write_text(self.file, as_csv(ordered))
                    if self._written is not None:
                        self._written(self.file)
            except OSError as error:
                raise RunError(
                    f"{self.file}: marks cannot be written there ({error.strerror})"
                ) from error

    def _read(self) -> dict[str, Override]:
        try:
            state = self.file.stat()
        except (FileNotFoundError, NotADirectoryError):
            self._seen, self._rows = None, self._given
            return self._rows
        now = (state.st_mtime_ns, state.st_ino)
        if now != self._seen:
            self._rows = {row.uid: row for row in read(self.file).rows}
            self._seen = now
        return self._rows
