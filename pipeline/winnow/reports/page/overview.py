"""The head of a page: what became of every row, step by step; and of what could not be
read."""

from __future__ import annotations

from winnow.pages.answers import Section
from winnow.pages.drawing import NARROW, WIDE, draw
from winnow.reports.page.charts import funnel
from winnow.reports.page.context import PageSource


def headline(source: PageSource) -> Section:
    """Return how many rows were kept, dropped, quarantined."""
    fates = ("kept", "dropped", "quarantined", "undecided")
    counted = ", ".join(
        f"count(*) FILTER (fate = '{fate}') AS {fate}" for fate in fates
    )
    total = source.ask(
        f"SELECT *, kept / nullif(rows, 0) AS keep_rate, "
        "dropped / nullif(rows, 0) AS drop_rate FROM "
        f"(SELECT count(*) AS rows, {counted} FROM fates)"
    )
    return {"total": total}


def steps(source: PageSource) -> Section:
    """Return the funnel: each step's rows, and its reasons."""
    table = source.ask(
        "SELECT step, kind, rows_in, kept, dropped, quarantined, "
        "dropped / nullif(rows_in, 0) AS drop_rate, seconds, peak_rss_mb "
        "FROM steps ORDER BY position"
    )
    reasons = source.ask(
        "SELECT step, reason, count(*) AS rows FROM ledger WHERE NOT keep "
        "GROUP BY step, position, reason ORDER BY position, rows DESC, reason"
    )
    shown = [row for row in table.rows if row["dropped"] or row["quarantined"]]
    shown = shown or table.rows
    rows = [
        {name: row[name] for name in ("step", "kept", "dropped", "quarantined")}
        for row in shown
    ]
    label = "Rows that each step kept, dropped and quarantined: " + "; ".join(
        f"{row['step']}: {row['kept']:,} kept, {row['dropped']:,} dropped"
        for row in rows
    )
    return {
        "table": table,
        "reasons": reasons,
        "wide": draw(funnel(rows, WIDE), label),
        "narrow": draw(funnel(rows, NARROW), label),
    }


def quarantine(source: PageSource) -> Section | None:
    """Return what could not be read, by reason; None if everything could."""
    table = source.ask(
        "SELECT step, reason, count(*) AS rows FROM quarantine "
        "GROUP BY ALL ORDER BY rows DESC, step, reason LIMIT 40"
    )
    if not table.rows:
        return None
    examples = source.ask(
        "SELECT step, reason, source, row, uid FROM quarantine "
        "QUALIFY row_number() OVER (PARTITION BY step, reason ORDER BY uid) <= 3 "
        "ORDER BY step, reason, uid LIMIT 60"
    )
    return {"table": table, "examples": examples}
