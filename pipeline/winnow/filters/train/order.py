"""Which image meets which caption in which batch: a function of seed and epoch alone.

Nothing here keeps a random state, so that a training that was killed goes on with the
very batches that it would have seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from winnow.core.errors import InputError
from winnow.core.hashing import keys

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of the training set and, for each, the place of its caption in all."""

    epoch: int
    rows: Rows
    captions: Rows


def plain(caption: str) -> str:
    """Return a caption as it is compared: without case and repeated blanks."""
    return " ".join(caption.casefold().split())


class Order:
    """Endless batches over n images with one or more captions each.

    uids: (n,) names; captions: (n,) tuples of texts, none empty.

    Every epoch goes through all images in another order, each with the next of its
    captions. No image and no caption text stands twice in a batch, since a second one
    would count as a wrong pair of the first (a false negative); such a row waits for
    the next batch. What does not fill the last batch of an epoch is left out of it.
    """

    def __init__(
        self,
        uids: Sequence[str],
        captions: Sequence[Sequence[str]],
        batch_size: int,
        seed: int,
        share: int = 1,
    ) -> None:
        #: Batches are cut into so many equal shares, one for each process.
        self._share = share
        self.size = max(1, min(batch_size, len(uids)) // share) * share
        self.steps_per_epoch = max(1, len(uids) // max(1, self.size))
        self._uids, self._seed = list(uids), seed
        self._counts = np.array([len(texts) for texts in captions], np.int64)
        self._first = np.concatenate([[0], np.cumsum(self._counts)[:-1]])
        known: dict[str, int] = {}
        self._texts = np.array(
            [
                known.setdefault(plain(text), len(known))
                for each in captions
                for text in each
            ],
            np.int64,
        )
        offsets = keys(self._uids, f"caption:{seed}") % np.uint64(2**31)
        self._offsets = offsets.astype(np.int64)

    def __call__(self, start: int = 0) -> Iterator[Batch]:
        """Yield the batches from step `start` on, for ever."""
        step, epoch = 0, 0
        while True:
            for batch in self._epoch(epoch):
                if step >= start:
                    yield batch
                step += 1
            epoch += 1

    def _epoch(self, epoch: int) -> Iterator[Batch]:
        order = np.argsort(keys(self._uids, f"order:{self._seed}:{epoch}"))
        chosen = self._first + (self._offsets + epoch) % self._counts
        waiting: deque[int] = deque()
        rows: list[int] = []
        taken: set[int] = set()

        def offer(row: int) -> bool:
            text = int(self._texts[chosen[row]])
            if text in taken:
                return False
            taken.add(text)
            rows.append(row)
            return True

        full = 0
        for row in order.tolist():
            if not offer(row):
                waiting.append(row)
            if len(rows) == self.size:
                full += 1
                yield self._batch(epoch, rows, chosen)
                rows, taken = [], set()
                # Each waiting row is tried once, in its turn.
                for _ in range(len(waiting)):
                    if len(rows) == self.size:
                        break
                    late = waiting.popleft()
                    if not offer(late):
                        waiting.append(late)
        if not full:
            # Fewer different captions than a batch holds: as many as there are.
            whole = len(rows) // self._share * self._share
            if whole < 2:
                raise InputError(
                    "data: the training rows share one caption; a contrastive loss "
                    "needs different ones"
                )
            yield self._batch(epoch, rows[:whole], chosen)

    def _batch(self, epoch: int, rows: list[int], chosen: Rows) -> Batch:
        picked = np.array(rows, np.int64)
        return Batch(epoch, picked, chosen[picked])


def wrong_order(uids: Sequence[str], fraction: float, seed: int) -> dict[int, int]:
    """Return whose captions a share of the rows gets: row → another row.

    round(fraction · n) rows, by hash of their uid, hand their captions on in a ring.
    The rows of a smaller fraction are among those of a larger one.
    """
    count = round(fraction * len(uids))
    if count < 2:
        return {}
    chosen = np.argsort(keys(uids, f"wrong:{seed}"), kind="stable")[:count]
    names = [uids[int(row)] for row in chosen]
    ring = chosen[np.argsort(keys(names, f"ring:{seed}"), kind="stable")]
    return dict(zip(ring.tolist(), np.roll(ring, 1).tolist(), strict=True))
