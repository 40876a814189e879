"""Rows chosen on the map: a polygon by which they are found again, kept beside the run.

`RUN/ui/selections.json` holds polygons by name; the name is a digest of the polygon and
of the map, so that the same choice on another map is another selection.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt

from winnow.core.errors import QueryError
from winnow.core.hashing import fingerprint
from winnow.core.run_folder import write_text

#: Their file in the folder `ui` of a run.
SELECTIONS = "selections.json"
_MOST = 500
_CORNERS = 2_000

Polygon = list[tuple[float, float]]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class MapSelections:
    """Polygons on one map; of a folder that cannot be written, for this session.

    file: where they are kept. state: fingerprint of the map.
    """

    def __init__(self, file: Path, state: str) -> None:
        self._file, self._state = file, state
        self._lock = Lock()
        self._known: dict[str, Polygon] = {}
        try:
            stored = json.loads(file.read_text())
            self._known = {
                name: [(float(x), float(y)) for x, y in corners]
                for name, corners in stored.get(state, {}).items()
            }
        except (OSError, ValueError, TypeError, AttributeError):
            pass  # none yet, or not what was written: nothing is lost but a choice

    def keep(self, polygon: Polygon) -> str:
        """Keep a polygon and return its name."""
        name = fingerprint(json.dumps([self._state, polygon]))[:12]
        with self._lock:
            self._known[name] = polygon
            while len(self._known) > _MOST:
                self._known.pop(next(iter(self._known)))
            try:
                self._file.parent.mkdir(exist_ok=True)
                write_text(self._file, json.dumps({self._state: self._known}))
            except OSError:
                pass  # a run that may only be read: kept while the app is open
        return name

    def polygon(self, name: str) -> Polygon:
        """Return a polygon by its name; raises QueryError if there is none."""
        with self._lock:
            if name not in self._known:
                raise QueryError(
                    "that selection is of another map of this run, or is gone; choose "
                    "the rows on the map again"
                )
            return self._known[name]


def read_polygon(text: str) -> Polygon:
    """Read `x,y x,y …`, at least three corners; raises QueryError for anything else."""
    corners: Polygon = []
    try:
        for corner in text.split():
            x, y = (float(part) for part in corner.split(","))
            if not (math.isfinite(x) and math.isfinite(y)):
                raise ValueError(corner)
            corners.append((x, y))
    except ValueError as error:
        raise QueryError("a selection is 'x,y x,y …' in the map's numbers") from error
    if not 3 <= len(corners) <= _CORNERS:
        raise QueryError(f"a selection has 3 to {_CORNERS:,} corners")
    return corners


def inside(x: Floats, y: Floats, polygon: Sequence[tuple[float, float]]) -> Mask:
    """Return which points lie in a polygon, by the even-odd rule: (n,) booleans.

    x, y: (n,); NaN lies nowhere.
    """
    corners = np.asarray(polygon, np.float64)
    low, high = corners.min(axis=0), corners.max(axis=0)
    with np.errstate(invalid="ignore"):
        near = np.flatnonzero(
            (x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1])
        )
    px, py = x[near].astype(np.float64), y[near].astype(np.float64)
    odd = np.zeros(len(near), np.bool_)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crossed = (py >= min(y0, y1)) & (py < max(y0, y1))
        odd ^= crossed & (px < x0 + (py - y0) * (x1 - x0) / (y1 - y0))
    mask = np.zeros(len(x), np.bool_)
    mask[near[odd]] = True
    return mask
