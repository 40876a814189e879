"""The processes that read a lake's tables beside the one that scans it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from winnow.core.inside import is_url
from winnow.core.run_folder import RunFolder
from winnow.core.task import available_cores, in_threads
from winnow.core.worker_pool import WorkerPool

Thing = TypeVar("Thing")
Done = TypeVar("Done")
_pool: ContextVar[WorkerPool | None] = ContextVar("pool", default=None)
#: To start a process takes as long as to read some hundred small tables.
_MANY_TABLES = 1000
#: Small tables, and rows of them, that a thread or a process takes at once.
_TOGETHER, _ROWS_TOGETHER = 32, 1 << 16
#: Of the time that a small table takes, about half is Python's, one thread at a time.
_THREADS = 3
#: Said of a table that one of them ended at.
ENDED = "the process that read it ended"
#: What they work by, and nothing of what a scan is told and remembers.
_LOADED = tuple(
    f"winnow.lake.{module}"
    for module in (
        "files.table_files",
        "compare.sketches",
        "compare.sample",
        "compare.whole_sets",
        "compare.read_texts",
    )
)


@contextmanager
def beside() -> Iterator[None]:
    """Have a process for each further core, once there are many tables to read."""
    if _pool.get() is not None:
        yield
        return
    pool = WorkerPool(available_cores() - 1, _LOADED)
    token = _pool.set(pool)
    try:
        yield
    finally:
        _pool.reset(token)
        pool.close()


def expect(lake: str, out: str) -> None:
    """Start the processes if a first scan of a lake seems worth it.

    They load while this process still does. lake, out: as a recipe names them.
    """
    known = RunFolder(out).artifacts("catalogue") if not is_url(out) else None
    if known is None or is_url(lake) or known.exists():
        return
    files = 0
    for _, _, names in os.walk(os.path.expanduser(lake)):
        files += len(names)
        if files >= _MANY_TABLES:
            prepare(files)
            return


def prepare(tables: int) -> None:
    """Start the processes if so many tables to read are worth it."""
    pool = _pool.get()
    if pool is not None and tables >= _MANY_TABLES:
        pool.start()


def pieces(things: Sequence[Thing], count: int) -> Iterator[Sequence[Thing]]:
    """Yield things, so many together."""
    for start in range(0, len(things), count):
        yield things[start : start + count]


def rows_together(
    things: Iterable[Thing], rows: Callable[[Thing], int]
) -> Iterator[list[Thing]]:
    """Yield small things to read together: to wake a thread takes as long as one."""
    some: list[Thing] = []
    total = 0
    for thing in things:
        some.append(thing)
        total += rows(thing)
        if total >= _ROWS_TOGETHER or len(some) == _TOGETHER:
            yield some
            some, total = [], 0
    if some:
        yield some


def shared(
    work: Callable[[Sequence[Thing]], list[Done]],
    each: Iterable[Sequence[Thing]],
    lost: Callable[[Thing], list[Done]],
) -> Iterator[Done]:
    """Yield what work comes to for each piece, in turn; by threads without processes.

    lost: what stands for a thing that a process ended at alone.
    """
    started = pool()
    done = (
        in_threads(work, each, min(_THREADS, available_cores()))
        if started is None
        else started.map(work, each, lost)
    )
    for some in done:
        yield from some


def mapped(
    work: Callable[[Sequence[Thing]], Done],
    each: Iterable[Sequence[Thing]],
    lost: Callable[[Thing], Done],
) -> Iterator[Done]:
    """Yield what work comes to for each piece, see `WorkerPool.map`; here without."""
    started = pool()
    return map(work, each) if started is None else started.map(work, each, lost)


def pool() -> WorkerPool | None:
    """Return the processes, if they are started."""
    started = _pool.get()
    return started if started is not None and started.running else None
