"""Streams of samples to streams of vectors.

1. Rows are regrouped into chunks of the model's batch size.
2. Threads decode, resize and tokenise: beside a GPU, or in turns with a model that
   needs the same cores.
3. The model turns one chunk after the other into vectors; rows that cannot be used
   leave with a reason instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core import schemas
from winnow.core.errors import InputError
from winnow.core.run_log import about_row
from winnow.core.task import available_cores
from winnow.core.vectors import to_column
from winnow.models.allocator import release_freed_memory
from winnow.models.encoder import Encoder, ModelSpec, Tokens, load_encoder
from winnow.models.images import ImageRejected
from winnow.models.preprocess import Pixels

MODALITIES = ("image", "text")

IMAGE_MISSING = "image_missing"
CAPTION_MISSING = "caption_missing"
NOT_FINITE = "vector_not_finite"

#: Column of the boxes of an image that are painted over: `models.masks.PixelBox`es.
BOXES = pa.field("boxes", pa.list_(pa.list_(pa.int64())))


def output_schema(dim: int, modalities: tuple[str, ...] = MODALITIES) -> pa.Schema:
    """Schema of `embed_batches`: uid, a `MODALITY_vector` each, reason (nullable)."""
    names = (f"{modality}_vector" for modality in modalities)
    return schemas.vectors(dim, *names).append(pa.field("reason", pa.string()))


def embed_batches(
    batches: Iterator[pa.RecordBatch],
    *,
    spec: ModelSpec,
    modalities: tuple[str, ...] = MODALITIES,
    threads: int | None = None,
    mirrored: bool = False,
    masked: bool = False,
) -> Iterator[pa.RecordBatch]:
    """Embed rows of `uid: string` and `image: binary` and/or `text: string`.

    Every row comes out exactly once, in order, in batches of `output_schema`: unit
    vectors rounded to float16 and a null reason, or null vectors and the reason why
    not (that of the image if both are unusable): "image_missing", one of
    `ImageRejected`, "caption_missing" (null; an empty caption is a caption), or
    "vector_not_finite" (also for a vector of length zero). With `mirrored`, images are
    flipped left to right, which makes writing in them unreadable; with `masked`, what
    is in their `boxes`, a column like BOXES, is painted over (`models.masks`).

    Holds `threads` + 2 model batches in memory, whatever the size of the input's
    batches. Closing the generator early ends its threads. Raises ConfigError (see
    `load_encoder`) and InputError if a needed column is missing.
    """
    columns = [m for m in MODALITIES if m in modalities]
    encoder = load_encoder(spec)
    schema = output_schema(encoder.dim, tuple(modalities))
    workers = threads or available_cores()
    ahead: deque[Future[_Chunk]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        read = ["uid", *columns, *([BOXES.name] if masked else [])]
        for rows in _chunks(batches, read, spec.batch_size):
            ahead.append(pool.submit(_prepare, rows, encoder, mirrored))
            if len(ahead) < workers:
                continue
            if encoder.device == "cpu":
                # Decoding beside a forward pass would slow the thread that the others
                # wait for at each layer: measured 7 % slower than taking turns.
                wait(ahead)
                while ahead:
                    yield _embed(ahead.popleft().result(), encoder, schema)
            elif len(ahead) > workers:
                yield _embed(ahead.popleft().result(), encoder, schema)
        while ahead:
            yield _embed(ahead.popleft().result(), encoder, schema)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        release_freed_memory()


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Up to a model batch of rows; `pixels` and `tokens` hold the usable ones only."""

    uids: pa.Array
    reasons: list[str | None]
    pixels: Pixels | None
    tokens: Tokens | None


def _chunks(
    batches: Iterator[pa.RecordBatch], columns: list[str], size: int
) -> Iterator[pa.Table]:
    """Regroup batches into tables of `size` rows; the last one may be smaller."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        missing = set(columns) - set(batch.schema.names)
        if missing:
            raise InputError(
                f"embed: the input has no column {', '.join(sorted(missing))}; "
                f"it has {', '.join(batch.schema.names)}"
            )
        rest = batch.select(columns)
        while count + len(rest) >= size:
            waiting.append(rest.slice(0, size - count))
            yield pa.Table.from_batches(waiting)
            rest = rest.slice(size - count)
            waiting, count = [], 0
        if len(rest):
            waiting.append(rest)
            count += len(rest)
    if waiting:
        yield pa.Table.from_batches(waiting)


def _prepare(rows: pa.Table, encoder: Encoder, mirrored: bool) -> _Chunk:
    reasons: list[str | None] = [None] * len(rows)
    images: list[Pixels] = []
    texts: list[str] = []
    uids = rows.column("uid").to_pylist()
    for row in range(len(rows)):
        try:
            with about_row(uids[row]):
                image, text = _prepare_row(rows, row, encoder)
        except ImageRejected as rejected:
            reasons[row] = str(rejected)
            continue
        if image is not None:
            images.append(image[:, ::-1] if mirrored else image)
        if text is not None:
            texts.append(text)
    return _Chunk(
        rows.column("uid").combine_chunks(),
        reasons,
        np.stack(images) if images else None,
        encoder.tokenize(texts) if texts else None,
    )


def _prepare_row(
    rows: pa.Table, row: int, encoder: Encoder
) -> tuple[Pixels | None, str | None]:
    """Return pixels and caption of one row; a missing one is an ImageRejected too."""
    image, text = None, None
    names = rows.schema.names
    if "image" in names:
        data = rows.column("image")[row].as_py()
        if data is None:
            raise ImageRejected(IMAGE_MISSING)
        boxes = rows.column(BOXES.name)[row].as_py() if BOXES.name in names else ()
        image = encoder.prepare(data, boxes or ())
    if "text" in names:
        text = rows.column("text")[row].as_py()
        if text is None:
            raise ImageRejected(CAPTION_MISSING)
    return image, text


def _embed(chunk: _Chunk, encoder: Encoder, schema: pa.Schema) -> pa.RecordBatch:
    usable = np.array([reason is None for reason in chunk.reasons], bool)
    arrays: dict[str, npt.NDArray[np.float16]] = {}
    if chunk.pixels is not None:
        arrays["image_vector"] = encoder.encode_images(chunk.pixels).astype(np.float16)
    if chunk.tokens is not None:
        arrays["text_vector"] = encoder.encode_tokens(chunk.tokens).astype(np.float16)
    sound = np.ones(int(usable.sum()), bool)
    for vectors in arrays.values():
        sound &= np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
    reasons = np.array(chunk.reasons, object)
    reasons[np.flatnonzero(usable)[~sound]] = NOT_FINITE
    valid = usable.copy()
    valid[usable] = sound
    columns: list[pa.Array] = [chunk.uids]
    for name in schema.names[1:-1]:
        matrix = np.zeros((len(valid), encoder.dim), np.float16)
        if name in arrays:
            matrix[valid] = arrays[name][sound]
        columns.append(to_column(matrix, valid))
    columns.append(pa.array(reasons, pa.string()))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
