"""Machine code of kernels, kept on disk between processes.

Numba's own store has three faults for a package: it goes by the file of a function and
does not see that a kernel which it calls has changed; it raises where nothing can be
written; and it knows an archive by its path, which is another one in every session of
a cluster. Private parts of Numba are used here and nowhere else in this way; where
they are not as expected, nothing is kept.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any

from numba.core import caching
from numba.core.runtime import rtsys
from numba.misc.appdirs import AppDirs

from winnow.core.progress import say_in_between

_PACKAGE = __name__.partition(".")[0]


def keep(kernel: Any, function: Callable[..., Any]) -> None:
    """Let a dispatcher of Numba's keep what it compiles, where there is a place."""
    if not hasattr(kernel, "_cache"):  # NUMBA_DISABLE_JIT: no dispatcher
        return
    try:
        kernel._cache = KeptCode(function)
    except RuntimeError:  # "no locator available"
        return


class ArchivedLocator(caching.ZipCacheLocator):  # type: ignore[misc]
    """Keeps machine code by the archive's name, below the user's cache folder.

    The archive's name holds the digest of what is in it, so the name is enough.
    """

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        super().__init__(py_func, py_file)
        archive = os.path.splitext(os.path.basename(self._zip_path))[0]
        inside = PurePosixPath(self._internal_path).parent
        kept = AppDirs("numba", False).user_cache_dir
        self._cache_path = os.path.join(kept, archive, *inside.parts)

    @classmethod
    def from_function(
        cls, py_func: Callable[..., Any], py_file: str
    ) -> ArchivedLocator | None:
        """Return a locator for a function in an archive, if it can be kept at all."""
        # A folder may have `.zip` in its name as well.
        if os.path.exists(py_file) or ".zip" not in py_file:
            return None
        locator = cls(py_func, py_file)
        try:
            locator.ensure_cache_path()
        except OSError:
            return None
        return locator


class _Impl(caching.CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (
        caching.UserProvidedCacheLocator,
        ArchivedLocator,
        caching.InTreeCacheLocator,
        caching.UserWideCacheLocator,
    )


class KeptCode(caching.Cache):  # type: ignore[misc]
    """The machine code of one kernel, renewed with any file that it is made from."""

    _impl_class = _Impl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what was kept for a signature; None if nothing fits or is readable."""
        try:
            self._renew()
            # Numba would first load all that it can compile, which takes longer than
            # most runs of a kernel; machine code needs its memory manager alone. What
            # is not kept is compiled, and a compilation loads the rest by itself.
            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                kept = self._load_overload(sig, target_context)
        except Exception:  # a damaged file, of whatever kind: compiled again
            kept = None
        if kept is None:
            say_in_between("compiling, the first time only")
        return kept

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled for a signature; a full disk is no error."""
        say_in_between("")
        try:
            self._renew()
            try:
                super().save_overload(sig, data)
            except Exception:
                # What was kept before may name types that are gone: it makes room.
                self._cache_file.flush()
                super().save_overload(sig, data)
        except Exception:
            self.disable()

    def _renew(self) -> None:
        """Date the store by all sources; at the first call, when all is imported."""
        source_stamp = self._impl.locator.get_source_stamp()
        stamp = (source_stamp, sources_digest(self._py_func.__module__))
        self._cache_file._source_stamp = stamp


@cache
def sources_digest(module: str) -> str:
    """Return a digest of a module's source and of all of this package it imports."""
    pending, known = [module], {module}
    while pending:
        for name in _imported(sys.modules[pending.pop()]):
            if name not in known:
                known.add(name)
                pending.append(name)
    digest = hashlib.sha256()
    for name in sorted(known):
        digest.update(f"{name} {_source_digest(name)}\n".encode())
    return digest.hexdigest()


@cache
def _source_digest(module: str) -> str:
    source = sys.modules[module]
    loader: Any = source.__loader__
    return hashlib.sha256(loader.get_data(source.__file__)).hexdigest()


def _imported(importer: ModuleType) -> Iterator[str]:
    """Yield the modules of this package that a module imports from."""
    loader: Any = importer.__loader__
    names = loader.get_code(importer.__name__).co_names
    for name in names:
        if name.partition(".")[0] != _PACKAGE or name not in sys.modules:
            continue
        yield name
        # `from package import module`: both are among the names.
        yield from (
            f"{name}.{part}" for part in names if f"{name}.{part}" in sys.modules
        )
