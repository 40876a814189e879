"""One section for each deciding step: its scores with the cut, and what they mean."""

from __future__ import annotations

from typing import Any

from winnow.config.step_kinds import meant, shown
from winnow.core.sql_text import literal
from winnow.pages.answers import Answer, Section, score
from winnow.pages.drawing import draw
from winnow.reports.page.charts import histogram
from winnow.reports.page.context import Gallery, PageSource, gallery

_BARS = 36
_SHOWN = 6


def deciding(source: PageSource) -> list[Section]:
    """Return one section for each step that decided, in order."""
    steps = source.ask(
        "SELECT s.step, s.kind, s.rows_in, s.kept, s.dropped, "
        "s.dropped / nullif(s.rows_in, 0) AS drop_rate FROM steps s "
        "WHERE s.step IN (SELECT DISTINCT step FROM ledger) ORDER BY s.position"
    )
    return [_step(source, steps, row) for row in range(len(steps))]


def _step(source: PageSource, steps: Answer, row: int) -> Section:
    step, kind = steps.rows[row]["step"], steps.rows[row]["kind"]
    about = shown(kind)
    where = f"step = {literal(step)}"
    spread = source.ask(
        "SELECT count(score) AS scored, min(score) AS low, max(score) AS high, "
        "count(DISTINCT threshold) AS cuts, min(threshold) AS cut, "
        f"max(threshold) AS highest_cut FROM ledger WHERE {where} AND isfinite(score)"
    )
    scaled = bool(spread.rows[0]["scored"]) and about.graded
    scale = about.scale
    reasons = source.ask(
        "SELECT reason, keep, count(*) AS rows, min(score) AS low, max(score) AS high "
        f"FROM ledger WHERE {where} GROUP BY ALL ORDER BY keep, rows DESC, reason"
    )
    return {
        "id": f"step-{step}",
        "step": step,
        "kind": kind,
        "steps": steps,
        "row": row,
        "scale": scale,
        "style": "score" if about.graded else "plain",
        "note": about.note,
        "one_cut": spread.rows[0]["cuts"] <= 1 and about.one_cut,
        "spread": spread if scaled else None,
        "reasons": reasons,
        "meanings": {row["reason"]: meant(kind, row["reason"]) for row in reasons.rows},
        "histogram": _histogram(source, where, spread.rows[0], scale)
        if scaled
        else None,
        "galleries": _galleries(source, where, scaled=scaled),
    }


def _histogram(
    source: PageSource, where: str, spread: dict[str, Any], scale: str
) -> Section:
    # Written with an exponent a number is a DOUBLE to the engine, else a DECIMAL.
    low = f"{spread['low']:.17e}"
    width = f"{(spread['high'] - spread['low']) / _BARS or 1.0:.17e}"
    bar = f"least(floor((score - {low}) / {width}), {_BARS - 1})::INTEGER"
    bars = source.ask(
        f"SELECT bar, {low} + bar * {width} AS low, "
        f"{low} + (bar + 1) * {width} AS high, "
        "count(*) FILTER (keep) AS kept, count(*) FILTER (NOT keep) AS dropped "
        f"FROM (SELECT {bar} AS bar, keep FROM ledger WHERE {where} "
        "AND isfinite(score)) GROUP BY bar ORDER BY bar"
    )
    cut = spread["cut"] if spread["cuts"] == 1 else None
    text = f"with the cut at {score(cut)}" if cut is not None else "of kept and dropped"
    label = f"Histogram of the {scale}, {text}"
    return {"bars": bars, "chart": draw(histogram(bars.rows, cut, scale), label)}


def _galleries(source: PageSource, where: str, *, scaled: bool) -> list[Gallery]:
    columns = "uid, score, threshold, reason, keep"
    head = f"SELECT {columns} FROM ledger WHERE {where} AND"
    near = f"ORDER BY abs(score - threshold), uid LIMIT {_SHOWN}"
    cut = "score IS NOT NULL AND threshold IS NOT NULL AND"
    of_each = (
        "row_number() OVER (PARTITION BY reason ORDER BY md5(uid), uid) "
        f"<= greatest(2, {_SHOWN} // (SELECT greatest(1, count(DISTINCT reason)) "
        f"FROM ledger WHERE {where} AND NOT keep))"
    )
    dropped = (
        f"SELECT {columns} FROM ledger WHERE {where} AND NOT keep QUALIFY {of_each} "
        f"ORDER BY reason, md5(uid), uid LIMIT {2 * _SHOWN}"
    )
    galleries = [gallery(source, "Dropped", dropped, "drawn from every reason")]
    if scaled:
        galleries += [
            gallery(source, "Dropped at the edge", f"{head} {cut} NOT keep {near}"),
            gallery(source, "Kept at the edge", f"{head} {cut} keep {near}"),
        ]
    return [shown for shown in galleries if shown is not None]
