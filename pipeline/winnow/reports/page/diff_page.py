"""The difference of two runs as one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from winnow.config.lock_file import read_lock
from winnow.pages.answers import Section, count, score, share
from winnow.pages.drawing import KEPT, NARROW, OTHER, WIDE, Spec, draw
from winnow.pages.page import render, write_page
from winnow.reports.diff import diff, ended
from winnow.reports.page.context import page_database
from winnow.reports.page.pictures import Pictures
from winnow.reports.page.report import PICTURES

#: Samples shown of each run, and clusters on the chart and in the table.
EXAMPLES, _CHARTED, _LISTED = 18, 14, 60
_BOTH, _ONLY_A, _ONLY_B = "both", "A only", "B only"
_LETTER = 7


def write_diff_page(run_a: str | Path, run_b: str | Path, out: str | Path) -> Path:
    """Write how the selections of two runs differ, as a page; return where it is.

    Raises RunError if a folder holds no finished run.
    """
    target = Path(out)
    write_page(target, render_diff(run_a, run_b))
    return target


def render_diff(run_a: str | Path, run_b: str | Path) -> str:
    """Return the page of the difference of two runs."""
    difference = diff(run_a, run_b, EXAMPLES)
    changed = [c for c in difference["clusters"] if c["only_a"] or c["only_b"]]
    return render(
        "winnow.reports",
        "diff.html.j2",
        difference=difference,
        settings=_settings(run_a, run_b),
        sides=[
            _side("a", "b", difference["only_a"], run_a),
            _side("b", "a", difference["only_b"], run_b),
        ],
        overlap=_overlap(difference["kept"]),
        clusters=changed[:_LISTED],
        more_clusters=len(changed) - len(changed[:_LISTED]),
        **_cluster_charts(changed[:_CHARTED]),
        count=count,
        share=share,
        score=score,
    )


def _settings(run_a: str | Path, run_b: str | Path) -> list[tuple[str, str, str]]:
    """Return the settings that differ: key, value in A, value in B."""
    a, b = (_flat(_recipe(run)) for run in (run_a, run_b))
    keys = sorted({*a, *b} - {"output.path"})
    return [
        (key, a.get(key, "–"), b.get(key, "–"))
        for key in keys
        if a.get(key) != b.get(key)
    ]


def _recipe(run: str | Path) -> Any:
    return read_lock(Path(run))


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{above}{key}.")
        else:
            flat[f"{above}{key}"] = "–" if value is None else str(value)
    return flat


def _side(one: str, other: str, only: Mapping[str, Any], run: str | Path) -> Section:
    """Return what `one` keeps and `other` does not, with pictures from `run`."""
    examples = only["examples"]
    with page_database(run) as database:
        # Half of the page's bytes for each side.
        pictures = Pictures(database, PICTURES // 2)
        shown = [pictures.want(row["uid"]) for row in examples]
        twins = [
            pictures.want(row["kept_twin"]) if row["kept_twin"] else None
            for row in examples
        ]
        pictures.load()
    told = [ended(row) for row in examples]
    rows = list(zip(shown, twins, examples, told, strict=True))
    return {
        "one": one.upper(),
        "other": other.upper(),
        "rows": only["rows"],
        "by_step": [{**row, "ended": ended(row)} for row in only["by_step"]],
        "pairs": [example for example in rows if example[1]],
        "alone": [example for example in rows if not example[1]],
    }


def _overlap(kept: Mapping[str, int]) -> Any:
    rows = [
        {"side": _ONLY_A, "rows": kept["only_a"], "order": 0},
        {"side": _BOTH, "rows": kept["both"], "order": 1},
        {"side": _ONLY_B, "rows": kept["only_b"], "order": 2},
    ]
    label = "Rows kept: " + ", ".join(f"{r['rows']:,} by {r['side']}" for r in rows)
    spec: Spec = {
        "width": NARROW - 20,
        "height": 22,
        "padding": 4,
        "data": {"values": rows},
        "mark": {"type": "bar"},
        "encoding": {
            "x": {
                "field": "rows",
                "type": "quantitative",
                "stack": True,
                "axis": {"tickCount": 4, "format": ",d"},
                "title": "rows kept",
            },
            "order": {"field": "order"},
            "color": _colour(_ONLY_A, _BOTH, _ONLY_B),
        },
    }
    return draw(spec, label)


def _colour(*shown: str) -> Spec:
    hues = {_BOTH: KEPT, _ONLY_A: "var(--edge)", _ONLY_B: OTHER}
    scale = {"domain": list(shown), "range": [hues[name] for name in shown]}
    return {"field": "side", "type": "nominal", "title": None, "scale": scale}


def _cluster_charts(clusters: list[dict[str, Any]]) -> Section:
    if not clusters:
        return {"wide": None, "narrow": None}
    rows = [
        {"cluster": name(row), "side": side, "rows": row[column]}
        for row in clusters
        for side, column in ((_ONLY_A, "only_a"), (_ONLY_B, "only_b"))
    ]
    label = "Rows of each cluster that one run alone keeps; the table has the numbers"
    return {
        size: draw(_cluster_spec(rows, width), label)
        for size, width in (("wide", WIDE), ("narrow", NARROW))
    }


def _cluster_spec(rows: list[dict[str, Any]], width: int) -> Spec:
    labels = max(len(row["cluster"]) for row in rows) * _LETTER + 10
    axis = {"ticks": False, "minExtent": labels, "labelColor": "var(--ink)"}
    return {
        "width": width - labels - 30,
        "height": {"step": 22},
        "padding": 4,
        "data": {"values": rows},
        "mark": {"type": "bar", "height": 14},
        "encoding": {
            "y": {
                "field": "cluster",
                "type": "nominal",
                "sort": None,
                "title": None,
                "axis": axis,
            },
            "x": {
                "field": "rows",
                "type": "quantitative",
                "axis": {"tickCount": 4, "format": ",d", "tickMinStep": 1},
                "title": "rows that one run alone keeps",
            },
            "color": _colour(_ONLY_A, _ONLY_B),
        },
    }


def name(cluster: Mapping[str, Any]) -> str:
    """Return what a cluster is called; rows outside of all clusters are one, too."""
    number = cluster["cluster_id"]
    return "no cluster" if number is None else f"cluster {number}"
