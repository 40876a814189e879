"""A drawing of a community: its vertices, and lines between those that are alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from winnow.core.terminal import plain

_COLOURS = {"seed": "#c2410c", "member": "#1d4ed8"}
_LONGEST = 24


def draw_community(
    names: Sequence[str],
    seeds: int,
    places: Any,
    edges: Sequence[tuple[int, int, float]],
) -> str:
    """Return an SVG of its own.

    names: of the vertices, the `seeds` first. places: their positions, (m, 2) in the
    unit square. edges: pairs of positions with a weight from 0 to 1.
    """
    import vl_convert

    points = [
        {
            "x": float(x),
            "y": float(y),
            "kind": "seed" if row < seeds else "member",
            "name": plain(names[row])[:_LONGEST],
        }
        for row, (x, y) in enumerate(places)
    ]
    lines = [
        {
            "x": points[a]["x"],
            "y": points[a]["y"],
            "x2": points[b]["x"],
            "y2": points[b]["y"],
            "weight": weight,
        }
        for a, b, weight in edges
    ]
    axes = {
        axis: {"field": axis, "type": "quantitative", "axis": None}
        for axis in ("x", "y")
    }
    colour = {
        "field": "kind",
        "scale": {"domain": list(_COLOURS), "range": list(_COLOURS.values())},
        "legend": {"title": None, "orient": "top"},
    }
    layers = [
        {
            "data": {"values": lines},
            "mark": {"type": "rule", "color": "#94a3b8"},
            "encoding": {
                **axes,
                "x2": {"field": "x2"},
                "y2": {"field": "y2"},
                "opacity": {"field": "weight", "type": "quantitative", "legend": None},
            },
        },
        {
            "data": {"values": points},
            "mark": {"type": "circle", "size": 80, "opacity": 1},
            "encoding": {**axes, "color": colour},
        },
        {
            "data": {"values": points},
            "mark": {"type": "text", "dy": -9, "fontSize": 9},
            "encoding": {**axes, "text": {"field": "name"}},
        },
    ]
    spec = {
        "background": "white",
        "width": 720,
        "height": 720,
        "config": {"view": {"stroke": None}},
        "layer": layers,
    }
    drawn: str = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    return drawn
