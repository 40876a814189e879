"""Memory that was freed goes back to the kernel.

Allocators keep what is freed for what comes next. Between two steps that is of no use:
the next one would begin with the memory of the one before.
"""

from __future__ import annotations

import ctypes
import platform
from functools import cache

import pyarrow as pa

from winnow.core.task import available_cores

# malloc.h's name for mallopt's parameter.
_M_ARENA_MAX = -8


def give_back_memory() -> None:
    """Give back what Arrow and the C library keep of freed memory.

    >>> give_back_memory()
    """
    pa.default_memory_pool().release_unused()
    library = c_library()
    if library is not None:
        library.malloc_trim(0)


@cache
def share_heaps() -> bool:
    """Have threads share a heap for each core from now on; return whether they do.

    glibc gives threads up to eight heaps a core, and each keeps what its threads freed:
    of pools of threads that come and go, hundreds of MiB. Only glibc is told.

    >>> share_heaps() in (True, False)
    True
    """
    library = c_library()
    if library is None:
        return False
    return bool(library.mallopt(_M_ARENA_MAX, available_cores()) == 1)


@cache
def c_library() -> ctypes.CDLL | None:
    """Return glibc; None under any other C library.

    >>> library = c_library()
    """
    if platform.libc_ver()[0] != "glibc":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") else None
