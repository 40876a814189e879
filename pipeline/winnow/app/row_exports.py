"""A list's rows as files: uids, columns, tars of pictures and captions."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.app.filters import AskedPage
from winnow.app.rows import IndexedRows
from winnow.core.errors import QueryError
from winnow.reports.export.webdataset import tar_sample
from winnow.reports.rows_out import as_json

#: Rows of a tar: their pictures go through this process.
MOST_PICTURES = 20_000
_BATCH = 64

Images = Callable[[list[tuple[str, int]]], list[bytes | None]]
#: Each kind of file, its media type, and its name.
KINDS = {
    "csv": ("text/csv", "rows.csv"),
    "json": ("application/json", "rows.json"),
    "parquet": ("application/vnd.apache.parquet", "rows.parquet"),
    "tar": ("application/x-tar", "rows.tar"),
}


class RowExports:
    """Exports of lists of one run; images: reads the encoded pictures at places."""

    def __init__(self, rows: IndexedRows, images: Images | None) -> None:
        self._rows, self._images = rows, images

    def parts(
        self, kind: str, wanted: AskedPage, marks: dict[str, str], similar: str
    ) -> Iterator[bytes]:
        """Yield a file of the rows that an address asks for, in its order.

        kind: a key of KINDS; csv and json hold the columns of the list's rows by name,
        as parquet does. Raises QueryError for too many pictures.
        """
        columns = ", ".join(c.sql for c in self._rows.index.columns)
        batches = self._rows.ordered(columns, wanted, marks, similar)
        if kind == "tar":
            total = sum(self._rows.counts(wanted, marks, similar).values())
            if total > MOST_PICTURES:
                raise QueryError(
                    f"{total:,} rows are more than the {MOST_PICTURES:,} of a tar; "
                    "narrow the list, or `winnow export` what the run keeps"
                )
            return self._tar(batches)
        write = {"csv": _csv, "json": _json, "parquet": _parquet}[kind]
        return write(batches)

    def _tar(self, batches: Iterator[pa.RecordBatch]) -> Iterator[bytes]:
        out, number = _Sink(), 0
        with tarfile.open(fileobj=cast(Any, out), mode="w|") as tar:
            for batch in batches:
                for start in range(0, len(batch), _BATCH):
                    rows = batch.slice(start, _BATCH).to_pylist()
                    for row, image in zip(rows, self._pictures(rows), strict=True):
                        for ending, data in tar_sample(
                            image, row.get("caption"), _plain(row)
                        ).items():
                            member = tarfile.TarInfo(f"{number:08d}{ending}")
                            member.size, member.mode = len(data), 0o444
                            tar.addfile(member, io.BytesIO(data))
                        number += 1
                    yield out.taken()
        yield out.taken()

    def _pictures(self, rows: list[dict[str, Any]]) -> list[bytes | None]:
        if self._images is None:
            return [None] * len(rows)
        return self._images([(row["source"], row["row"]) for row in rows])


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: as_json(value) for name, value in row.items() if name != "caption"}


def _csv(batches: Iterator[pa.RecordBatch]) -> Iterator[bytes]:
    first = True
    for batch in batches:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        if first:
            writer.writerow(batch.schema.names)
        first = False
        writer.writerows(row.values() for row in batch.to_pylist())
        yield out.getvalue().encode()


def _json(batches: Iterator[pa.RecordBatch]) -> Iterator[bytes]:
    before = "[\n"
    for batch in batches:
        for row in batch.to_pylist():
            plain = {name: as_json(value) for name, value in row.items()}
            yield (before + json.dumps(plain, ensure_ascii=False)).encode()
            before = ",\n"
    yield b"\n]\n" if before != "[\n" else b"[]\n"


def _parquet(batches: Iterator[pa.RecordBatch]) -> Iterator[bytes]:
    out, writer = _Sink(), None
    for batch in batches:
        if writer is None:
            writer = pq.ParquetWriter(pa.PythonFile(out, mode="w"), batch.schema)
        if len(batch):
            writer.write_batch(batch)
        yield out.taken()
    if writer is not None:
        writer.close()
    yield out.taken()


class _Sink:
    """A file that is written once, whose bytes are taken as they come."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def write(self, data: bytes) -> int:
        """Take bytes; they may be of a buffer that is used again."""
        self._parts.append(bytes(data))
        self._length += len(data)
        return len(data)

    def tell(self) -> int:
        """Return how much has been written, what was taken included."""
        return self._length

    def flush(self) -> None:
        """Do nothing: nothing waits."""

    def close(self) -> None:
        """Do nothing: the bytes are still to be taken."""

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)
