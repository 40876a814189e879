"""What an index says of itself: index.json, with its own checksum, written twice.

`index.json` is replaced as a whole, so that a reader sees the old state or the new one;
`index.copy.json` is the same text, for a repair.
"""

from __future__ import annotations

import base64
import json
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from winnow.core.errors import ConfigError, did_you_mean
from winnow.core.hashing import fingerprint
from winnow.indexes.segment import damaged

#: Raised when older indexes cannot be read any more.
FORMAT = 2
_SEGMENT, _GONE = re.compile(r"segment-\d{5,}"), re.compile(r"gone-\d{4,}\.npy")
FILE, COPY = "index.json", "index.copy.json"


def empty_state(
    kind: str, settings: Mapping[str, Any], columns: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return the state of an index without rows."""
    return {
        "format": FORMAT,
        "kind": kind,
        "settings": json.loads(json.dumps(dict(settings))),
        "columns": dict(columns),
        "additions": [],
        "segments": [],
        "next": 0,
        "content": f"{0:016x}",
    }


def sealed(state: Mapping[str, Any]) -> str:
    """Return the checksum of all that a state holds but for its checksum."""
    plain = {name: value for name, value in state.items() if name != "checksum"}
    return fingerprint(json.dumps(plain, sort_keys=True))


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Replace an index's state; the copy follows.

    Both are on the disk before one has its name: a disk that is full leaves the old.
    """
    packed = {**state, "additions": _packed(additions_of(state))}
    text = json.dumps({**packed, "checksum": sealed(packed)}) + "\n"
    if all(_holds(folder / name, text) for name in (FILE, COPY)):
        return
    beside = [folder / f"{name}.tmp" for name in (FILE, COPY)]
    try:
        for unfinished in beside:
            unfinished.write_text(text)
    except OSError:
        for unfinished in beside:
            unfinished.unlink(missing_ok=True)
        raise
    for unfinished in beside:
        os.replace(unfinished, unfinished.with_suffix(""))


def _holds(file: Path, text: str) -> bool:
    return file.is_file() and file.read_bytes() == text.encode()


def additions_of(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what went into an index, of a state as it is read or as it is changed."""
    additions = state["additions"]
    if not isinstance(additions, str):
        return list(additions)
    return [json.loads(line) for line in _lines(additions)]


def addition_of(state: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return one of them, by its number; the others are not taken apart."""
    additions = state["additions"]
    if not isinstance(additions, str):
        return dict(additions[number])
    return dict(json.loads(_lines(additions)[number]))


def _packed(additions: Sequence[Mapping[str, Any]]) -> str:
    """Return additions as one short word of the state, which is read for each question.

    A line of JSON each, compressed: as plain JSON a thousand of them take longer to
    read than the question to answer.
    """
    lines = "\n".join(json.dumps(addition) for addition in additions)
    return base64.b64encode(zlib.compress(lines.encode())).decode()


@lru_cache(maxsize=4)
def _lines(packed: str) -> list[str]:
    if packed.startswith("["):  # indexes of before hold a JSON list here
        return [json.dumps(addition) for addition in json.loads(packed)]
    return zlib.decompress(base64.b64decode(packed)).decode().splitlines()


def read_state(folder: Path, name: str = FILE) -> dict[str, Any]:
    """Return an index's state, its additions as they are in the file (`additions_of`).

    Raises ConfigError if the folder holds no index or one of another version,
    DamagedIndex if the state is not what was written.
    """
    file = folder / name
    if not file.is_file():
        if any(folder.glob("segment-*")):
            raise damaged(file, "the file is missing")
        raise ConfigError(
            f"{folder} holds no index; `winnow index build INPUT --out {folder}` "
            "makes one"
        )
    try:
        state = json.loads(file.read_bytes())
        version = state["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(file, "it is no longer the JSON that was written") from error
    if version != FORMAT:
        raise ConfigError(f"{file}: made by another version of Winnow; build again")
    if state.get("checksum") != sealed(state):
        raise damaged(file, "its checksum differs")
    for entry in state["segments"]:
        # Names become paths: nothing outside the index is read or removed.
        gone = (entry["gone"] or {}).get("file", "gone-0000.npy")
        if not (_SEGMENT.fullmatch(entry["name"]) and _GONE.fullmatch(gone)):
            raise damaged(file, f"{entry['name']!r} is no segment of an index")
    return dict(state)


def require_settings(
    folder: Path, built: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    """Raise ConfigError if sketches of `settings` are not those of an index.

    folder, built: the index's, and its settings.
    """
    given = json.loads(json.dumps(dict(settings)))
    for name in given:
        if name not in built:
            hint = did_you_mean(name, built)
            raise ConfigError(f"{name}: no setting of a sketch; {hint}")
    other = [n for n in given if given[n] != built[n]]
    if other:
        name = other[0]
        was = f"{name}={built[name]!r}"
        raise ConfigError(
            f"{folder}: the index was built with {was}, "
            f"not {given[name]!r}; sketches of other settings cannot be compared. "
            "Use the index's settings, or build another index"
        )
