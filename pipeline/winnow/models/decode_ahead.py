"""Model batches made ready by threads that share their pictures.

Threads take one picture after the other, not a batch each: a batch is ready when its
pictures are, however unlike their sizes, the next one is begun by whoever has nothing
left of this one, and as few batches are held for sixteen threads as for two.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from winnow.core.run_log import about_row
from winnow.models.encoder import Encoder, Tokens
from winnow.models.images import ImageRejected
from winnow.models.preprocess import Pixels

IMAGE_MISSING = "image_missing"
CAPTION_MISSING = "caption_missing"

#: Column of the boxes of an image that are painted over: `models.masks.PixelBox`es.
BOXES = pa.field("boxes", pa.list_(pa.list_(pa.int64())))


@dataclass(frozen=True, slots=True)
class Ready:
    """Up to a model batch of rows; `pixels` and `tokens` hold the usable ones only.

    reasons: why a row is not usable; None: it is.
    """

    uids: pa.Array
    reasons: list[str | None]
    pixels: Pixels | None
    tokens: Tokens | None


class DecodeAhead:
    """Threads that make rows ready in the order in which they are begun."""

    def __init__(self, encoder: Encoder, threads: int, mirrored: bool) -> None:
        self._encoder, self._threads, self._mirrored = encoder, threads, mirrored
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._awake = threading.Event()
        self._awake.set()
        self._closed = False

    def begin(self, rows: pa.Table) -> Begun:
        """Have rows of uid and image and/or text (and boxes) made ready."""
        batch = Begun(rows, self._encoder, self._mirrored)
        if batch.texts is not None:
            texts = [text or "" for text in batch.texts]
            batch.tokens = self._pool.submit(self._encoder.tokenize, texts)
        for _ in range(min(self._threads, len(rows))):
            batch.shares.append(self._pool.submit(self._share, batch))
        return batch

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Have threads begin no picture meanwhile: somebody needs the same cores."""
        self._awake.clear()
        try:
            yield
        finally:
            self._awake.set()

    def close(self) -> None:
        """End the threads, after the picture that each is at."""
        self._closed = True
        self._awake.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _share(self, batch: Begun) -> None:
        while not self._closed:
            self._awake.wait()
            try:
                row = batch.left.popleft()
            except IndexError:
                return
            batch.prepare(row)


class Begun:
    """A batch while threads are at it; its places are each written by one of them."""

    def __init__(self, rows: pa.Table, encoder: Encoder, mirrored: bool) -> None:
        names = rows.schema.names
        self._encoder, self._mirrored = encoder, mirrored
        self._uids = rows.column("uid").combine_chunks()
        self._images = rows.column("image") if "image" in names else None
        self._boxes = rows.column(BOXES.name) if BOXES.name in names else None
        self.texts = rows.column("text").to_pylist() if "text" in names else None
        self._names: list[str] = self._uids.to_pylist()
        self._reasons: list[str | None] = [None] * len(rows)
        self._pixels: Pixels | None = None
        if self._images is not None:
            size = encoder.preprocess.height, encoder.preprocess.width
            self._pixels = np.empty((len(rows), *size, 3), np.uint8)
        #: Rows that no thread has taken; a deque hands out each once.
        self.left = deque(range(len(rows)))
        self.shares: list[Future[None]] = []
        self.tokens: Future[Tokens] | None = None

    def prepare(self, row: int) -> None:
        """Decode a row's picture, or note why it cannot be used."""
        try:
            with about_row(self._names[row]):
                self._decode(row)
            if self.texts is not None and self.texts[row] is None:
                raise ImageRejected(CAPTION_MISSING)
        except ImageRejected as rejected:
            self._reasons[row] = str(rejected)

    def ready(self) -> Ready:
        """Wait for the threads; raise what one of them did."""
        for share in self.shares:
            share.result()
        tokens = self.tokens.result() if self.tokens is not None else None
        usable = np.array([reason is None for reason in self._reasons], bool)
        pixels = self._pixels
        if not usable.all():
            pixels = pixels[usable] if pixels is not None else None
            tokens = tokens[usable] if tokens is not None else None
        if not usable.any():
            pixels = tokens = None
        return Ready(self._uids, self._reasons, pixels, tokens)

    def _decode(self, row: int) -> None:
        if self._images is None or self._pixels is None:
            return
        data = self._images[row].as_py()
        if data is None:
            raise ImageRejected(IMAGE_MISSING)
        boxes = self._boxes[row].as_py() if self._boxes is not None else None
        pixels = self._encoder.prepare(data, boxes or ())
        self._pixels[row] = pixels[:, ::-1] if self._mirrored else pixels
