"""Pieces of numeric work side by side, each with one thread of the BLAS.

Products in several threads of the BLAS leave what is between them to one core, and
threads of it that other processes push aside wait for one another in busy loops.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from winnow.core.task import available_cores, in_threads

_Item = TypeVar("_Item")
_Done = TypeVar("_Done")


def one_blas_thread() -> Any:
    """Have matrix products use one thread: a context of the whole process."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")


def side_by_side(
    work: Callable[[_Item], _Done], items: Iterable[_Item]
) -> Generator[_Done, None, None]:
    """Yield what `work` comes to for each item, in their order.

    As many are worked on at a time as this task has cores; of one core, products keep
    whatever threads the BLAS has.

    >>> list(side_by_side(len, ["a", "bc"]))
    [1, 2]
    """
    cores = available_cores()
    if cores < 2:
        yield from map(work, items)
        return
    with one_blas_thread():
        yield from in_threads(work, items, cores)
