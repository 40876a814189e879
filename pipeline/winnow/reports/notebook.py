"""Runs in a notebook: charts and samples that show themselves.

May import: what a page may, since both draw alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from winnow.core.sql_text import literal
from winnow.pages.page import render
from winnow.reports.database import RunDatabase
from winnow.reports.page.pictures import Pictures

_PICTURES = 2_000_000
_WIDTH, _HEIGHT, _BARS = 460, 260, 40
#: Teal and rust of a run's page: what is kept, what is dropped.
_FATES = {"domain": [True, False], "range": ["#0f766e", "#c2410c"]}


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


class Samples:
    """Samples of a run with picture and caption, drawn as HTML."""

    def __init__(self, database: RunDatabase, uids: Sequence[str]) -> None:
        pictures = Pictures(database, _PICTURES)
        self.pictures = [pictures.want(uid) for uid in uids]
        pictures.load()

    def _repr_html_(self) -> str:
        return render("winnow.reports", "samples.html.j2", pictures=self.pictures)
