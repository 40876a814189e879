"""Which parts of Winnow need what an install may lack, and how to say so in one line.

The table is that of `[project.optional-dependencies]` in pyproject.toml, by the names
that packages are imported by. Nothing is imported here.
"""

from __future__ import annotations

import importlib.util
import sys

from winnow.core.errors import ConfigError

#: Extra → the modules that it installs; an extra that includes another names all.
EXTRAS = {
    "images": ("torch", "open_clip"),
    "spark": ("pyspark", "pandas"),
    "ui": ("starlette", "uvicorn", "prompt_toolkit", "pygments"),
    "cpu": ("torch", "open_clip", "openvino"),
    "filters": ("torch", "open_clip", "safetensors"),
    "delta": ("deltalake",),
    "iceberg": ("pyiceberg",),
    "excel": ("python_calamine",),
    "map": ("pacmap",),
    "mcp": ("mcp",),
    "concepts": ("ahocorasick_rs",),
}


class MissingExtraError(ConfigError):
    """A package is not there, which an extra or the user would have brought."""


def require(extra: str, what: str) -> None:
    """Raise MissingExtraError unless every package of an extra is installed.

    extra: a key of EXTRAS.
    what: what needs it, as the message begins: "winnow ui".

    >>> require("ui", "winnow ui")  # returns, or names datawinnow[ui]
    """
    missing = [name for name in EXTRAS[extra] if not _is_installed(name)]
    if missing:
        raise MissingExtraError(_told(extra, what, missing))


def require_package(name: str, what: str) -> None:
    """Raise MissingExtraError unless a package is installed.

    name: as it is imported and installed: "datasets".
    what: what needs it, as the message begins: "Run.to_hf".
    """
    if not _is_installed(name):
        raise MissingExtraError(
            f"{what} needs {name}, not installed here: pip install {name}"
        )


def explained(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Return what to say of an import that failed, or None if no extra is its cause."""
    for extra, modules in EXTRAS.items():
        if error.name in modules:
            return MissingExtraError(_told(extra, "this", [error.name]))
    return None


def _told(extra: str, what: str, missing: list[str]) -> str:
    absent = " and ".join(missing)
    return (
        f"{what} needs {absent}, not installed here: pip install 'datawinnow[{extra}]'"
    )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):
        # A module that was put in place by hand, without a spec, is there.
        return sys.modules.get(module) is not None
