"""Small files that Winnow wrote, read back: whole, or an error that names them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from winnow.core.errors import RunError
from winnow.core.integrity import take_check


class DamagedError(RunError):
    """A file of a run is not what was written."""

    exit_code = 3


def read_saved(file: Path, remedy: str) -> str:
    """Return the text of a file that Winnow wrote.

    remedy: what to do about a damaged one. Raises DamagedError if it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedError(f"{file} is damaged or gone ({error}); {remedy}") from error


def read_json(file: Path, remedy: str, kind: type = dict) -> Any:
    """Return what a JSON file that Winnow wrote holds, of type `kind`.

    Raises DamagedError, with the remedy, for anything else.
    """
    text = read_saved(file, remedy)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{file} is damaged ({error}); {remedy}") from error
    if not isinstance(value, kind):
        raise DamagedError(f"{file} is damaged (it holds no {kind.__name__}); {remedy}")
    return value


def read_manifest(file: Path) -> dict[str, Any]:
    """Return a run's manifest; raises DamagedError if it is not what was written."""
    remedy = "the same command that made it, with the same --out, writes it again"
    manifest: dict[str, Any] = read_json(file, remedy)
    # Manifests of earlier versions have no checksum.
    if not take_check(dict(manifest)) and "check" in manifest:
        raise DamagedError(f"{file} is damaged (its checksum differs); {remedy}")
    pool = manifest.get("input")
    if isinstance(pool, dict) and "shards" in pool and not _are_shards(pool):
        raise DamagedError(f"{file} is damaged (its list of shards); {remedy}")
    return manifest


def _are_shards(pool: dict[str, Any]) -> bool:
    shards = pool["shards"]
    return (
        isinstance(pool.get("root"), str)
        and isinstance(shards, list)
        and all(isinstance(s, dict) and isinstance(s.get("name"), str) for s in shards)
    )
