"""The tables of a run as files: what a step has stored, and what of it is lost."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from winnow.core.errors import RunError
from winnow.core.marker import Marker
from winnow.core.run_folder import RunFolder


def has_table(
    folder: RunFolder, markers: Iterable[Marker], step: str, name: str
) -> bool:
    """Whether a step has stored a table, even if somebody has removed it since."""
    below = f"artifacts/{step}/{name}/"
    return (folder.artifacts(step) / name).is_dir() or any(
        file.startswith(below)
        for marker in markers
        if marker.step == step
        for file in marker.files
    )


def table_files(folder: RunFolder, table: Path) -> list[Path]:
    """Return the files of a table of a run, in order.

    Raises DamagedError, which names it, if the first is lost, RunError if the run never
    had the table.
    """
    files = sorted(table.glob("*.parquet"))
    if not files:
        below = f"{table.relative_to(folder.path).as_posix()}/"
        for marker in folder.standing():
            folder.require_whole(marker, below)
        raise RunError(f"{table}: no table there; run the recipe again")
    return files
