"""The map of a run's rows: places, colours and what was chosen on it.

Places and colours travel as bytes: two float32 a row, one byte a row. A page without
scripts shows the same map as a picture.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.app.filters import AskedPage, ColumnFilter
from winnow.app.row_arrays import Coded, Mask, RowArrays, column_of
from winnow.app.row_index import FOLDER, IndexedColumn
from winnow.app.rows import IndexedRows
from winnow.app.selections import SELECTIONS, MapSelections, Polygon, inside
from winnow.core.links import link
from winnow.core.run_folder import RunFolder
from winnow.core.sql_text import AS_STORED, literal
from winnow.pages.answers import plain
from winnow.reports.map_file import MapFacts, read_map

#: Told apart by colour-blind eyes, on light and on dark (Okabe and Ito 2008, and more).
_COLOURS = (
    "#2a78d6", "#e0862f", "#1a9b76", "#c657a0", "#b08a00", "#55a9e0",
    "#d9513c", "#7c63d0", "#6f9e2f", "#a5663f", "#17a2b0",
)  # fmt: skip
_OTHERS, _NONE = "#8d8d8d", "#b9b9b9"
_FATES = {"kept": "#1a9b76", "dropped": "#e0702f", "quarantined": "#7c63d0"}
#: Low to high, as light as each other's neighbours (after viridis, mid-range).
_RAMP = (
    "#5b3a8e", "#46579f", "#33739c", "#268d95", "#28a586", "#55b96b", "#92c84b",
    "#d0c636",
)  # fmt: skip
#: Codes beside those of the legend: a row that the list does not ask for.
NOT_ASKED, _NO_PLACE = 255, np.float32("nan")
_WIDE, _HIGH, _MARGIN = 1_100, 700, 12

Bytes = npt.NDArray[np.uint8]
Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LegendEntry:
    """One colour of the map: its code, its words, its rows, the list that has them."""

    code: int
    colour: str
    label: str
    rows: int
    address: str


@dataclass(frozen=True)
class Coloured:
    """A colour for each row, (n,) bytes, and what they mean."""

    codes: Bytes
    legend: list[LegendEntry]


class MapPage:
    """The map of one run; read when it is first asked for.

    Raises QueryError, with the command that makes one, if there is none.
    """

    def __init__(self, folder: RunFolder, rows: IndexedRows, arrays: RowArrays) -> None:
        file, self.facts = read_map(folder)
        self._rows, self._arrays = rows, arrays
        self.x, self.y = _places(rows, file, self.facts)
        self.placed = int(np.isfinite(self.x).sum())
        state = f"{self.facts.of}-{self.facts.seed}-{self.facts.sampled}"
        self.selections = MapSelections(folder.file(FOLDER) / SELECTIONS, state)
        self._views: dict[str, str] = {}
        self._lock = Lock()

    def points(self) -> bytes:
        """Return every row's place: x, y, x, y … as float32, NaN for none."""
        pairs = np.empty((len(self.x), 2), "<f4")
        pairs[:, 0], pairs[:, 1] = self.x, self.y
        return pairs.tobytes()

    def coloured(self, by: str, wanted: AskedPage, marks: dict[str, str]) -> Coloured:
        """Return the rows' colours by a column; raises QueryError for an unknown one.

        Rows that the list does not ask for have the code NOT_ASKED.
        """
        column = column_of(self._rows, by)
        mask = self._arrays.mask(wanted, marks)
        asked = np.isfinite(self.x) if mask is None else mask & np.isfinite(self.x)
        if column.kind in ("number",) or (
            column.kind == "whole" and column.role != "cluster"
        ):
            coloured = _by_number(self._arrays.numbers(column), column, asked, wanted)
        else:
            coloured = _by_value(self._arrays.coded(column), column, asked, wanted)
        coloured.codes[~asked] = NOT_ASKED
        return coloured

    def picture(self, coloured: Coloured) -> bytes:
        """Return the map as a PNG, for pages without scripts."""
        from PIL import Image

        canvas = np.zeros((_HIGH, _WIDE, 4), np.uint8)
        table = np.zeros((256, 4), np.uint8)
        table[NOT_ASKED] = (128, 128, 128, 60)
        for entry in coloured.legend:
            table[entry.code] = (*bytes.fromhex(entry.colour[1:]), 255)
        across, down = self._pixels()
        for shown in (coloured.codes == NOT_ASKED, coloured.codes != NOT_ASKED):
            rows = np.flatnonzero(shown & np.isfinite(self.x))
            for right, below in ((0, 0), (1, 0), (0, 1), (1, 1)):
                pixels = down[rows] + below, across[rows] + right
                canvas[pixels] = table[coloured.codes[rows]]
        out = io.BytesIO()
        Image.fromarray(canvas, "RGBA").save(out, "PNG")
        return out.getvalue()

    def _pixels(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the pixel of each row, as the script's first view has it."""
        low = np.array([np.nanmin(self.x), np.nanmin(self.y)])
        high = np.array([np.nanmax(self.x), np.nanmax(self.y)])
        room = np.array([_WIDE, _HIGH]) - 2 * _MARGIN
        scale = float(np.min(room / np.maximum(high - low, 1e-9)))
        middle = (low + high) / 2
        with np.errstate(invalid="ignore"):
            across = _WIDE / 2 + (self.x - middle[0]) * scale
            down = _HIGH / 2 - (self.y - middle[1]) * scale
        return (
            np.nan_to_num(across).astype(np.int64).clip(0, _WIDE - 2),
            np.nan_to_num(down).astype(np.int64).clip(0, _HIGH - 2),
        )

    def keep(self, polygon: Polygon) -> str:
        """Keep what was chosen on the map and return its name."""
        return self.selections.keep(polygon)

    def view_of(self, name: str) -> str:
        """Return the view of the numbers (n) of the rows in a selection."""
        with self._lock:
            if name not in self._views:
                rows = np.flatnonzero(
                    inside(self.x, self.y, self.selections.polygon(name))
                )
                table = pa.table({"n": pa.array(rows, pa.int64())})
                view = f"selected_{len(self._views)}"
                file = self._rows.sql.scratch / f"{view}.parquet"
                pq.write_table(table, file)
                self._rows.sql.define(
                    f"CREATE VIEW {view} AS FROM read_parquet("
                    f"[{literal(str(file))}], {AS_STORED})"
                )
                self._views[name] = view
            return self._views[name]


def _places(rows: IndexedRows, file: Path, facts: MapFacts) -> tuple[Singles, Singles]:
    """Return x and y of each row of the index, NaN where it has no place."""
    beside = rows.sql.scratch / f"map-{facts.of}-{id(facts)}.parquet"
    link(file, beside)
    listed = f"read_parquet([{literal(str(beside))}], {AS_STORED})"
    table = rows.table(
        f"SELECT n, x, y FROM rows JOIN {listed} USING (uid) "
        "WHERE step IS DISTINCT FROM 'index'"
    )
    x = np.full(rows.index.rows, _NO_PLACE)
    y = np.full(rows.index.rows, _NO_PLACE)
    numbers = table["n"].to_numpy()
    x[numbers], y[numbers] = table["x"].to_numpy(), table["y"].to_numpy()
    return x, y


def _by_value(
    coded: Coded, column: IndexedColumn, asked: Mask, wanted: AskedPage
) -> Coloured:
    """Give the most frequent values a colour each, and the others one together."""
    most = len(_COLOURS)
    codes = np.minimum(coded.codes, most).astype(np.int16)
    codes[coded.codes < 0] = most + 1
    counts = np.bincount(codes[asked], minlength=most + 2)
    legend = []
    for code, value in enumerate(coded.values[:most]):
        colour = _FATES.get(str(value), "") if column.name == "fate" else ""
        label = f"{value}" if column.role != "cluster" else f"cluster {value}"
        address = _narrowed(wanted, ColumnFilter(column.name, "is", str(value)))
        entry = (code, colour or _COLOURS[code], label, int(counts[code]), address)
        legend.append(LegendEntry(*entry))
    if counts[most]:
        others = f"{len(coded.values) - most:,} others"
        legend.append(LegendEntry(most, _OTHERS, others, int(counts[most]), ""))
    _add_none(legend, most + 1, int(counts[most + 1]), column, wanted)
    return Coloured(codes.astype(np.uint8), legend)


def _by_number(
    numbers: npt.NDArray[np.float64],
    column: IndexedColumn,
    asked: Mask,
    wanted: AskedPage,
) -> Coloured:
    """Give each eighth of the rows a colour, from the lowest numbers to the highest."""
    known = numbers[asked & np.isfinite(numbers)]
    steps = len(_RAMP)
    codes = np.full(len(numbers), steps, np.uint8)
    legend: list[LegendEntry] = []
    if len(known):
        edges = np.unique(np.quantile(known, np.linspace(0, 1, steps + 1)))
        inner = edges[1:-1]
        finite = np.isfinite(numbers)
        codes[finite] = np.searchsorted(inner, numbers[finite], side="right")
        counts = np.bincount(codes[asked], minlength=steps + 1)
        bounds = list(pairwise(edges)) or [(edges[0], edges[0])]
        for code, (low, high) in enumerate(bounds):
            # Fewer steps than colours are spread over all of the ramp.
            colour = _RAMP[code * (steps - 1) // max(1, len(bounds) - 1)]
            label = f"{plain(float(low))} – {plain(float(high))}"
            least = ColumnFilter(column.name, "min", repr(float(low)))
            most = ColumnFilter(column.name, "max", repr(float(high)))
            address = _narrowed(wanted, least, most)
            rows = int(counts[code])
            legend.append(LegendEntry(code, colour, label, rows, address))
    none = int((codes[asked] == steps).sum())
    _add_none(legend, steps, none, column, wanted)
    return Coloured(codes, legend)


def _add_none(
    legend: list[LegendEntry],
    code: int,
    rows: int,
    column: IndexedColumn,
    wanted: AskedPage,
) -> None:
    if rows:
        address = _narrowed(wanted, ColumnFilter(column.name, "empty", ""))
        legend.append(LegendEntry(code, _NONE, "no value", rows, address))


def _narrowed(wanted: AskedPage, *more: ColumnFilter) -> str:
    conditions = (*wanted.conditions, *more)
    return wanted.address(conditions=conditions, after=None, before=None)
