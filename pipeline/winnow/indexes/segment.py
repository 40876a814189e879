"""One segment of an index on disk: its rows, sorted by uid, and arrays over them.

    segment-00000/TABLE         the rows: uid, content, addition, and what a kind adds
    segment-00000/ARRAYS        what a kind of segment finds rows by
    segment-00000/segment.json  rows, lengths and checksums of these, the settings
    segment-00000/gone-0001.npy rows that were removed since

A segment is never changed; what is removed from it stands beside it. Kinds are
`text_segment` and `vector_segment`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.core.errors import InputError
from winnow.core.hashing import keys
from winnow.core.integrity import checksum, take_check, with_check
from winnow.core.run_folder import remove, write_text

#: What an index is of that does not say so.
TEXT_KIND = "texts"
#: What a segment says of itself, for a repair.
DESCRIPTION = "segment.json"
# Beyond this many rows per asked name, a segment's names are read from end to end.
_SEARCHES = 64


class DamagedIndex(InputError):
    """A file of an index is not what was written."""


def damaged(file: Path, why: str) -> DamagedIndex:
    """Return the error that names a file, and the way out."""
    index = file.parents[1] if file.parent.name.startswith("segment-") else file.parent
    return DamagedIndex(
        f"{file}: the index is damaged here ({why}); `winnow index repair {index}` "
        "makes again what its rows allow, and says what has to be added anew"
    )


def stated(file: Path) -> dict[str, Any]:
    """Return what an index notes about a file: its length and checksum."""
    return {"bytes": file.stat().st_size, "checksum": checksum(file)}


@dataclass(frozen=True)
class Segment:
    """One batch of indexed rows, sorted by uid; `state` is its entry in index.json.

    KIND: what is indexed, in the plural. ASKED_BY: the option that asks with one.
    TABLE, SCHEMA: the rows' file and its columns. ARRAYS: files of arrays over them.
    REMADE: whether the arrays can be made again from the rows.
    """

    KIND: ClassVar[str]
    ASKED_BY: ClassVar[str]
    TABLE: ClassVar[str]
    SCHEMA: ClassVar[pa.Schema]
    ARRAYS: ClassVar[tuple[str, ...]]
    REMADE: ClassVar[bool]

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
        """Length of the largest of its files that a merge holds in memory."""
        return int(self.state["files"][self.TABLE]["bytes"])

    def files(self) -> list[tuple[Path, Mapping[str, Any]]]:
        """Return the segment's files, and what is noted about each."""
        noted = [
            (self.folder / name, self.state["files"][name]) for name in self.names()
        ]
        gone = self.state.get("gone")
        return [*noted, (self.folder / gone["file"], gone)] if gone else noted

    @cached_property
    def gone(self) -> npt.NDArray[np.bool_] | None:
        """Which rows have been removed, or None."""
        gone = self.state.get("gone")
        if not gone:
            return None
        mask = np.zeros(self.size, dtype=np.bool_)
        mask[self.array(gone["file"])] = True
        return mask

    @cached_property
    def table(self) -> pa.RecordBatch:
        """The rows, of SCHEMA; mapped."""
        source = pa.memory_map(str(self.folder / self.TABLE))
        return pa.ipc.open_file(source).get_batch(0)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the files that are written once."""
        return (*cls.ARRAYS, cls.TABLE)

    def array(self, name: str) -> npt.NDArray[Any]:
        """Return an array of the segment; mapped."""
        file = self.folder / name
        return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))

    def open(self) -> Self:
        """Map all files now: what is open outlives the folder. Returns itself."""
        _ = self.table, self.gone
        return self

    @classmethod
    def merged_arrays(
        cls,
        segments: Sequence[Self],
        kept: Sequence[npt.NDArray[np.int64]],
        by_uid: npt.NDArray[np.int64],
    ) -> tuple[npt.NDArray[Any], ...]:
        """Return the arrays of several segments as those of one.

        kept: the rows of each that stand. by_uid: the order of all these by uid.
        """
        raise NotImplementedError

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
    kind: type[Segment],
    folder: Path,
    rows: pa.RecordBatch,
    arrays: Sequence[npt.NDArray[Any]],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Write rows sorted by uid and the arrays over them; return the state.

    The folder gets its name when all is in it. `about` is what a repair needs to know
    besides: the index's settings and columns.
    """
    beside = folder.with_name(folder.name + ".tmp")
    for stale in (beside, folder):
        remove(stale)
    beside.mkdir()
    for name, array in zip(kind.ARRAYS, arrays, strict=True):
        np.save(beside / name, array)
    with pa.ipc.new_file(str(beside / kind.TABLE), kind.SCHEMA) as writer:
        writer.write_batch(rows)
    state = {
        "name": folder.name,
        "rows": len(rows),
        "files": {name: stated(beside / name) for name in kind.names()},
        "gone": None,
    }
    write_description(beside, state, about)
    os.replace(beside, folder)
    return state


def write_description(
    folder: Path, state: Mapping[str, Any], about: Mapping[str, Any]
) -> None:
    """Write what a segment says of itself, for whoever has lost the index's state."""
    said = with_check({**state, "gone": None, **about})
    write_text(folder / DESCRIPTION, json.dumps(said) + "\n")


def read_description(folder: Path) -> dict[str, Any] | None:
    """Return what a segment says of itself; None if it is not what was written."""
    try:
        said = json.loads((folder / DESCRIPTION).read_bytes())
        sealed = "check" in said
        # Segments of earlier versions have no checksum there.
        return dict(said) if take_check(said) or not sealed else None
    except (AttributeError, OSError, TypeError, ValueError):
        return None


def content_sum(rows: pa.RecordBatch) -> int:
    """Return a sum over rows of a hash of each name and content, below 2⁶⁴."""
    named = zip(
        rows.column("uid").to_pylist(),
        rows.column("content").to_pylist(),
        strict=True,
    )
    marks = keys(f"{content}:{uid}" for uid, content in named)
    return int(marks.sum(dtype=np.uint64))


def merged(segments: Sequence[Segment]) -> tuple[Any, ...]:
    """Return the standing rows of segments as those of one, and its arrays."""
    kind = type(segments[0])
    kept = [np.flatnonzero(s.standing(np.arange(s.size))) for s in segments]
    tables = [
        pa.Table.from_batches([s.table]).take(pa.array(rows))
        for s, rows in zip(segments, kept, strict=True)
    ]
    table = pa.concat_tables(tables)
    order = pc.sort_indices(table, sort_keys=[("uid", "ascending")])
    (rows,) = table.take(order).combine_chunks().to_batches() or [
        pa.RecordBatch.from_pylist([], kind.SCHEMA)
    ]
    by_uid = order.to_numpy().astype(np.int64)
    return rows, *kind.merged_arrays(segments, kept, by_uid)
