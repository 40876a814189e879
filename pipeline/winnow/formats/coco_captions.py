"""COCO's captions: one JSON file of images and annotations beside folders of images.

A row is an image; its captions are those of all its annotations. The images lie beside
the file, or in a folder beside its own that the file's name ends in (`val2017` for
`annotations/captions_val2017.json`).
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.errors import InputError
from winnow.formats.file_access import filesystem, state_of_file
from winnow.formats.jsonl_fields import LINE, FieldsFormat, column_of, schema_of
from winnow.formats.jsonl_shards import LineSink
from winnow.formats.shard_protocol import (
    FoundPool,
    Listing,
    ShardFooter,
    Unreadable,
)

CAPTIONS, TEXT, IMAGE, UID = "captions", "text", "image", "uid"
_BATCH_ROWS = 1024
_SAMPLE = 200


class CocoFormat(FieldsFormat):
    """Files of COCO's captions."""

    name = "coco"
    title = "COCO captions"
    carriers = (LINE,)

    def claims(self, listing: Listing) -> FoundPool | None:
        """Return the `captions_*.json` of a folder."""
        files = [f for f in listing.visible if _is_captions(f)]
        return FoundPool(self, files) if files else None

    def recognises(self, head: bytes) -> bool:
        """Whether a JSON file begins as COCO's do."""
        return head.lstrip().startswith(b"{") and any(
            mark in head for mark in (b'"info"', b'"images"', b'"annotations"')
        )

    def footer(self, path: str) -> ShardFooter:
        """Return the images of a file; raises InputError if it is none of COCO's."""
        rows = _rows(path, state_of_file(path))
        sample = [json.dumps(row).encode() for row in rows[:_SAMPLE]]
        return ShardFooter(len(rows), schema_of(sample), self.name)

    def read_rows(
        self,
        path: str,
        rows: npt.NDArray[np.int64],
        columns: Sequence[str],
        schema: pa.Schema | None = None,
    ) -> Iterator[tuple[int, pa.Table | Unreadable]]:
        """Yield (position in `rows`, table) for the sorted row numbers of one file."""
        known = _rows(path, state_of_file(path))
        if schema is None:
            schema = self.footer(path).schema
        for start in range(0, len(rows), _BATCH_ROWS):
            part = [known[row] for row in rows[start : start + _BATCH_ROWS].tolist()]
            table = {
                name: pa.array([json.dumps(row).encode() for row in part], pa.binary())
                if name == LINE
                else column_of([row.get(name) for row in part], schema.field(name))
                for name in columns
            }
            yield start, pa.table(table)

    def sink(self, file: Path, schema: pa.Schema) -> LineSink:
        """Open a list of rows, as JSON Lines: COCO has no file of a part of itself."""
        return LineSink(file)

    def suffix(self, path: str) -> str:
        """Return the ending of kept lists."""
        return ".jsonl"


def _is_captions(file: str) -> bool:
    name = posixpath.basename(file)
    return name.startswith("captions_") and name.endswith(".json")


@lru_cache(maxsize=1)
def _rows(path: str, state: str) -> list[dict[str, Any]]:
    """Return a row for each image, in the order of the file."""
    fs, inner = filesystem(path)
    try:
        with fs.open(inner, "rb") as file:
            given = json.load(file)
        images, notes = given["images"], given["annotations"]
        captions: dict[Any, list[str]] = {}
        for note in notes:
            captions.setdefault(note["image_id"], []).append(str(note["caption"]))
        folder = _folder(fs, inner)
        return [_row(image, captions.get(image["id"], []), folder) for image in images]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: no whole file of COCO's captions ({error!r:.120}); it needs "
            "images with id and file_name, annotations with image_id and caption"
        ) from error


def _row(image: Mapping[str, Any], captions: list[str], folder: str) -> dict[str, Any]:
    name = posixpath.join(folder, str(image["file_name"]))
    about = {k: v for k, v in image.items() if k not in (UID, IMAGE, TEXT, CAPTIONS)}
    uid, first = str(image["id"]), captions[0].strip() if captions else None
    return {UID: uid, IMAGE: name, TEXT: first, CAPTIONS: captions, **about}


def _folder(fs: Any, inner: str) -> str:
    """Return where the images lie, as seen from the file."""
    split = posixpath.splitext(posixpath.basename(inner))[0].rpartition("_")[2]
    here = posixpath.dirname(inner)
    for folder in (split, f"../{split}", f"../images/{split}", "../images"):
        if split and fs.isdir(posixpath.normpath(posixpath.join(here, folder))):
            return folder
    return ""
