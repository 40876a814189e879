"""Work on a lake's tables of which all that it comes to is held on the driver."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from winnow.core.engine import BatchKernel, Engine
from winnow.core.progress import counted

#: Pieces of work between two times that it is told how far it is: a hundredth of them.
_TOLD = 100


def collected(
    engine: Engine,
    tasks: pa.Table,
    kernel: BatchKernel,
    schema: pa.Schema,
    *,
    together: str,
    most: int,
) -> pa.Table:
    """Return what a kernel makes of tasks: at most so many rows of `schema`.

    tasks: one row a piece of work, sorted by all columns. together: the column whose
    equal values reach the same call.

    On this machine the kernel is called here: to write to files what is held next
    takes longer than many a kernel, and to load what reads them, too.
    """
    if engine.name == "local":
        batches = list(counted(kernel, _few_at_a_time(tasks), len(tasks)))
        return pa.Table.from_batches(batches, schema)
    frame = engine.map_batches(
        engine.from_table(tasks),
        kernel,
        schema,
        order_by=tasks.column_names,
        together=together,
    )
    return engine.collect(frame, most)


def _few_at_a_time(tasks: pa.Table) -> Iterator[pa.RecordBatch]:
    yield from tasks.to_batches(max_chunksize=max(1, len(tasks) // _TOLD))
