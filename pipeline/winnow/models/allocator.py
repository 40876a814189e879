"""Memory that torch frees is kept for its next tensor.

glibc maps every large tensor anew and unmaps it at its end. The kernel then clears each
page again at its first touch: on two cores up to half of a forward pass's time.
"""

from __future__ import annotations

from functools import cache

from winnow.core.free_memory import c_library

# malloc.h's names for mallopt's parameters.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGEST = 2**31 - 1
#: Blocks of this size and more are mapped and given back as before.
_MAPPED = 2**30
#: How far the heap grows at a time.
_STEP = 256 * 2**20


@cache
def keep_freed_memory() -> bool:
    """Have the C library keep freed memory from now on; return whether it does.

    Only glibc is told; elsewhere nothing changes. What is kept counts as this
    process's memory until `release_freed_memory`.

    >>> keep_freed_memory() in (True, False)
    True
    """
    library = c_library()
    if library is None:
        return False
    settings = (
        (_M_MMAP_THRESHOLD, _MAPPED),
        (_M_TRIM_THRESHOLD, _LARGEST),
        (_M_TOP_PAD, _STEP),
    )
    return all(library.mallopt(name, value) == 1 for name, value in settings)


def release_freed_memory() -> None:
    """Give the kernel back what was kept: after a model's last pass of a step."""
    library = c_library()
    if library is not None and keep_freed_memory():
        library.malloc_trim(0)
