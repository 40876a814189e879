"""A trained filter's page and model card, from its manifest and curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from winnow.pages.drawing import KEPT, Spec, draw
from winnow.pages.page import render, write_page

Row = dict[str, Any]

_CURVES = {
    "auc": ("Held-out AUC", "AUC"),
    "loss": ("Training loss, mean since the measurement before", "loss"),
    "scale": ("Logit scale", "scale"),
    "rate": ("Learning rate", "rate"),
}


def write_pages(folder: Path, manifest: Row, curve: Sequence[Row]) -> None:
    """Write `report.html`, curves drawn, and `README.md`, the model card."""
    charts = [
        (title, draw(line(curve, "step", key, name), f"{title}, by step"))
        for key, (title, name) in _CURVES.items()
    ]
    page = render(
        "winnow.filters.page",
        "training.html.j2",
        manifest=manifest,
        curve=list(curve),
        charts=charts,
    )
    write_page(folder / "report.html", page)
    (folder / "README.md").write_text(card(manifest), encoding="utf-8")


def line(rows: Sequence[Row], across: str, up: str, title: str) -> Spec:
    """Return a line of one number over another, points marked."""
    quantity = {"type": "quantitative", "scale": {"zero": False}}
    return {
        "width": 600,
        "height": 180,
        "padding": 4,
        "data": {"values": [{across: r[across], up: r[up]} for r in rows]},
        "mark": {
            "type": "line",
            "color": KEPT,
            "point": {"size": 18, "color": KEPT},
        },
        "encoding": {
            "x": {"field": across, "title": across, **quantity},
            "y": {"field": up, "title": title, **quantity},
        },
    }


def card(manifest: Row) -> str:
    """Return the model card as Markdown."""
    result = manifest["result"]
    lines = _card_facts(manifest).items()
    table = "\n".join(f"| {key} | {_cell(value)} |" for key, value in lines)
    return f"""# A data filtering network

Scores how well a caption fits an image: the cosine of the two towers' vectors. Trained
by `winnow filter train`; `manifest.json` holds the whole recipe.

| | |
|---|---|
{table}

## Measured

AUC of right against wrong captions of images that were held out: {result["auc"]:.4f}
(step {result["best_step"]:,}, the best of {result["steps"]:,}; wrong captions are those
of other images held out of the same pool{_each_pool(result)}).
That is also what the weights were chosen by. `winnow filter eval` measures more, with
harder negatives.

## Limits

A filter knows what its trusted pool knows. It is made to rank pairs of like pools, not
to classify images; on other kinds of images measure before you trust it. Its weights
carry the licence terms of the pools and of the weights that it started from.
"""


def _card_facts(manifest: Row) -> dict[str, str]:
    """Return the lines of the card's table, by what they say."""
    result, recipe = manifest["result"], manifest["recipe"]
    model, optimise = recipe["model"], recipe["optimise"]
    architecture = model["architecture"]
    name = architecture if isinstance(architecture, str) else "its own `model_cfg`"
    return {
        "layout": "open_clip `local-dir:`",
        "weights": f"{manifest['weights']['parameters']:,} parameters, "
        f"{manifest['weights']['precision']}, {manifest['weights']['bytes']:,} bytes",
        "sha256": f"`{manifest['weights']['sha256']}`",
        "architecture": name,
        "started from": _starts(manifest["starts"]),
        "frozen": ", ".join(model["freeze"]) or "nothing",
        "trained on": f"{result['trained_on']:,} images; {result['held_out']:,} held "
        f"out, {sum(result['left_out'].values()):,} left out",
        "pools": ", ".join(p for d in manifest["data"]["pools"] for p in d["path"]),
        "wrong captions": f"{recipe['wrong_captions']:.0%}",
        "loss": f"{optimise['loss']}, batch {optimise['batch_size']}, rate "
        f"{optimise['learning_rate']:g}, {optimise['epochs']:g} epochs, "
        f"{optimise['precision']}, seed {recipe['seed']}",
        "training": f"{result['steps']:,} steps in {result['seconds']:.0f} s, "
        f"{result['waited_for_data']:.1%} of it waiting for data",
        "versions": ", ".join(f"{k} {v}" for k, v in manifest["versions"].items()),
    }


def _each_pool(result: Row) -> str:
    by = result["auc_by_pool"]
    if len(by) < 2:
        return ""
    return "; by pool: " + ", ".join(f"{n} {auc:.4f}" for n, auc in by.items())


def _starts(starts: Sequence[Row]) -> str:
    told = [f"{s['part']} of {s['weights']} (`{s['sha256'][:12]}…`)" for s in starts]
    return "; ".join(told) or "random weights"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def write_purity(target: Path, levels: Sequence[Row], monotone: bool) -> None:
    """Write the page of a purity ablation: chart and table of AUC by level."""
    points = [
        {"purity": level["purity"], "AUC": auc, "seed": str(seed)}
        for level in levels
        for seed, auc in enumerate(level["aucs"])
    ]
    chart = draw(_purity_chart(points), "Held-out AUC by share of right captions")
    page = render(
        "winnow.filters.page",
        "purity.html.j2",
        levels=levels,
        monotone=monotone,
        chart=chart,
    )
    write_page(target, page)


def _purity_chart(points: Sequence[Row]) -> Spec:
    across = {
        "field": "purity",
        "type": "quantitative",
        "title": "share of right captions",
        "axis": {"format": "%"},
    }
    up = {"type": "quantitative", "title": "held-out AUC", "scale": {"zero": False}}
    return {
        "width": 600,
        "height": 240,
        "padding": 4,
        "data": {"values": list(points)},
        "layer": [
            {
                "mark": {"type": "line", "color": KEPT},
                "encoding": {
                    "x": across,
                    "y": {**up, "field": "AUC", "aggregate": "mean"},
                },
            },
            {
                "mark": {"type": "point", "color": KEPT, "filled": True},
                "encoding": {"x": across, "y": {**up, "field": "AUC"}},
            },
        ],
    }
