"""A drawing of a community: its vertices, and lines between those that are alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from winnow.core.terminal import plain

_COLOUR = {
    "field": "kind",
    "scale": {"domain": ["seed", "member"], "range": ["#c2410c", "#1d4ed8"]},
    "legend": {"title": None, "orient": "top"},
}
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

    points = _points(names, seeds, places)
    lines = [_line(points[a], points[b], weight) for a, b, weight in edges]
    axes = {
        axis: {"field": axis, "type": "quantitative", "axis": None}
        for axis in ("x", "y")
    }
    ends = {"x2": {"field": "x2"}, "y2": {"field": "y2"}}
    weight = {"field": "weight", "type": "quantitative", "legend": None}
    rule = {"type": "rule", "color": "#94a3b8"}
    circle = {"type": "circle", "size": 80, "opacity": 1}
    label = {"type": "text", "dy": -9, "fontSize": 9}
    spec = {
        "background": "white",
        "width": 720,
        "height": 720,
        "config": {"view": {"stroke": None}},
        "layer": [
            _layer(lines, rule, {**axes, **ends, "opacity": weight}),
            _layer(points, circle, {**axes, "color": _COLOUR}),
            _layer(points, label, {**axes, "text": {"field": "name"}}),
        ],
    }
    drawn: str = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    return drawn


def _points(names: Sequence[str], seeds: int, places: Any) -> list[dict[str, Any]]:
    return [
        {
            "x": float(x),
            "y": float(y),
            "kind": "seed" if row < seeds else "member",
            "name": plain(names[row])[:_LONGEST],
        }
        for row, (x, y) in enumerate(places)
    ]


def _line(one: dict[str, Any], other: dict[str, Any], weight: float) -> dict[str, Any]:
    ends = {"x": one["x"], "y": one["y"], "x2": other["x"], "y2": other["y"]}
    return {**ends, "weight": weight}


def _layer(values: list[Any], mark: Any, encoding: Any) -> dict[str, Any]:
    return {"data": {"values": values}, "mark": mark, "encoding": encoding}
