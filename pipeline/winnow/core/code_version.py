"""Which source and which libraries made a result."""

from __future__ import annotations

import functools
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from winnow.core.hashing import digest

#: Rooms whose code a result depends on.
_ROOMS = ("algorithms", "core", "engines", "models", "steps", "store")
_PACKAGES = (
    "datawinnow",
    "faiss-cpu",
    "numba",
    "numpy",
    "open_clip_torch",
    "polars",
    "pyarrow",
    "torch",
)


@functools.cache
def code_version() -> str:
    """Return a fingerprint of the source that decides."""
    package = Path(__file__).resolve().parents[1]
    files = sorted(file for room in _ROOMS for file in (package / room).rglob("*.py"))
    return digest(*(file.read_bytes() for file in files)).hex()


def versions() -> dict[str, Any]:
    """Return the versions that a manifest names."""
    return {
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
