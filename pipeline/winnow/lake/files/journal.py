"""What was done to tables, one line of JSON each, on disk before it is done."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO


class Journal:
    """A file of events that only grows; a line cut off by a crash does not count."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def events(self) -> list[dict[str, Any]]:
        """Return all events, the oldest first."""
        if not self.path.is_file():
            return []
        whole = self.path.read_bytes()
        lines = whole[: whole.rfind(b"\n") + 1].splitlines()
        return [json.loads(line) for line in lines]

    def add(self, event: Mapping[str, Any]) -> None:
        """Append an event; it is on the disk when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({**event, "time": datetime.now(UTC).isoformat()})
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
