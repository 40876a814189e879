"""Files of an index held against what is noted about them.

Lengths are compared at every opening. Checksums are computed once for each state of a
file: `.checked.json` notes the length and time of change of what was found sound. Bits
that flip below the file system are found by `index check`, which reads all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from winnow.core.integrity import is_unchanged
from winnow.core.run_folder import write_text
from winnow.indexes.segment import DamagedIndex, Segment, damaged

_NOTES = ".checked.json"


def fault_of(file: Path, noted: Mapping[str, Any], *, whole: bool) -> str | None:
    """Return what is wrong with a file, or None; `whole` compares the checksum too."""
    try:
        size = file.stat().st_size
    except OSError:
        return "the file is missing"
    if size != noted["bytes"]:
        return f"{size:,} bytes instead of {noted['bytes']:,}"
    if whole and not is_unchanged(file, noted["checksum"]):
        return "its checksum differs"
    return None


class Noted(Protocol):
    """Files that were noted when they were written: a segment, or what is kept of one.

    name: what tells it from others in the folder of the notes.
    """

    @property
    def name(self) -> str:
        """Its name."""
        ...

    def files(self) -> list[tuple[Path, Mapping[str, Any]]]:
        """Return each file and what was noted of it."""
        ...


def require_sound(folder: Path, segments: Iterable[Noted]) -> None:
    """Raise DamagedIndex for the first file that is not what was written."""
    notes = _read(folder)
    sound: dict[str, list[int]] = {}
    for segment in segments:
        for file, noted in segment.files():
            key = f"{segment.name}/{file.name}"
            mark = _mark(file)
            known = mark is not None and notes.get(key) == mark
            fault = fault_of(file, noted, whole=not known)
            if fault:
                raise damaged(file, fault)
            if mark is not None:
                sound[key] = mark
    if sound != notes:
        # An index that may only be read is checked again by every process.
        with suppress(OSError):
            write_text(folder / _NOTES, json.dumps(sound))


def faults(segments: Iterable[Segment]) -> list[DamagedIndex]:
    """Return every damaged file of the segments, all bytes read."""
    out = []
    for segment in segments:
        for file, noted in segment.files():
            fault = fault_of(file, noted, whole=True)
            if fault:
                out.append(damaged(file, fault))
    return out


def _mark(file: Path) -> list[int] | None:
    with suppress(OSError):
        status = file.stat()
        return [status.st_size, status.st_mtime_ns, status.st_ino]
    return None


def _read(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        notes = json.loads((folder / _NOTES).read_bytes())
        return notes if isinstance(notes, dict) else {}
    return {}
