"""The first screen of a page: what was read, the largest reasons, what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from winnow.config.step_kinds import meant
from winnow.core.sql_text import literal
from winnow.pages.answers import Section
from winnow.reports.page.context import PageSource, gallery

#: Reasons shown, and samples of each.
_REASONS, _SAMPLES = 3, 3
_KEPT = 6


def first_look(
    source: PageSource,
    provenance: Section,
    aside: Sequence[str] = (),
    rows: str = "FROM fates",
) -> Section:
    """Return the largest reasons with samples, some kept rows, and the origin.

    aside: steps whose reasons are not looked at. rows: those that shares are of, as
    SQL.
    """
    others = f"AND step NOT IN ({', '.join(map(literal, aside))}) " if aside else ""
    reasons = source.ask(
        "SELECT step, kind, reason, count(*) AS rows, "
        f"count(*) / (SELECT count(*) {rows}) AS share "
        "FROM ledger JOIN steps USING (step) "
        f"WHERE NOT keep {others}"
        "GROUP BY step, kind, ledger.position, reason "
        "ORDER BY rows DESC, ledger.position, reason "
        f"LIMIT {_REASONS}"
    )
    samples = [
        gallery(
            source,
            row["reason"],
            "SELECT uid, reason, score, threshold, keep FROM ledger WHERE NOT keep "
            f"AND step = {literal(row['step'])} AND reason = {literal(row['reason'])} "
            f"ORDER BY md5(uid), uid LIMIT {_SAMPLES}",
        )
        for row in reasons.rows
    ]
    kept = gallery(
        source,
        "Kept",
        "SELECT uid FROM fates WHERE fate = 'kept' "
        f"ORDER BY md5(uid), uid LIMIT {_KEPT}",
    )
    return {
        "reasons": reasons,
        "meanings": [meant(row["kind"], row["reason"]) for row in reasons.rows],
        "samples": samples,
        "kept": kept,
        "origin": _origin(provenance["settings"]),
    }


def _origin(settings: str) -> dict[str, str]:
    """Return the recipe, its steps and its model, as the lock file has them."""
    recipe: dict[str, Any] = yaml.safe_load(settings) if settings else {}
    paths = recipe.get("input", {}).get("path") or []
    model = recipe.get("model") or {}
    facts = {
        "input": ", ".join(paths if isinstance(paths, list) else [str(paths)]),
        "recipe": f"{recipe.get('flow', '')}: {', '.join(recipe.get('steps') or [])}",
    }
    if "embed" in (recipe.get("steps") or []) and model.get("name"):
        weights = model.get("pretrained")
        name = Path(model["name"]).name if not weights else model["name"]
        facts["model"] = f"{name}{f' ({weights})' if weights else ''}"
    return facts
