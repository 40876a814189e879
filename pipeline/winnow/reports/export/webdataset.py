"""WebDataset: tar files of samples, as img2dataset writes and open_clip reads them.

A sample is NUMBER.jpg (or .png, .webp, … by what the bytes are), NUMBER.txt with the
caption and NUMBER.json with `uid` and every other column. The number is that of the
shard and of the row within it, since a uid may hold dots, which end a sample's key.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from winnow.formats.reader import single, utf8
from winnow.reports.export.kept_rows import REPEATS, KeptRows
from winnow.reports.rows_out import as_json

_MAGIC = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tif"),
    (b"MM\x00*", "tif"),
)
_SAMPLE = dict[str, bytes]


def write_webdataset(rows: KeptRows, folder: Path, shard_rows: int) -> int:
    """Write NNNNN.tar to a new folder; return the samples.

    A row that was drawn several times is as many samples.
    """
    folder.mkdir()
    writer, count = _Shards(folder, shard_rows), 0
    try:
        for batch in rows.batches():
            repeats = batch[REPEATS].to_pylist()
            for sample, times in zip(_samples(rows, batch), repeats, strict=True):
                for _ in range(times):
                    writer.add(sample)
                count += times
    finally:
        writer.close()
    return count


class _Shards:
    """Tar files of so many samples each; the same samples give the same bytes."""

    def __init__(self, folder: Path, shard_rows: int) -> None:
        self._folder, self._shard_rows = folder, shard_rows
        self._shard = self._row = 0
        self._tar = self._opened()

    def add(self, sample: _SAMPLE) -> None:
        if self._row == self._shard_rows:
            self._tar.close()
            self._shard, self._row = self._shard + 1, 0
            self._tar = self._opened()
        digits = len(str(self._shard_rows - 1))
        for ending, data in sample.items():
            member = tarfile.TarInfo(f"{self._shard:05d}{self._row:0{digits}d}{ending}")
            member.size, member.mode = len(data), 0o444
            self._tar.addfile(member, io.BytesIO(data))
        self._row += 1

    def close(self) -> None:
        self._tar.close()

    def _opened(self) -> tarfile.TarFile:
        return tarfile.open(self._folder / f"{self._shard:05d}.tar", "w")


def _samples(rows: KeptRows, batch: pa.RecordBatch) -> Iterator[_SAMPLE]:
    """Yield the files of each sample, by ending."""
    columns = rows.columns
    values = {"uid": batch["uid"].to_pylist()}
    for name in columns.others:
        values[rows.name(name)] = _values(batch[f"extra.{name}"])
    for name in columns.scores:
        values[name] = batch[name].to_pylist()
    nothing: list[Any] = [None] * len(batch)
    images = batch["image"].to_pylist() if columns.image is not None else nothing
    texts = batch["text"].to_pylist() if columns.text is not None else nothing
    for row, (image, text) in enumerate(zip(images, texts, strict=True)):
        sample: _SAMPLE = {}
        if image is not None:
            sample[f".{_ending(image)}"] = image
        if columns.text is not None:
            sample[".txt"] = (text or "").encode()
        about = {name: as_json(column[row]) for name, column in values.items()}
        line = json.dumps(about, ensure_ascii=False, allow_nan=False)
        sample[".json"] = line.encode()
        yield sample


def _values(column: pa.Array) -> list[Any]:
    kind = column.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    values: list[Any] = (
        utf8(single(pa.chunked_array([column])))[0] if is_text else column
    ).to_pylist()
    return values


def _ending(image: bytes) -> str:
    """Return the ending of a file with these bytes; `bin` for what is not known."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "webp"
    return next((end for magic, end in _MAGIC if image.startswith(magic)), "bin")
