"""WebDataset: tar files of samples, as img2dataset writes and open_clip reads them.

A sample is NUMBER.jpg (or .png, .webp by what the bytes are), NUMBER.txt with the
caption and NUMBER.json with `uid` and every other column. The number is that of the
shard and of the row within it, since a uid may hold dots, which end a sample's key.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from winnow.core.run_log import told_of
from winnow.formats.reader import single, utf8
from winnow.models.images import ImageRejected, as_png
from winnow.reports.export.kept_rows import REPEATS, KeptRows
from winnow.reports.rows_out import as_json

#: What open_clip's reader takes; it drops samples with anything else in silence.
_MAGIC = ((b"\xff\xd8\xff", "jpg"), (b"\x89PNG\r\n\x1a\n", "png"))
_SAMPLE = dict[str, bytes]


def write_webdataset(
    rows: KeptRows, folder: Path, shard_rows: int
) -> tuple[int, dict[str, int]]:
    """Write NNNNN.tar to a new folder; return the samples, and what was re-encoded.

    A row that was drawn several times is as many samples. Pictures of a format that
    open_clip's reader does not take become PNG, pixel by pixel; what cannot be decoded
    stays as it is, as `bin`, and is counted as `unreadable`.
    """
    folder.mkdir()
    writer, count, changed = _Shards(folder, shard_rows), 0, Counter[str]()
    try:
        for batch in rows.batches():
            repeats = batch[REPEATS].to_pylist()
            samples = _samples(rows, batch, changed)
            for sample, times in zip(samples, repeats, strict=True):
                for _ in range(times):
                    writer.add(sample)
                count += times
    finally:
        writer.close()
    return count, dict(changed)


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


def _samples(
    rows: KeptRows, batch: pa.RecordBatch, changed: Counter[str]
) -> Iterator[_SAMPLE]:
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
    pairs = told_of(values["uid"], zip(images, texts, strict=True))
    for row, (image, text) in enumerate(pairs):
        sample: _SAMPLE = {}
        if image is not None:
            ending, data = _readable(image, changed)
            sample[f".{ending}"] = data
        if columns.text is not None:
            sample[".txt"] = (text or "").encode()
        about = {name: as_json(column[row]) for name, column in values.items()}
        line = json.dumps(about, ensure_ascii=False, allow_nan=False)
        sample[".json"] = line.encode()
        yield sample


def tar_sample(
    image: bytes | None, caption: str | None, about: dict[str, Any]
) -> _SAMPLE:
    """Return the files of one sample by ending, as tars hold them.

    image: encoded, as it lies in the input; about: plain values for its `.json`.
    """
    sample: _SAMPLE = {}
    if image is not None:
        ending, data = _readable(image, Counter())
        sample[f".{ending}"] = data
    if caption is not None:
        sample[".txt"] = caption.encode()
    line = json.dumps(about, ensure_ascii=False, allow_nan=False)
    sample[".json"] = line.encode()
    return sample


def _values(column: pa.Array) -> list[Any]:
    kind = column.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    values: list[Any] = (
        utf8(single(pa.chunked_array([column])))[0] if is_text else column
    ).to_pylist()
    return values


def _readable(image: bytes, changed: Counter[str]) -> tuple[str, bytes]:
    """Return an image as readers take it, and the ending of its file."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "webp", image
    for magic, ending in _MAGIC:
        if image.startswith(magic):
            return ending, image
    try:
        data = as_png(image)
    except ImageRejected:
        changed["unreadable"] += 1
        return "bin", image
    changed["reencoded"] += 1
    return "png", data
