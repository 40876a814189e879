"""The piece of work that this process is busy with, where an engine has several.

A worker of a cluster sets it before each task; everywhere else there is one task.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


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
