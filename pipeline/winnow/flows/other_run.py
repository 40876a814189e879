"""Whether a folder holds a run of something else, which must not go without a word."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

from winnow.config.run import RunConfig
from winnow.config.step_kinds import APPLY, INDEX, OVERRIDES
from winnow.core.errors import ConfigError, RunError
from winnow.core.other_kind import is_scan
from winnow.core.run_folder import LOCK_FILE, MANIFEST, RunFolder
from winnow.flows.pool import Pool

_REMEDY = (
    "choose another folder with --out, or give --replace: what is there stays until "
    "the new run is finished"
)


def refusal(folder: RunFolder, config: RunConfig, pool: Pool, index: str) -> str | None:
    """Return why a run would not be written into a folder; None: it would.

    index: as in `refuse_other_run`.
    """
    try:
        folder.refuse_foreign()
        refuse_scan(folder)
        refuse_other_run(folder, config, pool, index)
    except (ConfigError, RunError) as error:
        return str(error)
    return None


def refuse_scan(folder: RunFolder) -> None:
    """Raise RunError if a folder holds a scan of a lake: its trash may hold tables."""
    if is_scan(folder.path):
        raise RunError(
            f"{folder.path} holds a scan of a lake, which --replace does not remove: "
            "its trash may hold tables; choose another folder with --out"
        )


def refuse_other_run(
    folder: RunFolder, config: RunConfig, pool: Pool, index: str
) -> None:
    """Raise RunError if a folder holds a run of another recipe or input.

    A recipe may change its settings, and gain steps or lose some; one that does both
    is another. A pool may be moved, or gain shards and lose some; one at another place
    that shares no shard with the old is another.

    index: fingerprint of the first step, which says whether the pool is the same.
    """
    old = _recipe(folder)
    if old is None:
        return
    theirs, ours = _names(old.get("steps", ())), _names(config.steps)
    gone, new = sorted(theirs - ours), sorted(ours - theirs)
    if gone and new:
        raise RunError(
            f"{folder.path} holds a run of another recipe: it has "
            f"{', '.join(gone)}, this one {', '.join(new)} instead; {_REMEDY}"
        )
    if _same_input(folder, old, config, pool, index):
        return
    root = _manifest(folder).get("root") or ", ".join(_paths(old))
    raise RunError(
        f"{folder.path} holds a run over another input: {root}, of which this recipe's "
        f"{pool.root} has no shard; {_REMEDY}"
    )


def _recipe(folder: RunFolder) -> dict[str, Any] | None:
    """Return the recipe of the run that a folder holds; None if none can be read."""
    if not folder.standing():
        return None
    try:
        values = yaml.safe_load(folder.file(LOCK_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        # A damaged lock file is written again.
        return None
    return values if isinstance(values, dict) else None


def _names(steps: Any) -> set[str]:
    return {str(step) for step in steps} - {INDEX, OVERRIDES, APPLY}


def _same_input(
    folder: RunFolder, old: dict[str, Any], config: RunConfig, pool: Pool, index: str
) -> bool:
    marker = folder.marker(INDEX)
    if marker is not None and marker.fingerprint == index:
        return True
    if {*map(_real, _paths(old))} & {*map(_real, config.input.path)}:
        return True
    known = {
        (s.get("name"), s.get("rows"), s.get("bytes"))
        for s in _manifest(folder).get("shards", ())
    }
    return any((s.name, s.rows, s.bytes) in known for s in pool.shards)


def _manifest(folder: RunFolder) -> dict[str, Any]:
    try:
        said = json.loads(folder.file(MANIFEST).read_text())["input"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return said if isinstance(said, dict) else {}


def _paths(recipe: dict[str, Any]) -> list[str]:
    try:
        given = recipe["input"]["path"]
    except (KeyError, TypeError):
        return []
    return [given] if isinstance(given, str) else [str(path) for path in given]


def _real(path: str) -> str:
    return path if "://" in path else os.path.realpath(Path(path).expanduser())
