"""Runs in a notebook: charts and samples that show themselves.

May import: what a page may, since both draw alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.hashing import keys
from winnow.core.sql_text import literal
from winnow.pages.page import render
from winnow.reports.database import RunDatabase
from winnow.reports.page.pictures import Pictures

_PICTURES = 2_000_000
_WIDTH, _HEIGHT, _BARS = 460, 260, 40
#: Teal and rust of a run's page: what is kept, what is dropped.
_FATES = {"domain": [True, False], "range": ["#0f766e", "#c2410c"]}

_NAMED_FATES = {
    "domain": ["kept", "dropped", "quarantined"],
    "range": ["#0f766e", "#c2410c", "#6b7280"],
}
#: So many dots are told apart in a chart of this size.
_DOTS = 5000


class Chart:
    """A Vega-Lite chart, drawn to SVG by whatever displays it."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec = {"width": _WIDTH, "height": _HEIGHT, **spec}

    def _repr_svg_(self) -> str:
        import vl_convert

        drawn: str = vl_convert.vegalite_to_svg(self.spec, allowed_base_urls=[])
        return drawn


def lines(
    rows: Sequence[Mapping[str, Any]],
    x: str,
    y: str,
    colour: str | None = None,
    *,
    log: bool = False,
) -> Chart:
    """Return lines through (x, y), one for each value of `colour` if there is one.

    Rows that have a value of "simulated" are also drawn, as points.
    """
    scale = {"type": "log"} if log else {"zero": False}
    across = {"field": x, "type": "quantitative", "scale": scale}
    up = {"type": "quantitative", "scale": scale}
    encoding = {"color": {"field": colour, "type": "nominal"}} if colour else {}
    drawn: list[dict[str, Any]] = [
        {"mark": "line", "encoding": {"x": across, "y": {"field": y, **up}}}
    ]
    if any(row.get("simulated") is not None for row in rows):
        points = {"x": across, "y": {"field": "simulated", "title": y, **up}}
        drawn.append({"mark": {"type": "point", "filled": True}, "encoding": points})
    values = {"values": [dict(row) for row in rows]}
    return Chart({"data": values, "encoding": encoding, "layer": drawn})


def scores(database: RunDatabase, step: str) -> Chart:
    """Return the histogram of a step's scores, kept and dropped, with its cuts."""
    scored = database.query(
        "SELECT score, keep, threshold FROM ledger "
        f"WHERE step = {literal(step)} AND isfinite(score)"
    )
    cuts = scored["threshold"].drop_null().unique().to_pylist()
    binned = {"field": "score", "type": "quantitative", "bin": {"maxbins": _BARS}}
    bars = {
        "data": {"values": scored.select(["score", "keep"]).to_pylist()},
        "mark": "bar",
        "encoding": {
            "x": {**binned, "title": f"score of {step}"},
            "y": {"aggregate": "count", "title": "rows"},
            "color": {"field": "keep", "type": "nominal", "scale": _FATES},
        },
    }
    rules = {
        "data": {"values": [{"score": cut} for cut in cuts] if len(cuts) == 1 else []},
        "mark": {"type": "rule", "strokeDash": [4, 3]},
        "encoding": {"x": {"field": "score", "type": "quantitative"}},
    }
    return Chart({"layer": [bars, rules]})


def fates_map(database: RunDatabase, layout: Path) -> Chart:
    """Return the rows of a map as dots, coloured by fate."""
    drawn = pq.read_table(layout, columns=["uid", "x", "y"])
    ranks = keys(drawn["uid"].to_pylist(), "map of fates")
    drawn = drawn.take(pa.array(np.sort(np.argsort(ranks, kind="stable")[:_DOTS])))
    told = database.query("SELECT uid, any_value(fate) AS fate FROM fates GROUP BY uid")
    fates = dict(zip(told["uid"].to_pylist(), told["fate"].to_pylist(), strict=True))
    values = [
        {
            "x": round(row["x"], 2),
            "y": round(row["y"], 2),
            "fate": fates.get(row["uid"], "quarantined"),
        }
        for row in drawn.to_pylist()
    ]
    bare = {"type": "quantitative", "axis": None, "scale": {"zero": False}}
    encoding = {
        "x": {"field": "x", **bare},
        "y": {"field": "y", **bare},
        "color": {"field": "fate", "type": "nominal", "scale": _NAMED_FATES},
    }
    dots = {"type": "circle", "size": 18, "opacity": 0.7}
    return Chart({"data": {"values": values}, "mark": dots, "encoding": encoding})


class Samples:
    """Samples of a run with picture and caption, drawn as HTML."""

    def __init__(self, database: RunDatabase, uids: Sequence[str]) -> None:
        pictures = Pictures(database, _PICTURES)
        self.pictures = [pictures.want(uid) for uid in uids]
        pictures.load()

    def _repr_html_(self) -> str:
        return render("winnow.reports", "samples.html.j2", pictures=self.pictures)
