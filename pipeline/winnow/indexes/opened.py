"""An index of whatever kind, opened by what it says of itself."""

from __future__ import annotations

import os
from pathlib import Path

from winnow.indexes.near_index import NearIndex
from winnow.indexes.segment import TEXT_KIND
from winnow.indexes.state import read_state
from winnow.indexes.vector_index import VectorIndex


def open_any(path: str | os.PathLike[str]) -> NearIndex | VectorIndex:
    """Open an index of texts or of vectors; raises what opening one raises."""
    if read_state(Path(path)).get("kind", TEXT_KIND) == TEXT_KIND:
        return NearIndex(path)
    return VectorIndex(path)


def is_of_vectors(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds an index of vectors."""
    return isinstance(open_any(path), VectorIndex)
