"""Imports that libraries make on the chance that somebody needs them, left out.

pyarrow imports pandas at the first array that it makes of Python values, to tell its
series from lists; numba imports scipy for products of matrices within kernels. That
takes about as long as reading a small lake, which needs neither.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType


def spare_imports() -> None:
    """Let pyarrow do without pandas and numba without scipy, in this process.

    What is imported already stays as it is, both can still be imported, and `to_pandas`
    works. But Arrow arrays are no longer made of pandas' series, nor kernels compiled
    that multiply matrices: only for a command that does neither and has its process
    to itself.
    """
    import pyarrow as pa

    with _absent("pandas"):
        pa.array([0])
    with _absent("scipy"):
        import_module("numba.np.arraymath")


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
