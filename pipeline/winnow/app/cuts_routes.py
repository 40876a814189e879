"""The addresses of the thresholds."""

from __future__ import annotations

import math
import shlex

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from winnow.app.cuts_page import TriedCut
from winnow.app.filters import Fields
from winnow.app.pages import fields_of, page_of, part_of
from winnow.app.site import Shown, Site
from winnow.core.errors import QueryError


def cuts_routes(site: Site) -> list[Route]:
    """Return what answers about other thresholds of a run's steps."""

    def whole(request: Request) -> Response:
        run = shlex.quote(str(site.path))
        others: Shown = {"without": site.cuts.without, "run": run}
        if not site.cuts.names:
            return page_of(site, "cuts_none.html.j2", tab="/cuts", **others)
        shown = _shown(site, fields_of(request.url.query)) | others
        shown |= _histogram(shown["tried"])
        return page_of(site, "cuts.html.j2", tab="/cuts", **shown)

    def part(request: Request) -> Response:
        shown = _shown(site, fields_of(request.url.query))
        return part_of(site, "cut_answer.html.j2", **shown)

    def recipe(request: Request) -> Response:
        name, cut, _ = _asked(site, fields_of(request.url.query))
        text = site.cuts.recipe(name, cut)
        headers = {"Content-Disposition": 'attachment; filename="recipe.yaml"'}
        return Response(text, media_type="application/yaml", headers=headers)

    return [
        Route("/cuts", whole),
        Route("/cuts/answer", part),
        Route("/cuts/recipe.yaml", recipe),
    ]


def _asked(site: Site, fields: Fields) -> tuple[str, float, str]:
    """Return the step, the threshold and the column of an address."""
    single = {key: value for key, value in fields if value}
    names = site.cuts.names
    if not names:
        raise QueryError(
            "no step of this run has one threshold; `winnow what-if` decides under "
            "other settings"
        )
    name = single.get("step", names[0])
    step = site.cuts.step(name)
    cut = step.scores.cut
    if "cut" in single:
        try:
            cut = float(single["cut"])
        except ValueError:
            cut = math.nan
        if not math.isfinite(cut):
            raise QueryError(f"cut: '{single['cut']}' is no number")
    return name, cut, single.get("by", "")


def _shown(site: Site, fields: Fields) -> Shown:
    name, cut, by = _asked(site, fields)
    tried = site.cuts.tried(name, cut, by)
    sets = " ".join(f"--set {shlex.quote(part)}" for part in tried.settings)
    run = shlex.quote(str(site.path))
    return {
        "names": site.cuts.names,
        "columns": site.cuts.columns,
        "by": by,
        "label": next((c.label for c in site.cuts.columns if c.name == by), by),
        "tried": tried,
        "cut": tried.answer.cut,
        "what_if": f"winnow what-if {run} {sets}" if sets else "",
        "run_it": f"winnow run {run}/config.lock.yaml {sets} --out NEW" if sets else "",
        "cards": site.cut_cards(tried),
    }


def _histogram(tried: TriedCut) -> Shown:
    """Return the bars of a step's scores, in hundredths of their width."""
    scores = tried.step.scores
    bars, (low, high) = scores.bars(), scores.span
    tallest = max(rows for _, _, rows in bars)
    wide = 100 / len(bars)
    return {
        "low": min(low, scores.cut),
        "high": max(high, scores.cut),
        "bars": [
            (wide * i, wide, 60 * rows / tallest, start, end, rows)
            for i, (start, end, rows) in enumerate(bars)
        ],
    }
