"""WebDataset shards: tars of samples, as img2dataset and WebDataset's writer make them.

A row is a sample, all members of one key; its members are columns, and so are the
fields of its `json`. Nothing is unpacked: members are read by offset where they lie. A
sample that cannot be used costs its row, not the shard.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.core.errors import InputError
from winnow.formats.file_access import filesystem, is_local
from winnow.formats.img2dataset import failed_rows, is_companion
from winnow.formats.jsonl_fields import FAULTS, FieldsFormat
from winnow.formats.not_pools import PACKED_TAR, PACKED_TARS
from winnow.formats.shard_protocol import (
    FoundPool,
    Listing,
    ShardFooter,
    Unreadable,
)
from winnow.formats.tar_columns import (
    IMAGE,
    IMAGES,
    KEY,
    MEMBERS,
    MEMBERS_TYPE,
    PLACE,
    TEXT,
    TEXTS,
    UID,
    column,
    columns_of,
    endings_for,
    uids,
)
from winnow.formats.tar_index import TarIndex, index_of, key_of

#: Samples at a shard's beginning that the fields of `json` are taken from.
_SAMPLES = 200
_BATCH_ROWS = 256
_BATCH_BYTES = 64 * 2**20
#: Members so close together are read in one piece.
_GAP = 16 * 2**10
#: More endings than samples have where a dot ends the key.
_MOST_ENDINGS = 64


class WebDatasetFormat(FieldsFormat):
    """Shards that are tars of samples."""

    name = "webdataset"
    title = "WebDataset"
    endings = (".tar",)
    carriers = (MEMBERS,)

    def claims(self, listing: Listing) -> FoundPool | None:
        """Return a folder's tars, if all else that could be shards belongs to them."""
        files = listing.visible
        packed = next((f for f in files if f.lower().endswith(PACKED_TARS)), None)
        if packed is not None:
            what, way = PACKED_TAR
            raise InputError(f"input.path: {packed} is {what}; {way}")
        tars = [file for file in files if file.lower().endswith(".tar")]
        stems = {file[: -len(".tar")] for file in tars}
        others = (f for f in files if f.endswith((".parquet", ".jsonl")))
        if not tars or not all(is_companion(file, stems) for file in others):
            return None
        return FoundPool(self, tars)

    def recognises(self, head: bytes) -> bool:
        """Whether a file begins with the header of a tar's member."""
        return head[257:262] == b"ustar"

    def footer(self, path: str) -> ShardFooter:
        """Return a tar's samples and columns; raises InputError if it is cut short.

        All headers are read once; later calls have them from the cache.
        """
        index = index_of(path)
        endings = index.endings
        if len(endings) > _MOST_ENDINGS:
            shown = ", ".join(repr(ending) for ending in endings[:3])
            raise InputError(
                f"{path}: its members have {len(endings):,} different endings "
                f"({shown}, …): WebDataset ends a key at the first dot; write keys "
                "without dots"
            )
        number = np.arange(min(_SAMPLES, len(index.samples)))
        try:
            members = _Reader(path, index).members(number, ["json", "npy"])
        except OSError as error:
            raise InputError(
                f"{path}: its members cannot be read by offset ({str(error)[:160]}); "
                "copy it to a disk or an object store"
            ) from error
        sample = [{e: d for _, e, d in rows} for rows in members]
        mark = f"{self.name}:{failed_rows(path).state}"
        return ShardFooter(len(index.samples), columns_of(endings, sample), mark)

    def read_rows(
        self,
        path: str,
        rows: npt.NDArray[np.int64],
        columns: Sequence[str],
        schema: pa.Schema | None = None,
    ) -> Iterator[tuple[int, pa.Table | Unreadable]]:
        """Yield (position in `rows`, table) for the sorted row numbers of one shard.

        What a sample lacks is null. A sample with a member that is no file, leads out
        of the pool or is not what its ending says, and a download that failed, come out
        as Unreadable.
        """
        if schema is None:
            schema = self.footer(path).schema
        fields = [schema.field(name) for name in columns]
        types = {field.name: field.type for field in fields}
        index = index_of(path)
        faults = index.samples["fault"].take(pa.array(rows)).to_pylist()
        position = 0
        for fault, group in groupby(faults):
            size = len(list(group))
            run = rows[position : position + size]
            if fault is not None:
                yield position, Unreadable(size, fault, types)
            else:
                for start, part in _readable(path, index, run, fields):
                    yield position + start, part
            position += size

    def unseen(self, schema: pa.Schema) -> set[str]:
        """Return the members as such: `image` and `text` hold them again."""
        again = {IMAGE: IMAGES, TEXT: TEXTS}
        shown = {e for name in again if name in schema.names for e in again[name]}
        return {*self.carriers, "json", *(shown - {IMAGE, TEXT})}

    def sink(self, file: Path, schema: pa.Schema) -> TarSink:
        """Open a tar for writing."""
        return TarSink(file)


class TarSink:
    """A tar that is being written: members byte for byte."""

    def __init__(self, file: Path) -> None:
        self._tar = tarfile.open(file, "w")  # noqa: SIM115, closed by `close`
        self._keys: set[str] = set()

    def write(self, table: pa.Table) -> None:
        """Append samples; a key that stands in the tar already gets a folder."""
        for members in table[MEMBERS].to_pylist():
            keys = {key_of(entry["name"]) for entry in members}
            number = 1
            while any(_inside(number, key) in self._keys for key in keys):
                number += 1
            self._keys |= {_inside(number, key) for key in keys}
            for entry in members:
                info = tarfile.TarInfo(_inside(number, entry["name"]))
                info.size, info.mode = len(entry["data"]), 0o644
                self._tar.addfile(info, io.BytesIO(entry["data"]))

    def close(self) -> None:
        """Write the end of the tar."""
        self._tar.close()


def _inside(number: int, name: str) -> str:
    return name if number == 1 else f"{number}/{name}"


@dataclass(frozen=True)
class _Reader:
    """Reads members of one tar by offset."""

    path: str
    index: TarIndex

    def members(
        self, rows: npt.NDArray[np.int64], endings: Sequence[str]
    ) -> list[list[tuple[str, str, bytes]]]:
        """Return (name, ending, bytes) of each sample's members of these endings."""
        first = self.index.first
        counts = first[rows + 1] - first[rows]
        wanted = np.repeat(first[rows] - np.cumsum(counts) + counts, counts)
        wanted = wanted + np.arange(len(wanted))
        table = self.index.members.take(pa.array(wanted))
        owner = np.repeat(np.arange(len(rows)), counts)
        kept = pc.is_in(table["ending"].cast(pa.string()), pa.array(endings, "string"))
        table, owner = table.filter(kept), owner[kept.to_numpy()]
        samples: list[list[tuple[str, str, bytes]]] = [[] for _ in rows]
        blobs = _pieces(self.path, table["offset"].to_numpy(), table["size"].to_numpy())
        names, ends = table["name"].to_pylist(), table["ending"].to_pylist()
        for row, name, ending, data in zip(owner, names, ends, blobs, strict=True):
            samples[row].append((name, ending, data))
        return samples


def _readable(
    path: str, index: TarIndex, rows: npt.NDArray[np.int64], fields: list[pa.Field]
) -> Iterator[tuple[int, pa.Table | Unreadable]]:
    """Yield (position in `rows`, table) of samples whose members are files."""
    endings = index.endings
    wanted = {e for field in fields for e in endings_for(field.name, endings)}
    if any(field.name == UID for field in fields):
        wanted |= {"json"} & set(endings)
    position = 0
    for batch in _batches(index, rows):
        try:
            members = _Reader(path, index).members(batch, sorted(wanted))
        except OSError as error:
            types = {field.name: field.type for field in fields}
            reason = f"unreadable_tar: {str(error)[:120]}"
            yield position, Unreadable(len(batch), reason, types)
            position += len(batch)
            continue
        keys = index.samples["key"].take(pa.array(batch)).to_pylist()
        stem = path.rpartition("/")[2][: -len(".tar")]
        for part in _parsed(_Batch(stem, keys, members, set(endings)), fields):
            yield position, part
            position += part.rows if isinstance(part, Unreadable) else len(part)


def _batches(
    index: TarIndex, rows: npt.NDArray[np.int64]
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield row numbers of samples that are of a bounded size together."""
    sizes = np.concatenate([[0], np.cumsum(index.members["size"].to_numpy())])
    total = np.cumsum(sizes[index.first[rows + 1]] - sizes[index.first[rows]])
    start = 0
    while start < len(rows):
        before = total[start - 1] if start else 0
        end = int(np.searchsorted(total, before + _BATCH_BYTES, "right"))
        end = max(start + 1, min(end, start + _BATCH_ROWS))
        yield rows[start:end]
        start = end


@dataclass(frozen=True)
class _Batch:
    """Samples as they were read."""

    stem: str
    keys: list[str]
    members: list[list[tuple[str, str, bytes]]]
    endings: set[str]

    def part(self, start: int, end: int) -> _Batch:
        members = self.members[start:end]
        return _Batch(self.stem, self.keys[start:end], members, self.endings)

    def column(self, field: pa.Field) -> pa.Array:
        if field.name == KEY:
            return pa.array(self.keys, pa.string())
        if field.name == PLACE:
            return pa.array([f"{self.stem}/{key}" for key in self.keys], pa.string())
        if field.name == MEMBERS:
            rows = [[{"name": n, "data": d} for n, _, d in m] for m in self.members]
            return pa.array(rows, MEMBERS_TYPE)
        samples = [{e: d for _, e, d in rows} for rows in self.members]
        if field.name == UID:
            return uids(self.keys, samples)
        return column(field, samples, self.endings)


def _parsed(batch: _Batch, fields: list[pa.Field]) -> Iterator[pa.Table | Unreadable]:
    """Yield tables of samples that are fine, and each other sample by itself."""
    try:
        yield pa.table({field.name: batch.column(field) for field in fields})
        return
    except FAULTS as error:
        if len(batch.keys) == 1:
            types = {field.name: field.type for field in fields}
            yield Unreadable(1, f"broken_member: {str(error)[:120]}", types)
            return
    # Halving finds a few broken samples among many without parsing each by itself.
    middle = len(batch.keys) // 2
    yield from _parsed(batch.part(0, middle), fields)
    yield from _parsed(batch.part(middle, len(batch.keys)), fields)


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Raise what fsspec says of a server without ranges as a failure to read."""
    try:
        yield
    except ValueError as error:
        raise OSError(str(error)) from error


def _pieces(
    path: str, offsets: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> list[bytes]:
    """Return stretches of a file; those close together are read in one piece."""
    order = np.argsort(offsets, kind="stable")
    blobs: list[bytes] = [b""] * len(order)
    if not len(order):
        return blobs
    starts, ends = offsets[order], (offsets + sizes)[order]
    cuts = np.flatnonzero(starts[1:] - ends[:-1] > _GAP) + 1
    fs, inner = filesystem(path)
    # Ahead of what is asked for nothing is read.
    plain = {} if is_local(fs) else {"cache_type": "none"}
    with fs.open(inner, "rb", **plain) as file, _as_os_errors():
        for group in np.split(np.arange(len(order)), cuts):
            first, last = int(starts[group[0]]), int(ends[group].max())
            file.seek(first)
            data = file.read(last - first)
            if len(data) < last - first:
                raise OSError("the tar ends before this member")
            for n in group.tolist():
                blobs[order[n]] = data[starts[n] - first : ends[n] - first]
    return blobs
