"""A band index on disk: segments of sorted digests and texts, mapped into memory.

    INDEX/index.json          settings, columns, segments in the order they were added
    INDEX/segment-00000/      digests.npy (bands, rows) sorted band by band, rows.npy
                              (bands, rows) their rows, texts.arrow (uid, text) by uid

A segment is never changed: adding rows adds segments, and what is there is neither
hashed nor written again. A segment counts once index.json names it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.core.errors import ConfigError, InputError, did_you_mean
from winnow.core.hashing import fingerprint
from winnow.core.operating_system import lock
from winnow.core.run_folder import remove, write_text

_FORMAT = 1
_SEGMENT = re.compile(r"segment-\d{5,}")
TEXTS = pa.schema([("uid", pa.large_string()), ("text", pa.large_string())])


@dataclass(frozen=True)
class Segment:
    """One batch of indexed rows, sorted by uid."""

    folder: Path

    @cached_property
    def digests(self) -> npt.NDArray[np.uint64]:
        """Digests (bands, rows), each band sorted; mapped."""
        return self._array("digests.npy")

    @cached_property
    def rows(self) -> npt.NDArray[np.uint32]:
        """The row of each digest, (bands, rows); mapped."""
        return self._array("rows.npy")

    def _array(self, name: str) -> npt.NDArray[Any]:
        file = self.folder / name
        return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))

    @cached_property
    def table(self) -> pa.RecordBatch:
        """The rows' uids and texts; mapped."""
        source = pa.memory_map(str(self.folder / "texts.arrow"))
        return pa.ipc.open_file(source).get_batch(0)

    def find(self, uid: str) -> int | None:
        """Return the row of a uid, by binary search."""
        names = self.table.column("uid")
        wanted, low, high = uid.encode(), 0, len(names)
        while low < high:
            middle = (low + high) // 2
            if names[middle].as_buffer().to_pybytes() < wanted:
                low = middle + 1
            else:
                high = middle
        there = low < len(names) and names[low].as_py() == uid
        return low if there else None


class NearIndex:
    """An index's settings and segments."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open an index; raises ConfigError if the folder holds none."""
        self.path = Path(path)
        file = self.path / "index.json"
        if not file.is_file():
            raise ConfigError(
                f"{self.path} holds no index; `winnow index build INPUT --out "
                f"{self.path}` makes one"
            )
        self._state: dict[str, Any] = json.loads(file.read_text())
        if self._state.get("format") != _FORMAT:
            raise ConfigError(f"{file}: made by another version of Winnow; build again")
        self.segments = self._named_segments()

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        settings: Mapping[str, Any],
        columns: Mapping[str, str | None],
    ) -> NearIndex:
        """Make an empty index; raises ConfigError if the folder is not empty."""
        folder = Path(path)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(
                f"{folder} is not empty; choose another folder with --out"
            )
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            "format": _FORMAT,
            "settings": dict(settings),
            "columns": dict(columns),
            "segments": [],
        }
        write_text(folder / "index.json", json.dumps(state, indent=1) + "\n")
        return cls(folder)

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
    def rows(self) -> int:
        """Rows of all segments."""
        return sum(len(segment.table) for segment in self.segments)

    @property
    def version(self) -> str:
        """Fingerprint of the settings and of the segments' names."""
        return fingerprint(json.dumps(self._state, sort_keys=True))

    def require(self, settings: Mapping[str, Any]) -> None:
        """Raise ConfigError if sketches of these settings must not be compared."""
        given = json.loads(json.dumps(dict(settings)))
        for name in given:
            if name not in self.settings:
                hint = did_you_mean(name, self.settings)
                raise ConfigError(f"{name}: no setting of a sketch; {hint}")
        other = [n for n in given if given[n] != self.settings[n]]
        if other:
            name = other[0]
            built = f"{name}={self.settings[name]!r}"
            raise ConfigError(
                f"{self.path}: the index was built with {built}, "
                f"not {given[name]!r}; sketches of other settings cannot be compared. "
                "Use the index's settings, or build another index"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the index for adding; raises ConfigError if another process does."""
        with open(self.path / ".lock", "w") as handle:
            try:
                lock(handle)
            except OSError as error:
                raise ConfigError(f"{self.path}: another process is adding") from error
            self._state = json.loads((self.path / "index.json").read_text())
            self.segments = self._named_segments()
            yield

    def _named_segments(self) -> list[Segment]:
        """Return the segments that index.json names, which are folders of the index."""
        names = self._state["segments"]
        for name in names:
            if not _SEGMENT.fullmatch(str(name)):
                raise ConfigError(
                    f"{self.path / 'index.json'}: {name!r} is no segment of an index; "
                    "the file is damaged: build the index again"
                )
        return [Segment(self.path / name) for name in names]

    def add(
        self,
        texts: pa.RecordBatch,
        digests: npt.NDArray[np.uint64],
        rows: npt.NDArray[np.uint32],
    ) -> None:
        """Append a segment: TEXTS sorted by uid, sorted digests and their rows."""
        name = f"segment-{len(self.segments):05d}"
        beside, final = self.path / f"{name}.tmp", self.path / name
        remove(beside)
        remove(final)
        beside.mkdir()
        np.save(beside / "digests.npy", digests)
        np.save(beside / "rows.npy", rows)
        with pa.ipc.new_file(str(beside / "texts.arrow"), TEXTS) as writer:
            writer.write_batch(texts)
        os.replace(beside, final)
        self._state["segments"].append(name)
        write_text(self.path / "index.json", json.dumps(self._state, indent=1) + "\n")
        self.segments.append(Segment(final))

    def known(self, uids: pa.Array) -> npt.NDArray[np.bool_]:
        """Return which of the uids the index has already."""
        found = np.zeros(len(uids), dtype=np.bool_)
        for segment in self.segments:
            there = pc.is_in(uids, value_set=segment.table.column("uid"))
            found |= there.to_numpy(zero_copy_only=False)
        return found

    def text_of(self, uid: str) -> str:
        """Return an indexed row's text; raises InputError if there is no such uid."""
        for segment in self.segments:
            row = segment.find(uid)
            if row is not None:
                text: str = segment.table.column("text")[row].as_py()
                return text
        raise InputError(f"{self.path}: the index has no uid '{uid}'")
