"""What the page measures on samples itself: language and length of the caption, size of
the image.

Measured on the first rows in the pool's canonical order (by uid hash) and kept beside
the index, so that it goes when the input changes and SQL finds it as view `measured`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.run_log import told_of
from winnow.models.images import ImageRejected, header_size
from winnow.models.language import identify_languages
from winnow.reports.pool_sql import RunPool
from winnow.reports.run_view import RunView

#: Captions whose language is detected, and images whose header is read.
CAPTIONS, IMAGES = 20_000, 2_000
# A language shows in as many characters, and telling it takes time by their number.
_CHARACTERS = 200

_SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("language", pa.string()),
        ("characters", pa.int64()),
        ("words", pa.int64()),
        ("width", pa.int64()),
        ("height", pa.int64()),
    ]
)


def measure(run: RunView, pool: RunPool, *, sizes: bool) -> None:
    """Write what is measured, unless it stands.

    sizes: whether images are opened, because no column holds their size.

    Raises InputError if the input cannot be read.
    """
    folder = run.folder.artifacts("index") / "measured"
    if folder.is_dir() or not run.has_artifact("index", "samples"):
        return
    captions = _drawn(run, CAPTIONS)
    text = _read(pool, captions, "text") if pool.reader.text else {}
    starts = [(text.get(uid) or "")[:_CHARACTERS] for uid in captions["uid"]]
    languages = identify_languages(pa.array(starts, pa.string()))
    images = _read(pool, _drawn(run, IMAGES), "image") if sizes else {}
    measured = [images.get(uid) for uid in captions["uid"]]
    table = pa.table(
        [
            captions["uid"].to_arrow().cast(pa.string()),
            languages,
            *_lengths([text.get(uid) for uid in captions["uid"]]),
            pa.array([size and size[0] for size in measured], pa.int64()),
            pa.array([size and size[1] for size in measured], pa.int64()),
        ],
        schema=_SCHEMA,
    )
    _write(folder, table)


def _lengths(texts: list[str | None]) -> tuple[pa.Array, pa.Array]:
    """Return how many characters and words each text has; null where there is none."""
    return (
        pa.array([None if text is None else len(text) for text in texts], pa.int64()),
        pa.array(
            [None if text is None else len(text.split()) for text in texts], pa.int64()
        ),
    )


def _drawn(run: RunView, rows: int) -> pl.DataFrame:
    drawn = run.artifact("index", "samples").sort("key").head(rows)
    places = drawn.select("uid", "source", "row").sort("source", "row")
    # Streamed, only the first rows so far are held; else the whole index would be.
    return places.collect(engine="streaming")


def _read(pool: RunPool, drawn: pl.DataFrame, modality: str) -> dict[str, Any]:
    """Return captions, or images' sizes, by uid."""
    if modality == "image" and pool.reader.image is None:
        return {}
    references = drawn.with_columns(pl.col("uid", "source").cast(pl.String)).to_arrow()
    schema = pa.schema(
        [("uid", pa.string()), ("source", pa.string()), ("row", pa.int64())]
    )
    values_of: dict[str, Any] = {}
    for batch in pool.reader.read(
        iter(references.cast(schema).to_batches()), (modality,)
    ):
        values = batch[modality]
        uids = batch["uid"].to_pylist()
        for uid, value in zip(uids, told_of(uids, values), strict=True):
            given = value.as_py()
            values_of[uid] = _header(given) if modality == "image" else given
    return values_of


def _header(image: bytes | None) -> tuple[int, int] | None:
    if image is None:
        return None
    try:
        return header_size(image)
    except ImageRejected:
        return None


def _write(folder: Path, table: pa.Table) -> None:
    beside = folder.with_name("measured.tmp")
    beside.mkdir(exist_ok=True)
    pq.write_table(table, beside / "part-00000.parquet", compression="zstd")
    os.replace(beside, folder)
