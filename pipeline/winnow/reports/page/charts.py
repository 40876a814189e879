"""What the charts of a run's page look like, as Vega-Lite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from winnow.pages.drawing import DROPPED, KEPT, NARROW, OTHER, Spec

Row = dict[str, Any]

_FATES = {"kept": KEPT, "dropped": DROPPED, "quarantined": OTHER}
# A letter of a label, as wide as browsers' fonts may make it.
_LETTER = 7
_COUNTS = {"tickCount": 4, "format": ",d", "tickMinStep": 1}


def _axis(field: str, title: str, **more: Any) -> Spec:
    return {"field": field, "type": "quantitative", "title": title, **more}


def funnel(rows: Sequence[Row], width: int, what: str = "rows") -> Spec:
    """Return bars of (step, kept, dropped, quarantined), one below the other."""
    labels = max((len(row["step"]) for row in rows), default=0) * _LETTER + 10
    shown = [f for f in _FATES if any(row[f] for row in rows)] or ["kept"]
    return {
        "width": width - labels - 30,
        "height": {"step": 26},
        "padding": 4,
        "data": {"values": list(rows)},
        "transform": [{"fold": shown, "as": ["fate", what]}],
        "mark": {"type": "bar", "height": 16, "cornerRadius": 2},
        "encoding": {
            "y": {
                "field": "step",
                "type": "nominal",
                "sort": None,
                "title": None,
                "axis": {
                    "domain": False,
                    "ticks": False,
                    "labelColor": "var(--ink)",
                    "minExtent": labels,
                },
            },
            "x": _axis(what, what, axis=_COUNTS),
            "color": {
                "field": "fate",
                "scale": {"domain": shown, "range": [_FATES[fate] for fate in shown]},
                "type": "nominal",
                "title": None,
            },
        },
    }


def histogram(rows: Sequence[Row], cut: float | None, title: str) -> Spec:
    """Return bars of (low, high, kept, dropped), with a line at the cut."""
    bars: Spec = {
        "data": {"values": list(rows)},
        "transform": [{"fold": ["kept", "dropped"], "as": ["fate", "rows"]}],
        "mark": {"type": "bar", "binSpacing": 1},
        "encoding": {
            "x": _axis(
                "low",
                title,
                bin={"binned": True},
                scale={"zero": False},
                axis={"tickCount": 6, "labelOverlap": "greedy"},
            ),
            "x2": {"field": "high"},
            "y": _axis("rows", "rows", axis=_COUNTS),
            "color": {
                "field": "fate",
                "type": "nominal",
                "title": None,
                "scale": {"domain": ["kept", "dropped"], "range": [KEPT, DROPPED]},
            },
        },
    }
    layers = [bars]
    if cut is not None:
        cut_at: Spec = {"x": {"datum": cut, "type": "quantitative"}}
        line = {"type": "rule", "strokeDash": [4, 3], "strokeWidth": 1.5}
        layers.append({"data": {"values": [{}]}, "mark": line, "encoding": cut_at})
        note = {"type": "text", "dx": -4, "align": "right", "text": "cut"}
        beside = {**cut_at, "y": {"value": 6}}
        layers.append({"data": {"values": [{}]}, "mark": note, "encoding": beside})
    return {"width": NARROW - 60, "height": 150, "padding": 4, "layer": layers}


def quotas(rows: Sequence[Row]) -> Spec:
    """Return circles of (complexity, quota, size, full)."""
    return {
        "width": NARROW - 60,
        "height": 220,
        "padding": 4,
        "data": {"values": list(rows)},
        "mark": {"type": "point", "filled": True, "opacity": 0.75},
        "encoding": {
            "x": _axis("complexity", "complexity (d intra × d inter)"),
            "y": _axis("quota", "quota (rows to keep)"),
            "size": _axis("size", "rows", scale={"range": [15, 300]}, legend=None),
            "color": {
                "field": "full",
                "type": "nominal",
                "title": None,
                "scale": {
                    "domain": ["keeps all it has", "keeps a part"],
                    "range": [KEPT, DROPPED],
                },
            },
            "shape": {
                "field": "full",
                "type": "nominal",
                "title": None,
                "scale": {
                    "domain": ["keeps all it has", "keeps a part"],
                    "range": ["square", "circle"],
                },
            },
        },
    }


_VERDICTS: Spec = {
    "field": "verdict",
    "type": "nominal",
    "title": "removed",
    "scale": {
        "domain": ["more", "as all", "less"],
        "range": [DROPPED, "var(--soft)", KEPT],
    },
    "legend": {
        "symbolType": "circle",
        "symbolOpacity": 1,
        "titleOrient": "left",
        "titlePadding": 12,
    },
}


def rates(rows: Sequence[Row], overall: float) -> Spec:
    """Return dots of (label, keep_rate, low, high, verdict) about the overall rate."""
    labels = max((len(row["label"]) for row in rows), default=0) * _LETTER + 8
    y = {
        "field": "label",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"ticks": False, "minExtent": labels, "labelColor": "var(--ink)"},
    }
    # A dot at 0 % stands clear of its label.
    room = {"scale": {"padding": 6}}
    x = {"type": "quantitative", "axis": {"format": ".0%", "tickCount": 4}, **room}
    return {
        "width": NARROW - 26 - labels,
        "height": {"step": 20},
        "padding": 4,
        "data": {"values": list(rows)},
        "layer": [
            {
                "mark": {"type": "rule", "strokeDash": [3, 3]},
                "encoding": {"x": {"datum": overall, "type": "quantitative"}},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {
                    "y": y,
                    "x": {"field": "low", "title": "kept", **x},
                    "x2": {"field": "high"},
                    "color": _VERDICTS,
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
                "encoding": {
                    "y": y,
                    "x": {"field": "keep_rate", **x},
                    "color": _VERDICTS,
                },
            },
        ],
    }


def bars(rows: Sequence[Row]) -> Spec:
    """Return bars of (label, rows), one below the other."""
    labels = max((len(row["label"]) for row in rows), default=0) * _LETTER + 10
    axis = {"domain": False, "ticks": False, "labelColor": "var(--ink)"}
    return {
        "width": NARROW - labels - 30,
        "height": {"step": 20},
        "padding": 4,
        "data": {"values": list(rows)},
        "mark": {"type": "bar", "height": 13, "cornerRadius": 2, "color": KEPT},
        "encoding": {
            "y": {
                "field": "label",
                "type": "nominal",
                "sort": None,
                "title": None,
                "axis": {**axis, "minExtent": labels},
            },
            "x": _axis("rows", "rows", axis=_COUNTS),
        },
    }
