"""Charts of judged filters, as Vega-Lite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from winnow.pages.drawing import DROPPED, KEPT, NARROW, OTHER, WIDE, Spec

Row = dict[str, Any]

_KINDS = {"right": KEPT, "random": OTHER, "hard": DROPPED}


def score_histogram(bars: Sequence[Row]) -> Spec:
    """Return steps of (low, right, random, hard), each as a share of its kind."""
    totals = {kind: sum(bar[kind] for bar in bars) or 1 for kind in _KINDS}
    values = [
        {"score": bar["low"], "pairs": kind, "share": bar[kind] / totals[kind]}
        for bar in bars
        for kind in _KINDS
    ]
    return {
        "width": WIDE - 80,
        "height": 190,
        "padding": 4,
        "data": {"values": values},
        "mark": {
            "type": "area",
            "interpolate": "step-after",
            "fillOpacity": 0.18,
            "line": {"strokeWidth": 1.6},
        },
        "encoding": {
            "x": {"field": "score", "type": "quantitative", "scale": {"zero": False}},
            "y": {
                "field": "share",
                "type": "quantitative",
                "stack": None,
                "axis": {"format": ".0%", "tickCount": 4},
                "title": "share of its kind",
            },
            "color": {
                "field": "pairs",
                "type": "nominal",
                "title": None,
                "scale": {"domain": list(_KINDS), "range": list(_KINDS.values())},
            },
        },
    }


def reliability(bins: Sequence[Row]) -> Spec:
    """Return points of (predicted, observed, rows) about the diagonal."""
    return {
        "width": NARROW - 70,
        "height": NARROW - 110,
        "padding": 4,
        "layer": [
            {
                "data": {"values": [{"p": 0, "o": 0}, {"p": 1, "o": 1}]},
                "mark": {
                    "type": "line",
                    "strokeDash": [4, 3],
                    "color": "var(--soft)",
                },
                "encoding": {
                    "x": {"field": "p", "type": "quantitative"},
                    "y": {"field": "o", "type": "quantitative"},
                },
            },
            {
                "data": {"values": list(bins)},
                "mark": {"type": "point", "filled": True, "color": KEPT},
                "encoding": {
                    "x": _share("predicted", "predicted chance to be right"),
                    "y": _share("observed", "share that is right"),
                    "size": {
                        "field": "rows",
                        "type": "quantitative",
                        "legend": None,
                        "scale": {"range": [25, 260]},
                    },
                },
            },
        ],
    }


def _share(field: str, title: str) -> Spec:
    """Return an axis of shares from none to all."""
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "axis": {"format": ".0%", "tickCount": 5},
        "scale": {"domain": [0, 1]},
    }


def score_strips(groups: Sequence[Row], edges: Sequence[float]) -> Spec:
    """Return a row of cells for each group: how its right pairs' scores spread.

    groups: of (label, bars); edges: one more than bars. The darkest cell of a group is
    its fullest.
    """
    return {
        "width": WIDE - 210,
        "height": {"step": 15},
        "padding": 4,
        "data": {"values": list(_cells(groups, edges))},
        "mark": {"type": "rect", "height": 13, "color": KEPT},
        "encoding": {
            "x": {
                "field": "low",
                "type": "quantitative",
                "bin": {"binned": True},
                "title": "score of right pairs",
                "scale": {"zero": False},
            },
            "x2": {"field": "high"},
            "y": {
                "field": "group",
                "type": "nominal",
                "sort": [group["label"] for group in groups],
                "title": None,
                "axis": {"domain": False, "ticks": False, "labelLimit": 180},
            },
            # Colours of the style sheet cannot be mixed here; opacity can.
            "opacity": {
                "field": "share",
                "type": "quantitative",
                "legend": None,
                "scale": {"domain": [0, 1], "range": [0.08, 1]},
            },
        },
    }


def _cells(groups: Sequence[Row], edges: Sequence[float]) -> Iterator[Row]:
    """Yield (group, low, high, share of the group's fullest bar) of filled bars."""
    for group in groups:
        fullest = max(group["bars"], default=0) or 1
        for bar, rows in enumerate(group["bars"]):
            if rows:
                yield {
                    "group": group["label"],
                    "low": edges[bar],
                    "high": edges[bar + 1],
                    "share": rows / fullest,
                }
