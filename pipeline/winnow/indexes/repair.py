"""What a damaged index can be made of again: from its copies, and from its rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.errors import ConfigError
from winnow.indexes.checked_files import fault_of, faults
from winnow.indexes.segment import (
    DESCRIPTION,
    DamagedIndex,
    Segment,
    content_sum,
    damaged,
    read_description,
    write_description,
    write_segment,
)
from winnow.indexes.state import (
    COPY,
    FILE,
    additions_of,
    empty_state,
    read_state,
    write_state,
)
from winnow.indexes.text_segment import TextSegment
from winnow.indexes.vector_segment import VectorSegment

#: What of a segment its index and its own description both say.
_STATED = ("name", "rows", "files")
_KINDS: dict[str, type[Segment]] = {k.KIND: k for k in (TextSegment, VectorSegment)}

#: The arrays of a segment whose rows are these, under the index's settings.
Remake = Callable[[dict[str, Any], pa.RecordBatch], tuple[npt.NDArray[Any], ...]]


def check(path: str | os.PathLike[str]) -> list[DamagedIndex]:
    """Return all that is damaged, every byte read; raises ConfigError for no index."""
    folder = Path(path)
    try:
        segments = listed(folder)
    except DamagedIndex as error:
        return [error]
    broken = faults(segments)
    about = _about(read_state(folder))
    broken += [
        damaged(segment.folder / DESCRIPTION, "it does not say what index.json says")
        for segment in segments
        if segment.folder.is_dir() and not _says(segment.folder, segment.state, about)
    ]
    try:
        read_state(folder, COPY)
    except (DamagedIndex, ConfigError):
        broken.append(damaged(folder / COPY, "the copy of index.json is damaged"))
    return broken


def listed(path: str | os.PathLike[str]) -> list[Segment]:
    """Return an index's segments, of whatever kind, neither opened nor checked."""
    folder = Path(path)
    state = read_state(folder)
    kind = kind_of(state)
    return [kind(folder / entry["name"], entry) for entry in state["segments"]]


def kind_of(state: Mapping[str, Any]) -> type[Segment]:
    """Return what the segments of an index are, by its state."""
    return _KINDS[state.get("kind", TextSegment.KIND)]


def repair(path: str | os.PathLike[str], remake: Remake) -> dict[str, Any]:
    """Make an index whole again; return what was done.

    A state is taken from its copy, or put together from what the segments say; arrays
    are made again from rows that are sound, where a kind of segment allows it. A
    segment that cannot be is set aside: `lost_rows`, of the additions in `add_again` or
    of unknown ones.
    Raises ConfigError if nothing says what the settings were.
    """
    folder = Path(path)
    told: dict[str, Any] = {
        "state": "sound",
        "rebuilt": [],
        "set_aside": [],
        "removed_rows_back": 0,
    }
    try:
        state = read_state(folder)
    except DamagedIndex:
        state, told["state"] = _state_of_what_is_there(folder)
    entries, lost = [], 0
    for entry in state["segments"]:
        whole = _whole(folder, entry, state, remake, told)
        if whole is None:
            lost += int(entry["rows"])
        else:
            entries.append(whole)
    state = {**state, "segments": entries}
    state["content"] = _content(kind_of(state), folder, entries)
    write_state(folder, state)
    # A source that was added twice is to be added once.
    sources = dict.fromkeys(s for a in additions_of(state) for s in a["sources"])
    return {**told, "lost_rows": lost, "add_again": list(sources) if lost else []}


def _state_of_what_is_there(folder: Path) -> tuple[dict[str, Any], str]:
    """Return the state from its copy, or from the segments, and which of the two."""
    try:
        state = read_state(folder, COPY)
    except (DamagedIndex, ConfigError):
        return _state_of_segments(folder), "put together from the segments"
    there = all((folder / entry["name"]).is_dir() for entry in state["segments"])
    if there or not any(folder.glob("segment-*")):
        return state, "taken from its copy"
    return _state_of_segments(folder), "put together from the segments"


def _state_of_segments(folder: Path) -> dict[str, Any]:
    entries = list(_described(folder))
    if not entries:
        raise ConfigError(
            f"{folder}: neither {FILE} nor a segment says how this index was built; "
            "build it again"
        )
    kind = _kind_of_files(entries[0]["files"])
    state = empty_state(kind.KIND, entries[0]["settings"], entries[0]["columns"])
    last = 0
    for entry in entries:
        plain = {name: entry[name] for name in ("name", "rows", "files", "gone")}
        state["segments"].append(plain)
        last = max(last, int(entry["name"].removeprefix("segment-")))
        for number in _additions_of(kind(folder / entry["name"], entry)):
            while len(state["additions"]) <= number:
                state["additions"].append(
                    {"sources": [], "shards": [], "named": True, "rows": 0}
                )
    return {**state, "next": last + 1}


def _described(folder: Path) -> Iterator[dict[str, Any]]:
    for segment in sorted(folder.glob("segment-?????")):
        entry = read_description(segment)
        if entry and {*_STATED, "gone", "settings", "columns"} <= set(entry):
            yield entry


def _about(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what each segment knows of its index."""
    return {"settings": state["settings"], "columns": state["columns"]}


def _says(folder: Path, entry: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether a segment says of itself what its index says of it."""
    said = read_description(folder)
    wanted = {**{name: entry[name] for name in _STATED}, **about}
    return said is not None and all(said.get(n) == v for n, v in wanted.items())


def _kind_of_files(files: Mapping[str, Any]) -> type[Segment]:
    return next((k for k in _KINDS.values() if k.TABLE in files), TextSegment)


def _additions_of(segment: Segment) -> list[int]:
    try:
        return sorted(set(segment.table.column("addition").to_pylist()))
    except (pa.ArrowInvalid, OSError, KeyError):
        return []


def _whole(
    folder: Path,
    entry: dict[str, Any],
    state: dict[str, Any],
    remake: Remake,
    told: dict[str, Any],
) -> dict[str, Any] | None:
    """Return the entry of a segment that is sound or was made again, or None."""
    kind = kind_of(state)
    segment = kind(folder / entry["name"], entry)
    bad = [
        file.name
        for file, noted in segment.files()
        if fault_of(file, noted, whole=True) is not None
    ]
    about = _about(state)
    if not bad:
        if not _says(segment.folder, entry, about):
            write_description(segment.folder, entry, about)
            told["rebuilt"].append(segment.name)
        return entry
    lost = {kind.TABLE} if kind.REMADE else set(kind.names())
    if lost & set(bad):
        if segment.folder.is_dir():
            os.replace(segment.folder, folder / f"damaged-{segment.name}")
        told["set_aside"].append(segment.name)
        return None
    told["rebuilt"].append(segment.name)
    # Which rows were removed is not in the rows: they are back where that is lost.
    lost_gone = entry.get("gone") and entry["gone"]["file"] in bad
    gone = None if lost_gone else entry.get("gone")
    told["removed_rows_back"] += entry["gone"]["count"] if lost_gone else 0
    if not set(kind.ARRAYS) & set(bad):
        return {**entry, "gone": gone}
    table = _owned(segment.table)
    rows = np.load(segment.folder / gone["file"]) if gone else np.zeros(0, np.uint32)
    arrays = remake(state["settings"], table)
    new = write_segment(kind, segment.folder, table, arrays, about)
    if gone is not None:
        np.save(segment.folder / gone["file"], rows)
    return {**new, "gone": gone}


def _owned(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch that does not lie in the file that it was mapped from."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return pa.ipc.open_file(sink.getvalue()).get_batch(0)


def _content(kind: type[Segment], folder: Path, entries: list[dict[str, Any]]) -> str:
    total = 0
    for entry in entries:
        segment = kind(folder / entry["name"], entry)
        rows = np.flatnonzero(segment.standing(np.arange(segment.size)))
        batch = segment.table.take(pa.array(rows))
        total += content_sum(batch)
    return f"{total % 2**64:016x}"
