"""The files that a scan and a plan leave: what is read is what was written.

The manifest, written last, holds length and checksum of each file of the scan and a
checksum of itself; while it is not there, a scan is under way. The plan, which comes
later, has its own in `artifacts/plan.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.integrity import damage, seals, take_check, with_check
from winnow.core.other_kind import no_scan
from winnow.core.run_folder import MANIFEST, remove, replace, write_text
from winnow.core.saved_files import DamagedError, read_json

_EDGES = "edges.parquet"
_RESULTS = ("derived.parquet", _EDGES, "stages.parquet", "tables.parquet")
_PLAN, _SEALS = "plan.parquet", "artifacts/plan.json"
_SCAN_AGAIN = "the same `winnow lake scan` writes it again"
_PLAN_AGAIN = "`winnow lake plan` writes it again"


def write_manifest(root: Path, values: Mapping[str, Any]) -> None:
    """Say that the files of a scan are whole, and what they have to be."""
    files = seals(root, [root / name for name in _RESULTS])
    whole = with_check({**values, "files": files})
    text = json.dumps(whole, indent=1, sort_keys=True)
    write_text(root / MANIFEST, text + "\n")


def require_whole(root: Path) -> None:
    """Raise DamagedError if a file of a scan or its plan is not what was written."""
    require_whole_scan(root)
    require_whole_plan(root)


def require_whole_scan(root: Path) -> None:
    """Raise DamagedError if a file of a scan is not what was written.

    Scans of versions that kept no checksums are taken as they are. Raises RunError if
    there is none to its end.
    """
    manifest = root / MANIFEST
    if manifest.is_file():
        values = read_json(manifest, _SCAN_AGAIN)
        sealed = "check" in values or "files" in values
        if not take_check(values) and sealed:
            raise DamagedError(f"{manifest} is damaged; {_SCAN_AGAIN}")
        fault = damage(root, values.get("files", {}))
        # A scan that writes its results at this moment has removed it.
        if fault and manifest.is_file():
            raise DamagedError(f"{fault}; {_SCAN_AGAIN}")
    elif not (root / _EDGES).is_file():
        raise no_scan(root, "finished scan")


def require_whole_plan(root: Path) -> None:
    """Raise DamagedError if a plan is there and is not what was written.

    Plans of scans that kept no checksums are taken as they are.
    """
    if not (root / _PLAN).is_file():
        return
    if not (root / _SEALS).is_file():
        if not _is_sealed(root):
            return
        raise DamagedError(
            f"{root / _PLAN} is of an earlier version of Winnow, or {root / _SEALS}, "
            f"which knows its checksum, is gone; {_PLAN_AGAIN}"
        )
    known = read_json(root / _SEALS, _PLAN_AGAIN, list)
    if all(damage(root, {_PLAN: seal}) for seal in known):
        told = f"{root / _PLAN} is damaged: {root / _SEALS} knows other contents"
        raise DamagedError(f"{told}; {_PLAN_AGAIN}")


def _is_sealed(root: Path) -> bool:
    manifest = root / MANIFEST
    return manifest.is_file() and "check" in read_json(manifest, _SCAN_AGAIN)


def write_plan(root: Path, rows: pa.Table) -> None:
    """Write a plan in place of the one before; stopped at any moment, one is whole."""
    beside = root / f"{_PLAN}.tmp"
    pq.write_table(rows, beside)
    new = list(seals(root, [beside]).values())
    old = list(seals(root, [root / _PLAN]).values())
    (root / _SEALS).parent.mkdir(exist_ok=True)
    write_text(root / _SEALS, json.dumps([*old, *new]))
    replace(beside, root / _PLAN)
    write_text(root / _SEALS, json.dumps(new))


def remove_plan(root: Path) -> None:
    """Remove a plan, which must not be carried out."""
    remove(root / _PLAN)
    remove(root / _SEALS)


def holds(file: Path, table: pa.Table) -> bool:
    """Whether a file is there and holds this table; a damaged one does not."""
    try:
        return bool(pq.read_table(file) == table)
    except (OSError, pa.ArrowException):
        return False
