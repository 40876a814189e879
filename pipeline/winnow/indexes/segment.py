"""One segment of an index on disk: sorted digests, their rows, the rows' texts.

    segment-00000/digests.npy   (bands, rows) sorted band by band
    segment-00000/rows.npy      (bands, rows) the row of each digest
    segment-00000/texts.arrow   TEXTS, sorted by uid
    segment-00000/segment.json  rows, lengths and checksums of these, the settings
    segment-00000/gone-0001.npy rows that were removed since

A segment is never changed; what is removed from it stands beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.core.errors import InputError
from winnow.core.hashing import keys
from winnow.core.run_folder import remove, write_text

#: A row: its name, its text, a hash of the text's bytes, and which addition it came in.
TEXTS = pa.schema(
    [
        ("uid", pa.large_string()),
        ("text", pa.large_string()),
        ("content", pa.uint64()),
        ("addition", pa.int32()),
    ]
)
FILES = ("digests.npy", "rows.npy", "texts.arrow")
_CHUNK = 1 << 22
# Beyond this many rows per asked name, a segment's names are read from end to end.
_SEARCHES = 64


class DamagedIndex(InputError):
    """A file of an index is not what was written."""


def damaged(file: Path, why: str) -> DamagedIndex:
    """Return the error that names a file, and the way out."""
    index = file.parents[1] if file.parent.name.startswith("segment-") else file.parent
    return DamagedIndex(
        f"{file}: the index is damaged here ({why}); `winnow index repair {index}` "
        "makes again what the texts allow, and says what has to be added anew"
    )


def checksum(file: Path) -> str:
    """Return the checksum of a file's bytes (BLAKE2b, 128 bits, hexadecimal)."""
    state = hashlib.blake2b(digest_size=16)
    with open(file, "rb") as source:
        while chunk := source.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def stated(file: Path) -> dict[str, Any]:
    """Return what an index notes about a file: its length and checksum."""
    return {"bytes": file.stat().st_size, "checksum": checksum(file)}


@dataclass(frozen=True)
class Segment:
    """One batch of indexed rows, sorted by uid; `state` is its entry in index.json."""

    folder: Path
    state: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def size(self) -> int:
        """Rows, removed ones included."""
        return int(self.state["rows"])

    @property
    def live(self) -> int:
        """Rows that have not been removed."""
        return self.size - int((self.state.get("gone") or {"count": 0})["count"])

    @property
    def bytes(self) -> int:
        """Length of the texts' file."""
        return int(self.state["files"]["texts.arrow"]["bytes"])

    def files(self) -> list[tuple[Path, Mapping[str, Any]]]:
        """Return the segment's files, and what is noted about each."""
        noted = [(self.folder / name, self.state["files"][name]) for name in FILES]
        gone = self.state.get("gone")
        return [*noted, (self.folder / gone["file"], gone)] if gone else noted

    @cached_property
    def digests(self) -> npt.NDArray[np.uint64]:
        """Digests (bands, rows), each band sorted; mapped."""
        return self._array("digests.npy")

    @cached_property
    def rows(self) -> npt.NDArray[np.uint32]:
        """The row of each digest, (bands, rows); mapped."""
        return self._array("rows.npy")

    @cached_property
    def gone(self) -> npt.NDArray[np.bool_] | None:
        """Which rows have been removed, or None."""
        gone = self.state.get("gone")
        if not gone:
            return None
        mask = np.zeros(self.size, dtype=np.bool_)
        mask[self._array(gone["file"])] = True
        return mask

    @cached_property
    def table(self) -> pa.RecordBatch:
        """The rows as TEXTS; mapped."""
        source = pa.memory_map(str(self.folder / "texts.arrow"))
        return pa.ipc.open_file(source).get_batch(0)

    def _array(self, name: str) -> npt.NDArray[Any]:
        file = self.folder / name
        return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))

    def open(self) -> Segment:
        """Map all files now: what is open outlives the folder. Returns itself."""
        _ = self.digests, self.rows, self.table, self.gone
        return self

    def standing(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return which of the rows have not been removed."""
        if self.gone is None:
            return np.ones(len(rows), dtype=np.bool_)
        return ~self.gone[rows.astype(np.int64)]

    def rows_of(self, uids: pa.Array) -> npt.NDArray[np.int64]:
        """Return the standing rows whose name is one of `uids`."""
        names = self.table.column("uid")
        if len(uids) * _SEARCHES < len(names):
            ranges = [self._range(uid) for uid in set(uids.to_pylist())]
            rows = np.concatenate([np.arange(0), *(np.arange(*r) for r in ranges)])
        else:
            named = pc.is_in(names, value_set=uids)
            rows = np.flatnonzero(named.to_numpy(zero_copy_only=False))
        return rows[self.standing(rows)].astype(np.int64)

    def _range(self, uid: str) -> tuple[int, int]:
        """Return the range of rows of a name, by binary search."""
        names, wanted = self.table.column("uid"), uid.encode()
        bounds = []
        for after in (False, True):
            low, high = 0, len(names)
            while low < high:
                middle = (low + high) // 2
                name = names[middle].as_buffer().to_pybytes()
                if name < wanted or (after and name == wanted):
                    low = middle + 1
                else:
                    high = middle
            bounds.append(low)
        return bounds[0], bounds[1]


def write_segment(
    folder: Path,
    texts: pa.RecordBatch,
    digests: npt.NDArray[np.uint64],
    rows: npt.NDArray[np.uint32],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Write TEXTS sorted by uid, sorted digests and their rows; return the state.

    The folder gets its name when all is in it. `about` is what a repair needs to know
    besides: the index's settings and columns.
    """
    beside = folder.with_name(folder.name + ".tmp")
    for stale in (beside, folder):
        remove(stale)
    beside.mkdir()
    np.save(beside / "digests.npy", digests)
    np.save(beside / "rows.npy", rows)
    with pa.ipc.new_file(str(beside / "texts.arrow"), TEXTS) as writer:
        writer.write_batch(texts)
    state = {
        "name": folder.name,
        "rows": len(texts),
        "files": {name: stated(beside / name) for name in FILES},
        "gone": None,
    }
    write_text(beside / "segment.json", json.dumps({**state, **about}) + "\n")
    os.replace(beside, folder)
    return state


def content_sum(texts: pa.RecordBatch) -> int:
    """Return a sum over TEXTS of a hash of each name and content, below 2⁶⁴."""
    rows = zip(
        texts.column("uid").to_pylist(),
        texts.column("content").to_pylist(),
        strict=True,
    )
    marks = keys(f"{content}:{uid}" for uid, content in rows)
    return int(marks.sum(dtype=np.uint64))


def digests_by_row(segment: Segment, band: int) -> npt.NDArray[np.uint64]:
    """Return a band's digests in the order of the rows."""
    by_row = np.empty(segment.size, dtype=np.uint64)
    by_row[segment.rows[band]] = segment.digests[band]
    return by_row


def merged(
    segments: Sequence[Segment],
) -> tuple[pa.RecordBatch, npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
    """Return the standing rows of segments as those of one: texts, digests, rows."""
    kept = [np.flatnonzero(s.standing(np.arange(s.size))) for s in segments]
    tables = [
        pa.Table.from_batches([s.table]).take(pa.array(rows))
        for s, rows in zip(segments, kept, strict=True)
    ]
    table = pa.concat_tables(tables)
    order = pc.sort_indices(table, sort_keys=[("uid", "ascending")])
    (texts,) = table.take(order).combine_chunks().to_batches() or [
        pa.RecordBatch.from_pylist([], TEXTS)
    ]
    bands, by_uid = len(segments[0].digests), order.to_numpy()
    digests = np.empty((bands, len(texts)), dtype=np.uint64)
    rows = np.empty((bands, len(texts)), dtype=np.uint32)
    for band in range(bands):
        parts = zip(segments, kept, strict=True)
        column = np.concatenate([digests_by_row(s, band)[k] for s, k in parts])[by_uid]
        by_digest = np.argsort(column, kind="stable")
        digests[band], rows[band] = column[by_digest], by_digest
    return texts, digests, rows
