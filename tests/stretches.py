"""The local engine with several calls of a kernel, each a task of its own.

What a cluster's workers do with their stretches of the rows, in one process.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from winnow.core.task import Task, set_task
from winnow.engines.by_parts import SortOrder
from winnow.engines.local import LocalEngine
from winnow.engines.scratch import LocalFrame

_BATCH_ROWS = 13


class StretchedEngine(LocalEngine):
    """Calls kernels of `map_batches` for `calls` stretches of the rows, some empty."""

    def __init__(self, scratch: Path, calls: int, **settings: Any) -> None:
        super().__init__(scratch, **settings)
        self._calls = calls

    def map_batches(
        self,
        frame: LocalFrame,
        kernel: Any,
        schema: pa.Schema,
        *,
        order_by: Sequence[str] = (),
        together: str | None = None,
    ) -> LocalFrame:
        if together is not None:
            return super().map_batches(
                frame, kernel, schema, order_by=order_by, together=together
            )
        if order_by:
            order = SortOrder(tuple((name, False) for name in order_by))
            frame = LocalFrame(order.of(frame.lazy), frame.rows)
        rows = self.collect(frame, 10**6)
        cuts = np.random.default_rng(len(rows)).integers(0, len(rows) + 1, self._calls)
        borders = [0, *sorted(cuts[1:].tolist()), len(rows)]
        batches_out = []
        try:
            for number in range(self._calls):
                set_task(Task(number))
                start, stop = borders[number : number + 2]
                part = rows.slice(start, stop - start).combine_chunks()
                batches = part.to_batches(max_chunksize=_BATCH_ROWS)
                batches_out += [batch.cast(schema) for batch in kernel(iter(batches))]
        finally:
            set_task(Task())
        return self.from_table(pa.Table.from_batches(batches_out, schema))
