"""An index on disk: segments of rows and of what finds them, mapped into memory.

    INDEX/index.json          settings, columns, additions, segments, its checksum
    INDEX/index.copy.json     the same again, for a repair
    INDEX/segment-00000/      see `segment`

A row is known by its name and its content (a text, a vector): of one name there may be
several, of the same name and content one row. Every addition is noted with what went
in. A segment counts once index.json names it, which a writer has it do at its end: all
of what it does is in, or nothing. Segments are merged by size (see `merging`) beside
those that readers have open.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.errors import ConfigError, InputError
from winnow.core.hashing import fingerprint
from winnow.core.run_folder import remove, write_text
from winnow.indexes import index_folder
from winnow.indexes.checked_files import require_sound
from winnow.indexes.merging import (
    SegmentLimits,
    Size,
    groups_to_pack,
    last_first,
    tail_to_merge,
)
from winnow.indexes.segment import (
    TEXT_KIND,
    DamagedIndex,
    Segment,
    content_sum,
    merged,
    stated,
    write_segment,
)
from winnow.indexes.state import (
    COPY,
    FILE,
    addition_of,
    additions_of,
    empty_state,
    read_state,
    require_settings,
    write_state,
)

# Readers that meet a merge open the new segments; so many merges in a row are a defect.
_ATTEMPTS = 5


#: The segments of an index.
Part = TypeVar("Part", bound=Segment)


class SegmentedIndex(ABC, Generic[Part]):
    """An index's settings, additions and segments; subclasses say what these hold."""

    #: What its segments are.
    part: ClassVar[type[Segment]]

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open an index.

        Raises ConfigError if the folder holds none, DamagedIndex if its state is not
        what was written.
        """
        self.path = Path(path)
        #: Whether `built` came to the index that was there before.
        self.was_there = False
        self._state = read_state(self.path)
        self._stored = self._state
        holds = self._state.get("kind", TEXT_KIND)
        if holds != self.part.KIND:
            raise ConfigError(
                f"{self.path} is an index of {holds}, not of {self.part.KIND}"
            )

    @abstractmethod
    def limits(self) -> SegmentLimits:
        """Return the most that a merged segment may hold."""

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        settings: Mapping[str, Any],
        columns: Mapping[str, str | None],
    ) -> Self:
        """Make an empty index; raises ConfigError if the folder is not empty."""
        folder = Path(path)
        index_folder.require_empty(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_state(folder, empty_state(cls.part.KIND, settings, columns))
        return cls(folder)

    @classmethod
    @contextmanager
    def built(
        cls,
        path: str | os.PathLike[str],
        settings: Mapping[str, Any],
        columns: Mapping[str, str | None],
        sources: Sequence[str],
    ) -> Iterator[Self]:
        """Yield an empty index beside `path`, which gets that name at the end.

        sources: the one addition that it is built of. Stopped before, it leaves nothing
        of that name, and the next call begins anew. Where an index stands that was
        built so, the new one has to come to the same rows and goes again: `was_there`.
        Raises ConfigError if the folder holds anything else, or is being built already.
        """
        final = Path(os.path.abspath(path))
        begun = empty_state(cls.part.KIND, settings, columns)
        before = index_folder.state_built_of(final, begun, sources)
        if before is None:
            index_folder.require_empty(final)
        beside = final.with_name(f".building-{final.name}")
        beside.mkdir(parents=True, exist_ok=True)
        with index_folder.held(beside):
            for leftover in [
                p for p in beside.iterdir() if p.name != index_folder.LOCK
            ]:
                remove(leftover)
        (beside / index_folder.LOCK).unlink()
        index = cls.create(beside, settings, columns)
        yield index
        if before is not None:
            index.was_there = index_folder.holds(index._state) == index_folder.holds(
                before
            )
            remove(beside)
            if not index.was_there:
                index_folder.require_empty(final)
            return
        if final.exists():
            final.rmdir()
        os.replace(beside, final)

    @property
    def settings(self) -> dict[str, Any]:
        """What sketches of this index were made with."""
        values: dict[str, Any] = self._state["settings"]
        return values

    @property
    def columns(self) -> dict[str, str | None]:
        """Names of the columns that uid and text came from."""
        values: dict[str, str | None] = self._state["columns"]
        return values

    @property
    def additions(self) -> list[dict[str, Any]]:
        """What went in, in order: `sources`, `shards` (keys), `named`, `rows`.

        `named` is false where rows had no uid column and are named by their content.
        """
        if isinstance(self._state["additions"], str):
            self._state["additions"] = additions_of(self._state)
        values: list[dict[str, Any]] = self._state["additions"]
        return values

    def addition(self, number: int) -> dict[str, Any]:
        """Return one of the additions."""
        return addition_of(self._state, number)

    @cached_property
    def segments(self) -> list[Part]:
        """The segments, opened and checked; raises DamagedIndex."""
        for _ in range(_ATTEMPTS):
            segments = self.listed()
            try:
                require_sound(self.path, segments)
                return [segment.open() for segment in segments]
            except (DamagedIndex, FileNotFoundError):
                # A merge may have taken their place in the meantime.
                state = read_state(self.path)
                if state["checksum"] == self._state.get("checksum"):
                    raise
                self._state = state
        raise InputError(f"{self.path}: the index is being rewritten; ask again")

    def listed(self) -> list[Part]:
        """Return the segments, neither opened nor checked."""
        return [
            cast("Part", self.part(self.path / entry["name"], entry))
            for entry in self._state["segments"]
        ]

    @property
    def rows(self) -> int:
        """Rows of all segments that have not been removed."""
        return sum(segment.live for segment in self.listed())

    @property
    def version(self) -> str:
        """Fingerprint of settings and rows, however they lie in segments."""
        parts = [
            self.settings,
            self._state["content"],
            [(a["named"], a["shards"]) for a in self.additions],
        ]
        return fingerprint(json.dumps(parts, sort_keys=True))

    def require(self, settings: Mapping[str, Any]) -> None:
        """Raise ConfigError if sketches of these settings must not be compared."""
        require_settings(self.path, self.settings, settings)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the index for writing; what was done is in when this ends, all of it.

        Whatever stops it leaves the index as it was. The lock goes with the process.
        """
        with index_folder.held(self.path):
            self._state = self._stored = read_state(self.path)
            # A writer may have been killed before the copy followed.
            write_text(self.path / COPY, (self.path / FILE).read_text())
            self._forget()
            self._sweep()
            try:
                yield
                self._commit()
            except Exception:
                self._go_back()
                raise

    def _go_back(self) -> None:
        """Be what the disk says, without what this writer has left there."""
        with suppress(OSError, InputError):
            self._state = self._stored = read_state(self.path)
            self._forget()
            self._sweep()

    def _forget(self) -> None:
        self.__dict__.pop("segments", None)

    def _sweep(self) -> None:
        """Remove segments that neither readers nor this writer know."""
        states = (self._state, self._stored)
        named = {entry["name"] for state in states for entry in state["segments"]}
        for folder in self.path.glob("segment-*"):
            if folder.name not in named:
                remove(folder)
        for unfinished in self.path.glob("*.tmp"):
            remove(unfinished)

    def _change(self, entries: Sequence[Mapping[str, Any]], **others: Any) -> None:
        """Make these the segments, of this writer as yet."""
        self._state = {**self._state, **others, "segments": list(entries)}
        self._forget()
        self._sweep()

    def _commit(self) -> None:
        """Write down what this writer did; the folders of other segments go."""
        write_state(self.path, self._state)
        self._stored = self._state
        self._sweep()

    def begin_addition(
        self, sources: Sequence[str], shards: Sequence[str], *, named: bool
    ) -> int:
        """Note that rows of these sources come now; return the addition's number."""
        begun = {"sources": list(sources), "shards": list(shards), "named": named}
        self._state = {
            **self._state,
            "additions": [*self.additions, {**begun, "rows": 0}],
        }
        return len(self.additions) - 1

    def end_addition(self) -> None:
        """Note that an addition has come to its end, and merge what is due.

        Sources that went in before, and brought nothing new, are no addition.
        """
        *before, last = self.additions
        if last in ({**one, "rows": 0} for one in before):
            self._state = {**self._state, "additions": before}
        self._merge_tail()

    def add(self, rows: pa.RecordBatch, *arrays: npt.NDArray[Any]) -> None:
        """Append a segment: rows of its SCHEMA, sorted by uid, and its ARRAYS."""
        self.additions[-1]["rows"] += len(rows)
        entry = self._write(rows, *arrays)
        self._change([*self._state["segments"], entry], content=self._content(rows, 1))
        self._merge_tail()

    def compact(self) -> None:
        """Merge all that may be merged, and leave out what was removed.

        Each part that was merged is in at once, so that two of it take no room twice.
        """
        for chosen in last_first(groups_to_pack(self._sizes(), self.limits())):
            self._merge(chosen)
            self._commit()

    def discard(self, uids: pa.Array) -> int:
        """Remove all rows of these names; return how many there were."""
        entries, count = [], 0
        content = self._state["content"]
        for segment in self.segments:
            rows = segment.rows_of(uids)
            count += len(rows)
            entries.append(self._without(segment, rows) if len(rows) else segment.state)
            content = self._content(segment.table.take(pa.array(rows)), -1, content)
        if count:
            self._change(entries, content=content)
        self._merge_tail()
        return count

    def _without(self, segment: Part, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
        gone = np.flatnonzero(~segment.standing(np.arange(segment.size)))
        every = np.union1d(gone, rows).astype(np.uint32)
        file = segment.folder / f"gone-{self._number():04d}.npy"
        np.save(file, every)
        told = {"file": file.name, "count": len(every), **stated(file)}
        return {**segment.state, "gone": told}

    def _merge_tail(self) -> None:
        first = tail_to_merge(self._sizes(), self.limits())
        for chosen in last_first([range(first, len(self.listed()))]):
            self._merge(chosen)

    def _merge(self, chosen: range) -> None:
        """Write a range of segments as one."""
        parts = self.segments[chosen.start : chosen.stop]
        rows, *arrays = merged(parts)
        entries = list(self._state["segments"])
        new = [self._write(rows, *arrays)] if len(rows) else []
        entries[chosen.start : chosen.stop] = new
        self._change(entries)

    def _write(self, rows: pa.RecordBatch, *arrays: npt.NDArray[Any]) -> dict[str, Any]:
        about = {"settings": self.settings, "columns": self.columns}
        folder = self.path / f"segment-{self._number():05d}"
        return write_segment(self.part, folder, rows, arrays, about)

    def _number(self) -> int:
        """Return a number that no folder has had."""
        number = int(self._state["next"])
        self._state = {**self._state, "next": number + 1}
        return number

    def _sizes(self) -> list[Size]:
        return [Size(s.live, s.bytes, s.size - s.live) for s in self.listed()]

    def _content(
        self, rows: pa.RecordBatch, sign: int, content: str | None = None
    ) -> str:
        """Return the sum that stands for all rows, with some more or less."""
        total = int(content or self._state["content"], 16)
        return f"{(total + sign * content_sum(rows)) % 2**64:016x}"

    def known(self, uids: pa.Array) -> dict[str, set[int]]:
        """Return the contents that the index has under each of these names."""
        contents: dict[str, set[int]] = {}
        for segment in self.segments:
            rows = pa.array(segment.rows_of(uids))
            names = segment.table.column("uid").take(rows).to_pylist()
            hashes = segment.table.column("content").take(rows).to_pylist()
            for name, content in zip(names, hashes, strict=True):
                contents.setdefault(name, set()).add(content)
        return contents

    def row_of(self, uid: str) -> tuple[Part, int]:
        """Return where a row is by its name.

        Raises InputError if there is no such row, or several.
        """
        rows = [
            (segment, int(row))
            for segment in self.segments
            for row in segment.rows_of(pa.array([uid], pa.large_string()))
        ]
        if not rows:
            raise InputError(f"{self.path}: the index has no uid '{uid}'")
        if len(rows) > 1:
            raise InputError(
                f"{self.path}: {len(rows)} rows with different {self.part.KIND} are "
                f"called '{uid}'; ask with one of them instead "
                f"(--{self.part.ASKED_BY})"
            )
        return rows[0]
