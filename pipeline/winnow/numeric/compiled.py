"""How this package compiles its loops.

Kernels are serial and release the GIL: they may run in any thread beside BLAS, torch
and FAISS. Numba's parallel kernels may not, since its work queue is not thread-safe.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal, TypeVar, overload

import numba

try:
    from winnow.numeric.kept_code import keep
except (ImportError, AttributeError):  # a Numba whose private parts are others
    keep = None  # type: ignore[assignment]

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

#: Set, kernels are compiled by Numba's public decorator alone, and nothing is kept.
PLAIN = "WINNOW_PLAIN_KERNELS"


@overload
def compiled(function: Kernel) -> Kernel: ...


@overload
def compiled(*, inline: Literal["always"]) -> Callable[[Kernel], Kernel]: ...


def compiled(
    function: Any = None, *, inline: Literal["never", "always"] = "never"
) -> Any:
    """Compile `function` on its first call and keep the machine code on disk.

    inline: `always` puts its statements into every kernel that calls it.

    What is kept is made again when the function's file changes, or one of the package
    that it imports from. Where there is no place to keep it, it is compiled in every
    process. With `NUMBA_DISABLE_JIT=1` the function stays plain Python.
    """
    if function is None:
        return lambda plain: compiled_as(plain, inline)
    return compiled_as(function, inline)


def compiled_as(function: Kernel, inline: str) -> Kernel:
    """Compile `function`; see `compiled`."""
    kernel: Kernel = numba.njit(nogil=True, inline=inline)(function)
    if keep is not None and not os.environ.get(PLAIN):
        keep(kernel, function)
    return kernel
