"""What was done to tables, one line of JSON each, on disk before it is done."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from winnow.core.integrity import take_check, with_check
from winnow.core.saved_files import DamagedError


class Journal:
    """A file of events that only grows; a line cut off by a crash does not count."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def events(self) -> list[dict[str, Any]]:
        """Return all events, the oldest first.

        Raises DamagedError for a line that is not what was written.
        """
        if not self.path.is_file():
            return []
        whole = self.path.read_bytes()
        lines = whole[: whole.rfind(b"\n") + 1].splitlines()
        return [self._event(number, line) for number, line in enumerate(lines, 1)]

    def _event(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            event: dict[str, Any] = json.loads(line)
            # Version 0.1.0 wrote lines without a checksum.
            if "check" not in event or take_check(event):
                return event
            why = "its checksum differs"
        except (ValueError, TypeError) as error:
            why = str(error)
        raise DamagedError(
            f"{self.path}, line {number}: damaged ({why}); take the file from a copy, "
            "or move tables back from the trash by hand: they have their names there"
        )

    def add(self, event: Mapping[str, Any]) -> None:
        """Append an event; it is on the disk when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(with_check({**event, "time": datetime.now(UTC).isoformat()}))
        with open(self.path, "ab+") as file:
            _cut_off_rest(file)
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _cut_off_rest(file: BinaryIO) -> None:
    """Truncate a file after its last whole line."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 1))
    if file.read(1) not in (b"", b"\n"):
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
