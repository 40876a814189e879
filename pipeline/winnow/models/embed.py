"""Streams of samples to streams of vectors.

1. Rows are regrouped into chunks of the model's batch size.
2. Threads decode, resize and tokenise ahead: beside a GPU, or resting while a model
   that needs the same cores is at work.
3. The model turns one chunk after the other into vectors; rows that cannot be used
   leave with a reason instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core import schemas
from winnow.core.errors import InputError
from winnow.core.task import available_cores
from winnow.core.vectors import to_column
from winnow.models.allocator import release_freed_memory
from winnow.models.decode_ahead import BOXES, Begun, DecodeAhead
from winnow.models.encoder import Encoder, ModelSpec, load_encoder

MODALITIES = ("image", "text")

NOT_FINITE = "vector_not_finite"
#: Chunks that are begun beside the one that the model is at: with it and the one that
#: is being read four are held, whatever the number of threads.
_AHEAD = 2


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

    Holds four model batches in memory, whatever the size of the input's batches and the
    number of threads. Closing the generator early ends its threads. Raises ConfigError
    (see `load_encoder`) and InputError if a needed column is missing.
    """
    columns = [m for m in MODALITIES if m in modalities]
    encoder = load_encoder(spec)
    schema = output_schema(encoder.dim, tuple(modalities))
    ahead: deque[Begun] = deque()
    threads = threads or available_cores()
    decoders = DecodeAhead(encoder, threads, mirrored)
    try:
        read = ["uid", *columns, *([BOXES.name] if masked else [])]
        for rows in _chunks(batches, read, spec.batch_size):
            ahead.append(decoders.begin(rows))
            if len(ahead) > _AHEAD:
                yield _embed(ahead.popleft(), decoders, encoder, schema)
        while ahead:
            yield _embed(ahead.popleft(), decoders, encoder, schema)
    finally:
        decoders.close()
        release_freed_memory()


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


def _embed(
    begun: Begun, decoders: DecodeAhead, encoder: Encoder, schema: pa.Schema
) -> pa.RecordBatch:
    chunk = begun.ready()
    usable = np.array([reason is None for reason in chunk.reasons], bool)
    arrays: dict[str, npt.NDArray[np.float16]] = {}
    # Decoding beside a forward pass on the same cores would slow the thread that the
    # others wait for at each layer: measured 7 % slower than resting.
    with decoders.resting() if encoder.device == "cpu" else nullcontext():
        if chunk.pixels is not None:
            images = encoder.encode_images(chunk.pixels)
            arrays["image_vector"] = images.astype(np.float16)
        if chunk.tokens is not None:
            texts = encoder.encode_tokens(chunk.tokens)
            arrays["text_vector"] = texts.astype(np.float16)
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
