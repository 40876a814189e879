"""Where a run's vectors lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from winnow.core.errors import QueryError
from winnow.core.marker import Marker
from winnow.core.run_folder import RunFolder


def vector_files(
    folder: RunFolder, markers: Sequence[Marker], modality: str = "image"
) -> tuple[Marker, list[Path]]:
    """Return the step that made vectors of a modality and the files that hold them.

    Raises QueryError if the run has none.
    """
    for marker in markers:
        name = marker.artifacts.get(f"{modality}_vectors")
        if f"{modality}_vectors" in marker.provides and name is not None:
            files = sorted((folder.artifacts(marker.step) / name).glob("*.parquet"))
            return marker, [file.resolve() for file in files]
    raise QueryError(
        f"this run has no {modality} vectors, so nothing can be searched by likeness; "
        "a recipe with the step `embed` makes them"
    )
