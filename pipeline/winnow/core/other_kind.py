"""Folders that hold something else than a command needs: which command reads them."""

from __future__ import annotations

import os
from pathlib import Path

from winnow.core.errors import RunError

_OF_A_SCAN = ("edges.parquet", "tables.parquet", "stages.parquet")
_BOTH = "`winnow steps`, `explain`, `query`, `report` and `ui` read either"


def is_scan(run: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a scan of a lake rather than a run of samples.

    One that has lost a file is a scan still.
    """
    return any(Path(run, name).is_file() for name in _OF_A_SCAN)


def is_run(run: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a run of samples, finished or not."""
    return Path(run, "artifacts", "order.json").is_file()


def no_run(folder: Path) -> RunError:
    """Return what to say of a folder that holds no run of samples."""
    if is_scan(folder):
        return RunError(
            f"{folder} holds a scan of a lake, not a run of samples: "
            f"`winnow lake edges {folder}` and `winnow lake plan {folder}` are its "
            f"commands; {_BOTH}"
        )
    return RunError(
        f"{folder} holds no run; `winnow run RECIPE --out {folder}` makes one"
    )


def no_scan(folder: Path, what: str = "scan") -> RunError:
    """Return what to say of a folder that holds no scan of a lake.

    what: `finished scan`, where an unfinished one may be there.
    """
    if is_run(folder):
        return RunError(
            f"{folder} holds a run of samples, not a scan of a lake: "
            f"`winnow what-if {folder}` and `winnow export {folder}` are its commands; "
            f"{_BOTH}"
        )
    return RunError(
        f"{folder} holds no {what} of a lake; `winnow lake scan LAKE --out {folder}` "
        "makes one"
    )
