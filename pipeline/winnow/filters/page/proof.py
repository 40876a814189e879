"""The page of `winnow prove`, from its plain figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from winnow.filters.page.pages import PagePart, PlainTable, words, write
from winnow.filters.page.record import write_json
from winnow.filters.prove.telling import leak_lines
from winnow.filters.prove.verdict import words_of
from winnow.pages.drawing import DROPPED, KEPT, OTHER, WIDE, Spec, draw

Row = Mapping[str, Any]

_COLOURS = {"kept": KEPT, "random": DROPPED, "whole pool": OTHER}


def write_proof_record(folder: Path, result: dict[str, Any]) -> None:
    """Write `prove.json` and `report.html`."""
    write_json(folder / "prove.json", result)
    write_proof(folder, result)


def write_proof(folder: Path, result: dict[str, Any]) -> Path:
    """Write a proof as FOLDER/report.html."""
    about = (
        f"{result['proxy']}; {result['seeds']} seeds; {result['held_out_rows']:,} rows "
        f"of {result['held_out']} held out"
    )
    verdict = PagePart("verdict", "Verdict")
    verdict.notes += [run["verdict"] for run in result["runs"]]
    verdict.notes += leak_lines(result)
    parts = [verdict]
    parts += [_run(run, f"run-{i + 1}") for i, run in enumerate(result["runs"])]
    method = PagePart("method", "How it was measured")
    method.notes.append(f"{result['method']}.")
    method.notes.append(
        "All selections of a run's table train the same model for the same number of "
        "steps from the same seeds; the random rows are drawn anew with each seed."
    )
    return write(folder, "What the kept rows train", about, [*parts, method])


def _run(run: Row, mark: str) -> PagePart:
    part = PagePart(mark, words(run["run"]))
    part.notes.append(
        f"{run['budget']:,} rows, {run['share']:.1%} of the pool; {run['steps']:,} "
        "steps of each training."
    )
    names = list(run["against_random"])
    label = f"{words_of(names[0])} by seed of the three selections"
    part.charts.append(draw(_dots(run["arms"], names[0]), label))
    head = ["trained on", "rows", *map(words_of, names)]
    rows = [
        [a["trained_on"], f"{a['rows']:,}", *(_span(a[name]) for name in names)]
        for a in run["arms"]
    ]
    part.tables.append(PlainTable("Held-out figures", head, rows))
    rows = [
        [title, *(_span(run[key][name], "+") for name in names)]
        for key, title in (
            ("against_random", "kept less random"),
            ("against_whole", "kept less whole pool"),
        )
    ]
    head = ["difference", *map(words_of, names)]
    part.tables.append(PlainTable("Differences", head, rows))
    return part


def _span(span: Row, sign: str = "") -> str:
    mean, low, high = (f"{span[k]:{sign}.4f}" for k in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _dots(arms: Sequence[Row], metric: str) -> Spec:
    values = [
        {"rows": arm["trained_on"], "figure": value}
        for arm in arms
        for value in arm[metric]["by_seed"]
    ]
    return {
        "width": WIDE - 120,
        "height": {"step": 26},
        "padding": 4,
        "data": {"values": values},
        "mark": {"type": "point", "filled": True, "size": 55, "opacity": 0.7},
        "encoding": {
            "x": {
                "field": "figure",
                "type": "quantitative",
                "title": words_of(metric),
                "scale": {"zero": False},
            },
            "y": {
                "field": "rows",
                "type": "nominal",
                "title": None,
                "sort": list(_COLOURS),
            },
            "color": {
                "field": "rows",
                "type": "nominal",
                "legend": None,
                "scale": {
                    "domain": list(_COLOURS),
                    "range": list(_COLOURS.values()),
                },
            },
        },
    }
