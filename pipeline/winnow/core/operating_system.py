"""What differs between operating systems: file locks, memory in use, memory's limit.

Linux has all of it. macOS counts memory in other units and may refuse a limit; Windows
locks files by another module and has neither figures nor limits in Python's library.
No other module names `fcntl`, `msvcrt` or `resource`, or asks what system this is.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import IO, Any

_RETRY_SECONDS = 0.05
_PIPE_BYTES = 1 << 20


def _module(name: str) -> ModuleType | None:
    """Return a module of the standard library that not every system has, or None."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


_fcntl: Any = _module("fcntl")
_msvcrt: Any = _module("msvcrt")
_resource: Any = _module("resource")


def lock(handle: IO[Any], *, wait: bool = False) -> None:
    """Lock an open file against every other process; closing it sets it free.

    handle: open for writing. The lock goes with the process too, however it ends.
    wait: whether to wait for another holder.

    Raises OSError if another holds the lock and `wait` is off, or where the file
    system knows no locks.
    """
    if _fcntl is not None:
        _fcntl.flock(handle, _fcntl.LOCK_EX | (0 if wait else _fcntl.LOCK_NB))
        return
    while True:
        # Windows locks bytes, not files; one past the end of an empty file will do.
        handle.seek(0)
        try:
            _msvcrt.locking(handle.fileno(), _msvcrt.LK_NBLCK, 1)
            return
        except OSError:
            if not wait:
                raise
        time.sleep(_RETRY_SECONDS)


def peak_memory_mib() -> float:
    """Return the most memory that this process has held so far, resident, in MiB.

    0.0 on Windows, where Python's library does not say.
    """
    if _resource is None:
        return 0.0
    peak: int = _resource.getrusage(_resource.RUSAGE_SELF).ru_maxrss
    # getrusage(2): kilobytes on Linux and the BSDs, bytes on macOS.
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


@contextmanager
def data_limit(more_bytes: int) -> Iterator[bool]:
    """Let this process take at most `more_bytes` beyond what it holds, for a while.

    Yields whether the limit stands: macOS may refuse it, Windows has none.
    """
    before = None if _resource is None else _resource.getrlimit(_resource.RLIMIT_DATA)
    try:
        yield before is not None and _set_limit(_data_bytes() + more_bytes, before[1])
    finally:
        if before is not None:
            _set_limit(*before)


def read_ahead(path: str, start: int, length: int) -> None:
    """Have the disk read a stretch of a file while others are waited for.

    path: a local file. start, length: in bytes. Does nothing where the system takes no
    such advice, or where the file cannot be opened: whoever reads it says so.
    """
    advise: Any = getattr(os, "posix_fadvise", None)
    if advise is None:
        return
    try:
        # Not held up by a pipe that lies where a file should.
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return
    try:
        advise(file, start, length, getattr(os, "POSIX_FADV_WILLNEED", 0))
    finally:
        os.close(file)


def widen_pipe(pipe: IO[Any]) -> None:
    """Let a pipe hold as much as a process may ask for, where the system can.

    Who reads a full one has to be woken for every 64 KiB of it.
    """
    wider = getattr(_fcntl, "F_SETPIPE_SZ", None)
    if wider is not None:
        # pipe(7): 1 MiB unless the system is set otherwise.
        with contextlib.suppress(OSError):
            _fcntl.fcntl(pipe, wider, _PIPE_BYTES)


def _set_limit(soft: int, hard: int) -> bool:
    with contextlib.suppress(ValueError, OSError):
        _resource.setrlimit(_resource.RLIMIT_DATA, (soft, hard))
        return True
    return False


def _data_bytes() -> int:
    """Return what this process holds already, in bytes; 0 where that is not told."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            lines = dict(line.split(":", 1) for line in status)
        return int(lines["VmData"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 0


def open_plainly(path: str) -> int:
    """Return a descriptor to read a file whose path has no link left in it.

    Nothing waits for a pipe's other end, and a link that has appeared since is not
    followed, where the system can be asked for that.

    Raises OSError if it cannot be opened.
    """
    wanted = ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY")
    flags = os.O_RDONLY
    for name in wanted:
        flags |= getattr(os, name, 0)
    return os.open(path, flags)
