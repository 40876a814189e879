"""How this package compiles its loops.

Kernels are serial and release the GIL: they may run in any thread beside BLAS, torch
and FAISS. Numba's parallel kernels may not, since its work queue is not thread-safe.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import numba
from numba.misc.appdirs import AppDirs

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """Compile `function` on its first call and keep the machine code on disk.

    The stored code is renewed when the function's own file changes, not when one that
    it calls into does: after editing such a kernel, remove the `__pycache__` folders.
    """
    return cast(Kernel, numba.njit(cache=_can_keep(), nogil=True)(function))


@cache
def _can_keep() -> bool:
    """Return whether there is a place for machine code.

    A cluster's workers import this package from a zip archive. Numba then writes below
    the user's cache folder, and fails where a container's user has none.
    """
    if os.path.exists(__file__):
        return True
    try:
        os.makedirs(AppDirs("numba", False).user_cache_dir, exist_ok=True)
    except OSError:
        return False
    return os.access(AppDirs("numba", False).user_cache_dir, os.W_OK)
