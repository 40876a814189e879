"""Where machine code of kernels in an archive is kept between processes.

Numba goes by the archive's path, which is another one in every session of a cluster;
the archive's name holds the digest of what is in it, so the name is enough.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from numba.core.caching import ZipCacheLocator
from numba.misc.appdirs import AppDirs


class ArchivedLocator(ZipCacheLocator):  # type: ignore[misc]
    """Keeps machine code by the archive's name, below the user's cache folder."""

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        super().__init__(py_func, py_file)
        archive = os.path.splitext(os.path.basename(self._zip_path))[0]
        inside = PurePosixPath(self._internal_path).parent
        kept = AppDirs("numba", False).user_cache_dir
        self._cache_path = os.path.join(kept, archive, *inside.parts)
