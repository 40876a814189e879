"""Folders of images, with captions in files beside them that have the images' names.

A shard is one folder with all below it, and a row an image: `cats/1.jpg` with its
caption in `cats/1.txt`, or with fields in `cats/1.json`. Rows name their images, which
are read where they lie.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.errors import InputError
from winnow.core.hashing import fingerprint
from winnow.core.inside import resolve_inside
from winnow.formats.file_access import filesystem, sizes_below
from winnow.formats.jsonl_fields import (
    FAULTS,
    LINE,
    FieldsFormat,
    column_of,
    parse_object,
    schema_of,
)
from winnow.formats.shard_protocol import (
    FoundPool,
    Listing,
    ShardFooter,
    Unreadable,
)
from winnow.formats.tar_columns import MEMBERS, MEMBERS_TYPE, PLACE, TEXT, UID

#: Endings of files that are rows.
IMAGES = frozenset(
    {
        *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
        *(".ppm", ".avif", ".jp2", ".heic"),
    }
)
#: What makes a folder a pool of another format, images or not.
_OTHERS = (
    *(".parquet", ".parq", ".pq", ".tar", ".csv", ".tsv", ".arrow"),
    *(".jsonl", ".jsonl.gz", ".jsonl.zst"),
)
_IMAGE = "image"
_BATCH_ROWS = 256
#: Of rows with their images.
_WHOLE_ROWS = 8
#: Files of fields that the columns' types are taken from.
_SAMPLE = 200
#: The folders of `kept/`, which are no part of an image's name.
_PART = re.compile(r"part-\d{5}/")


class ImageFolderFormat(FieldsFormat):
    """Folders of images, each with its caption beside it or with none."""

    name = "imagefolder"
    title = "a folder of images"
    carriers = (MEMBERS,)

    def claims(self, listing: Listing) -> FoundPool | None:
        """Return the folder itself, if it holds images and no list or shard of them."""
        names = [file.lower() for file in listing.visible]
        if any(name.endswith(_OTHERS) for name in names):
            return None
        if not any(posixpath.splitext(name)[1] in IMAGES for name in names):
            return None
        return FoundPool(self, [listing.folder])

    def state(self, path: str, *, fresh: bool = False) -> str:
        """Return `size:state` of all images and files beside them; '' without any."""
        fs, inner = filesystem(path)
        if fresh:
            fs.invalidate_cache(inner)
        _tree.cache_clear()
        sizes = sizes_below(fs, inner)
        if not sizes:
            return ""
        total = sum(size for size, _ in sizes.values())
        return f"{total}:{fingerprint(repr(sorted(sizes.items())))}"

    def footer(self, path: str) -> ShardFooter:
        """Return a folder's images and columns."""
        tree = _tree(path)
        if not tree.images:
            raise InputError(f"{path}: there is no image in it")
        kinds = {UID: pa.string(), PLACE: pa.string(), _IMAGE: pa.string()}
        lines = [f for f in tree.fields.values() if f is not None][:_SAMPLE]
        fields = schema_of([_bytes(path, name) or b"" for name in lines])
        if any(tree.captions.values()) or "caption" in fields.names:
            kinds[TEXT] = pa.string()
        for field in fields:
            if field.name != LINE:
                kinds.setdefault(field.name, field.type)
        kinds[MEMBERS] = MEMBERS_TYPE
        return ShardFooter(len(tree.images), pa.schema(list(kinds.items())), self.name)

    def read_rows(
        self,
        path: str,
        rows: npt.NDArray[np.int64],
        columns: Sequence[str],
        schema: pa.Schema | None = None,
    ) -> Iterator[tuple[int, pa.Table | Unreadable]]:
        """Yield (position in `rows`, table) for the sorted row numbers of one folder.

        An image without a caption has a null one. A file of fields that is no object
        makes its row Unreadable, and so does a file that is gone where it is wanted.
        """
        if schema is None:
            schema = self.footer(path).schema
        fields = [schema.field(name) for name in columns]
        size = _WHOLE_ROWS if MEMBERS in columns else _BATCH_ROWS
        for start in range(0, len(rows), size):
            part = rows[start : start + size].tolist()
            yield from _parsed(path, part, fields, start)

    def sink(self, file: Path, schema: pa.Schema) -> FolderSink:
        """Begin a folder of images and what stands beside them."""
        return FolderSink(file)

    def suffix(self, path: str) -> str:
        """Return that folders have no ending."""
        return ""


class FolderSink:
    """A folder of images that is being written, files byte for byte."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    def write(self, table: pa.Table) -> None:
        """Write images; one whose name is taken gets a folder."""
        for members in table[MEMBERS].to_pylist():
            number = 1
            names = [entry["name"] for entry in members]
            while any(self._path(number, name).exists() for name in names):
                number += 1
            for entry in members:
                target = self._path(number, entry["name"])
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(entry["data"])

    def close(self) -> None:
        """Leave the folder as it is."""

    def _path(self, number: int, name: str) -> Path:
        below = name if number == 1 else f"{number}/{name}"
        folder = str(self._folder)
        return Path(resolve_inside((folder,), folder, below))


@dataclass(frozen=True)
class _Tree:
    """A folder's images by name below it, and what stands beside each."""

    images: list[str]
    captions: dict[str, str | None]
    fields: dict[str, str | None]


@lru_cache(maxsize=2)
def _tree(path: str) -> _Tree:
    fs, inner = filesystem(path)
    names = sorted(sizes_below(fs, inner))
    there = set(names)
    images = [n for n in names if posixpath.splitext(n)[1].lower() in IMAGES]
    beside = {
        ending: {i: _beside(i, ending, there) for i in images}
        for ending in (".txt", ".json")
    }
    return _Tree(images, beside[".txt"], beside[".json"])


def _beside(image: str, ending: str, there: set[str]) -> str | None:
    name = posixpath.splitext(image)[0] + ending
    return name if name in there else None


def _bytes(path: str, name: str | None) -> bytes | None:
    if name is None:
        return None
    fs, inner = filesystem(path)
    with fs.open(f"{inner}/{name}", "rb") as file:
        return bytes(file.read())


def _parsed(
    path: str, rows: list[int], fields: list[pa.Field], position: int
) -> Iterator[tuple[int, pa.Table | Unreadable]]:
    """Yield tables of rows that are fine, and each other row by itself."""
    try:
        yield position, _table(path, rows, fields)
        return
    except (*FAULTS, OSError, RecursionError) as error:
        if len(rows) == 1:
            types = {field.name: field.type for field in fields}
            reason = f"broken_sidecar: {str(error)[:160]}"
            yield position, Unreadable(1, reason, types)
            return
    middle = len(rows) // 2
    yield from _parsed(path, rows[:middle], fields, position)
    yield from _parsed(path, rows[middle:], fields, position + middle)


def _table(path: str, rows: list[int], fields: list[pa.Field]) -> pa.Table:
    tree, base = _tree(path), posixpath.basename(path)
    images = [tree.images[row] for row in rows]
    plain = {PLACE, _IMAGE, MEMBERS}
    parsed = any(field.name not in plain for field in fields)
    entries = [_entry(path, tree.fields[i]) if parsed else {} for i in images]
    columns = {}
    for field in fields:
        if field.name in (PLACE, _IMAGE):
            values: list[object] = [f"{base}/{image}" for image in images]
        elif field.name == MEMBERS:
            values = [_whole(path, tree, image) for image in images]
        elif field.name == UID:
            values = [
                str(e.get(UID) or _PART.sub("", i, count=1))
                for e, i in zip(entries, images, strict=True)
            ]
        elif field.name == TEXT:
            values = [
                _text(path, tree.captions[i], e)
                for e, i in zip(entries, images, strict=True)
            ]
            raw = pa.array(values, pa.binary())
            columns[TEXT] = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
            continue
        else:
            values = [entry.get(field.name) for entry in entries]
        columns[field.name] = column_of(values, field)
    return pa.table(columns)


def _entry(path: str, name: str | None) -> dict[str, object]:
    data = _bytes(path, name)
    return {} if data is None else parse_object(data)


def _text(path: str, caption: str | None, entry: dict[str, object]) -> bytes | None:
    data = _bytes(path, caption)
    if data is not None:
        return data.removesuffix(b"\n")
    said = entry.get(TEXT, entry.get("caption"))
    return None if said is None else str(said).encode("utf-8", "surrogatepass")


def _whole(path: str, tree: _Tree, image: str) -> list[dict[str, object]]:
    names = [image, tree.captions[image], tree.fields[image]]
    return [
        {"name": _PART.sub("", name, count=1), "data": _bytes(path, name)}
        for name in names
        if name is not None
    ]
