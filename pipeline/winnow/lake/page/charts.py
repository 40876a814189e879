"""What the charts of a lake's page look like, as Vega-Lite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from winnow.lake.page.graph import Map
from winnow.pages.charts import DROPPED, KEPT, OTHER, Spec

Row = dict[str, Any]

_ROLES = {
    "stays": (KEPT, "circle"),
    "can go": (DROPPED, "square"),
    "table": (OTHER, "circle"),
}


def pairs_left(rows: Sequence[Row], width: int) -> Spec:
    """Return bars of (stage, pairs), one below the other, on a logarithmic scale."""
    y = {
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
        "encoding": {"y": y},
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
    x: Spec = {
        "type": "quantitative",
        "axis": None,
        "scale": {"domain": [0, drawn.width], "range": [0, drawn.width], "nice": False},
    }
    y: Spec = {
        **x,
        "scale": {
            "domain": [0, drawn.height],
            "range": [0, drawn.height],
            "nice": False,
        },
    }
    lines = [
        dict(zip(("x", "y", "x2", "y2", "kind"), line, strict=True))
        for line in drawn.lines
    ]
    numbers = [
        dict(zip(("x", "y", "text"), number, strict=True)) for number in drawn.numbers
    ]
    place: Spec = {"x": {"field": "x", **x}, "y": {"field": "y", **y}}
    return {
        "width": drawn.width,
        "height": drawn.height,
        "padding": 8,
        "layer": [
            {
                "data": {"values": lines},
                "mark": {"type": "rule", "color": "var(--soft)", "aria": False},
                "encoding": {
                    **place,
                    "x2": {"field": "x2"},
                    "y2": {"field": "y2"},
                    "strokeWidth": {
                        "condition": {
                            "test": "datum.kind === 'same rows'",
                            "value": 4,
                        },
                        "value": 1.2,
                    },
                },
            },
            {
                "data": {"values": numbers},
                "mark": {"type": "text", "color": "var(--soft)", "aria": False},
                "encoding": {**place, "text": {"field": "text", "type": "nominal"}},
            },
            {
                "data": {"values": list(marks)},
                "mark": {
                    "type": "point",
                    "filled": True,
                    "opacity": 1,
                    "size": 110,
                    "stroke": "var(--paper)",
                    "strokeWidth": 1,
                },
                "encoding": {
                    **place,
                    "color": _scaled(roles, 0),
                    "shape": _scaled(roles, 1),
                    "href": {"field": "href"},
                    "description": {"field": "description"},
                },
            },
        ],
    }


def _scaled(roles: Sequence[str], place: int) -> Spec:
    return {
        "field": "role",
        "type": "nominal",
        "title": None,
        "legend": None if roles == ["table"] else {},
        "scale": {"domain": roles, "range": [_ROLES[role][place] for role in roles]},
    }
