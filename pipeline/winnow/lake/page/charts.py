"""What the charts of a lake's page look like, as Vega-Lite."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from winnow.lake.page.graph import Map
from winnow.pages.drawing import DROPPED, KEPT, OTHER, Spec

Row = dict[str, Any]

_ROLES = {
    "stays": (KEPT, "circle"),
    "can go": (DROPPED, "square"),
    "table": (OTHER, "circle"),
}


_STAGE: Spec = {
    "field": "stage",
    "type": "nominal",
    "sort": None,
    "title": None,
    "axis": {
        "domain": False,
        "ticks": False,
        "labelColor": "var(--ink)",
        "minExtent": 75,
    },
}
#: A line between two tables, thick where both hold the same rows.
_LINE_WIDTH: Spec = {
    "condition": {"test": "datum.kind === 'same rows'", "value": 4},
    "value": 1.2,
}
#: An island's number and name, above it.
_TITLE: Spec = {
    "type": "text",
    "align": "left",
    "color": "var(--soft)",
    "aria": False,
}
_DOT: Spec = {
    "type": "point",
    "filled": True,
    "opacity": 1,
    "size": 110,
    "stroke": "var(--paper)",
    "strokeWidth": 1,
}


def pairs_left(rows: Sequence[Row], width: int) -> Spec:
    """Return bars of (stage, pairs), one below the other, on a logarithmic scale."""
    # From 1 on linear: a stage may leave none.
    x = {
        "field": "pairs",
        "type": "quantitative",
        "title": None,
        "axis": None,
        "scale": {"type": "symlog"},
    }
    text = {**x, "type": "quantitative"}
    return {
        "width": width - 75 - 90,
        "height": {"step": 26},
        "padding": 4,
        "data": {"values": list(rows)},
        "encoding": {"y": _STAGE},
        "layer": [
            {
                "mark": {"type": "bar", "height": 16, "cornerRadius": 2, "color": KEPT},
                "encoding": {"x": x},
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 5},
                "encoding": {
                    "x": text,
                    "text": {"field": "pairs", "type": "quantitative", "format": ",d"},
                },
            },
        ],
    }


def containment_map(marks: Sequence[Row], drawn: Map) -> Spec:
    """Return the map of tables: marks of (x, y, role, href, description)."""
    roles = [role for role in _ROLES if any(mark["role"] == role for mark in marks)]
    lines = _records(("x", "y", "x2", "y2", "kind"), drawn.lines)
    numbers = _records(("x", "y", "text"), drawn.numbers)
    position: Spec = {
        "x": {"field": "x", **_pixels(drawn.width)},
        "y": {"field": "y", **_pixels(drawn.height)},
    }
    return {
        "width": drawn.width,
        "height": drawn.height,
        "padding": 8,
        "layer": [
            {
                "data": {"values": lines},
                "mark": {"type": "rule", "color": "var(--soft)", "aria": False},
                "encoding": {
                    **position,
                    "x2": {"field": "x2"},
                    "y2": {"field": "y2"},
                    "strokeWidth": _LINE_WIDTH,
                },
            },
            {
                "data": {"values": numbers},
                "mark": _TITLE,
                "encoding": {**position, "text": {"field": "text", "type": "nominal"}},
            },
            {
                "data": {"values": list(marks)},
                "mark": _DOT,
                "encoding": {
                    **position,
                    "color": _scaled(roles, 0),
                    "shape": _scaled(roles, 1),
                    "href": {"field": "href"},
                    "description": {"field": "description"},
                },
            },
        ],
    }


def _records(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[Row]:
    return [dict(zip(names, row, strict=True)) for row in rows]


def _pixels(extent: float) -> Spec:
    """Return an axis whose numbers are the drawing's own."""
    scale = {"domain": [0, extent], "range": [0, extent], "nice": False}
    return {"type": "quantitative", "axis": None, "scale": scale}


def _scaled(roles: Sequence[str], column: int) -> Spec:
    return {
        "field": "role",
        "type": "nominal",
        "title": None,
        "legend": None if roles == ["table"] else {},
        "scale": {"domain": roles, "range": [_ROLES[role][column] for role in roles]},
    }
