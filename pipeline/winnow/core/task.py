"""The piece of work that this process is busy with, where an engine has several.

A worker of a cluster sets it before each task; everywhere else there is one task.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

_Item = TypeVar("_Item")
_Done = TypeVar("_Done")
_Other = TypeVar("_Other")


@dataclass(frozen=True, slots=True)
class Task:
    """Which part of a verb's work this is, and what may be used for it."""

    #: Number of the partition, in the order of the rows where there is one.
    number: int = 0
    #: Differs between two tries of the same partition.
    attempt: int = 0
    #: Cores of this task; None: all that this process may use.
    cores: int | None = None


_current = Task()


def current_task() -> Task:
    """Return what is being worked on."""
    return _current


def set_task(task: Task) -> None:
    """Say what is worked on from now on."""
    global _current  # noqa: PLW0603
    _current = task


def available_cores() -> int:
    """Return how many cores this task may use."""
    if _current.cores is not None:
        return _current.cores
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_threads(
    work: Callable[[_Item], _Done], items: Iterable[_Item], threads: int
) -> Generator[_Done, None, None]:
    """Yield what work comes to for each item, in their order.

    threads: how many items are worked on at a time; one needs no thread. Twice as many
    are taken at most, whatever comes of them. Closing the generator ends the threads.

    >>> list(in_threads(len, ["a", "bc"], 2))
    [1, 2]
    """
    if threads < 2:
        yield from map(work, items)
        return
    waiting: deque[Future[_Done]] = deque()
    pool = ThreadPoolExecutor(threads, "winnow-work")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) == 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def taken_ahead(items: Iterable[_Item]) -> Generator[_Item, None, None]:
    """Yield items; a thread takes the next one while the caller works on the last.

    With one core each is taken when it is asked for. What `items` raises is raised in
    its turn.

    >>> list(taken_ahead([1, 2]))
    [1, 2]
    """
    if available_cores() < 2:
        yield from items
        return
    source = iter(items)
    end: Any = object()
    # Whoever counts what is taken is known to this thread.
    context = copy_context()

    def taken() -> Any:
        return context.run(lambda: next(source, end))

    with ThreadPoolExecutor(1, "winnow-ahead") as pool:
        coming = pool.submit(taken)
        while (item := coming.result()) is not end:
            coming = pool.submit(taken)
            yield item


def with_aside(
    work: Callable[[], _Done], aside: Callable[[], _Other]
) -> tuple[_Done, _Other]:
    """Return what work comes to, and what something else does in a thread meanwhile.

    Returns once both are done; raises what either raises.

    >>> with_aside(lambda: 1, lambda: 2)
    (1, 2)
    """
    with ThreadPoolExecutor(1, "winnow-aside") as pool:
        other = pool.submit(aside)
        result = work()
        return result, other.result()


class OneBehind:
    """Work that a thread does while its caller goes on: one piece, then the next.

    With one core the caller does it. What a piece raises is raised by what is called
    next.

    >>> behind, done = OneBehind(), []
    >>> behind.start(lambda: done.append(1))
    >>> behind.wait()
    >>> done
    [1]
    """

    def __init__(self) -> None:
        self._last: Future[object] | None = None

    def start(self, work: Callable[[], object]) -> None:
        """Begin a piece, once the one before is done."""
        self.wait()
        if available_cores() < 2:
            work()
            return
        pool = ThreadPoolExecutor(1, "winnow-behind")
        self._last = pool.submit(work)
        # The thread ends with the piece.
        pool.shutdown(wait=False)

    def wait(self) -> None:
        """Return once nothing is being worked on."""
        last, self._last = self._last, None
        if last is not None:
            last.result()
