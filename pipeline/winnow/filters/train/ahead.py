"""What is trained on, and its batches, which threads prepare ahead of the steps."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.filters.train.images import Images
from winnow.filters.train.order import Batch, Order
from winnow.filters.train.recipe import TrainingRecipe
from winnow.filters.train.world import World

Tokens = npt.NDArray[np.int32]

_AHEAD = 4


@dataclass(frozen=True)
class TrainingSet:
    """Images by row, the order of batches over them, and all captions' tokens."""

    images: Images
    rows: npt.NDArray[np.int64]
    tokens: Tokens
    order: Order


Prepared = tuple[Batch, npt.NDArray[Any], Tokens, float]


def ahead(
    data: TrainingSet, start: int, recipe: TrainingRecipe, world: World
) -> Generator[Prepared, None, None]:
    """Yield this process's share of each batch, prepared ahead, and the wait for it."""

    def prepare(batch: Batch) -> tuple[Batch, npt.NDArray[Any], Tokens]:
        size = len(batch.rows) // world.size
        share = slice(world.rank * size, (world.rank + 1) * size)
        rows = data.rows[batch.rows[share]]
        seen = [
            data.images.training(rows, batch.epoch, view)
            for view in range(recipe.views)
        ]
        images = seen[0] if recipe.views == 1 else np.stack(seen, axis=1)
        return batch, images, data.tokens[batch.captions[share]]

    waiting: deque[Future[tuple[Batch, npt.NDArray[Any], Tokens]]] = deque()
    pool = ThreadPoolExecutor(recipe.decode_threads, thread_name_prefix="decode")
    try:
        for batch in data.order(start):
            waiting.append(pool.submit(prepare, batch))
            if len(waiting) > _AHEAD:
                began = time.monotonic()
                prepared = waiting.popleft().result()
                yield *prepared, time.monotonic() - began
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
