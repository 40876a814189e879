"""How this package compiles its loops.

Kernels are serial and release the GIL: they may run in any thread beside BLAS, torch
and FAISS. Numba's parallel kernels may not, since its work queue is not thread-safe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """Compile `function` on its first call and keep the machine code on disk.

    The stored code is renewed when the function's own file changes, not when one that
    it calls into does: after editing such a kernel, remove the `__pycache__` folders.
    """
    return cast(Kernel, numba.njit(cache=True, nogil=True)(function))
