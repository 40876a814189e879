"""Which Python and which libraries made a result."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

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


def versions() -> dict[str, Any]:
    """Return the versions that a manifest names."""
    return {
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def releases(packages: Iterable[str]) -> list[str]:
    """Return `name version` of each distribution, for fingerprints.

    Without the build (`+cpu`, `+cu128`): a release computes the same on any device,
    up to what its own rounding differs by from one processor to the next.
    """
    installed = ((name, _version(name)) for name in sorted(packages))
    return [f"{name} {(said or 'none').partition('+')[0]}" for name, said in installed]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
