"""What a short command may leave out where the process is its own and ends with it.

pyarrow imports pandas at the first array that it makes of Python values, to tell its
series from lists; numba imports scipy for products of matrices within kernels, and cffi
for functions in C. The interpreter looks for cycles of unused objects ever again, and
at its end frees every object by itself. Together that takes as long as reading a small
lake, which needs none of it.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

#: Objects that are made between two looks for cycles of unused ones.
_ALLOCATIONS = 500_000


def spare_collections() -> None:
    """Look for cycles of unused objects seldom: most objects live to the end."""
    gc.set_threshold(_ALLOCATIONS, 20, 20)


def spare_imports() -> None:
    """Let pyarrow do without pandas, numba without scipy and cffi, in this process.

    What is imported already stays as it is, all can still be imported, and `to_pandas`
    works. But Arrow arrays are no longer made of pandas' series, nor kernels compiled
    that multiply matrices or call C: only for a command that does nothing of the kind.
    """
    import pyarrow as pa

    with _absent("pandas"):
        pa.array([0])
    with _absent("scipy", "cffi"):
        import_module("numba.np.arraymath")
        import_module("numba.core.typing.cffi_utils")


def leave() -> None:
    """End the process with exit code 0, its output written and nothing else done.

    Files and sessions must be closed by then: no exit handler runs.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class _Refusing:
    """Finds no module, and lets nobody else look, of some packages."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(
        self, name: str, path: object = None, target: ModuleType | None = None
    ) -> None:
        """Raise ImportError for a module of these packages; else find nothing."""
        if name.partition(".")[0] in self._packages:
            raise ImportError(f"{name} is left out", name=name)


@contextmanager
def _absent(*packages: str) -> Iterator[None]:
    """Have packages that are not imported yet be as if they were not installed."""
    refusing = _Refusing([name for name in packages if name not in sys.modules])
    sys.meta_path.insert(0, refusing)
    try:
        yield
    finally:
        sys.meta_path.remove(refusing)
