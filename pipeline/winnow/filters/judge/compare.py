"""Filters compared on one pool: `winnow filter compare`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from winnow.filters.judge.downstream import Proxy, downstream
from winnow.filters.judge.evaluate import Evaluation, evaluate
from winnow.filters.judge.evaluation_set import image_bytes
from winnow.filters.judge.figures import with_drops
from winnow.filters.judge.selections import (
    Choosing,
    Selections,
    agreement,
    cluster_rates,
    disagreements,
    file_name,
    pool_areas,
    select,
)

Result = dict[str, Any]
Tell = Callable[[str], None]

_BRIEF = ("n", "auc_random", "auc_hard", "recall_at_1", "recall_at_5", "recall_at_10")


def compare(
    models: Sequence[str],
    pool: str,
    how: Choosing,
    *,
    domains: Sequence[str] = (),
    proxy: Proxy | None = None,
    tell: Tell = lambda _: None,
) -> tuple[Result, Selections]:
    """Return how filters' selections of a pool agree, and what they train.

    domains: held-out sets; every filter's figures on each, with the drop below its best
    domain. Raises ConfigError and InputError as `select`, `evaluate` and `downstream`.
    """
    selections = select(models, pool, how, tell)
    rates = cluster_rates(selections)
    result: Result = {
        "pool": pool,
        "rows": len(selections.data),
        "unusable": selections.data.unusable,
        "budget": how.budget,
        "kept": selections.budget,
        "models": [
            {
                **areas,
                "name": model,
                "deletes": [
                    r["cluster"] for r in rates if areas["model"] in r["deleted_by"]
                ],
            }
            for areas, model in zip(pool_areas(selections), models, strict=True)
        ],
        "agreement": agreement(selections),
        "clusters": rates,
        "disagreements": disagreements(selections),
    }
    if domains:
        result["domains"] = [
            {
                "model": selection.name,
                "domains": _domains(model, domains, how, tell),
            }
            for model, selection in zip(models, selections.filters, strict=True)
        ]
    if proxy is not None:
        result["downstream"] = downstream(selections, proxy, tell)
    return result, selections


def _domains(
    model: str, paths: Sequence[str], how: Choosing, tell: Tell
) -> list[Result]:
    """Return brief figures of one filter on each domain, with its drops."""
    settings = Evaluation(precision=how.precision)
    rows = []
    for path in paths:
        figures, (judged,) = evaluate(model, [path], settings, tell)
        brief = {name: figures[name] for name in _BRIEF}
        rows.append({"group": judged.data.name, "path": path, **brief})
    return with_drops(rows)


def write_selections(selections: Selections, folder: Path) -> None:
    """Write the uids that each filter keeps, one a line: FOLDER/NAME.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    for selection in selections.each:
        kept = zip(selections.data.uids, selection.keep.tolist(), strict=True)
        name = file_name(selection.name)
        lines = "".join(f"{uid}\n" for uid, keep in kept if keep)
        (folder / f"{name}.txt").write_text(lines, encoding="utf-8")


def gallery_images(result: Result, selections: Selections) -> dict[str, bytes | None]:
    """Return the images of the rows that `disagreements` shows, by uid."""
    rows = {
        example["row"]
        for part in result["disagreements"]
        for example in part["examples"]
    }
    read = image_bytes(selections.data, sorted(rows))
    return {selections.data.uids[row]: image for row, image in read.items()}
