"""The bias check: what did this pruning remove disproportionately?

Of every value of a column: the share kept, with Wilson's 95 % interval (Wilson 1927,
JASA 22, 209–212), and the lift: how often it was removed, against how often any row.
"""

from __future__ import annotations

from winnow.pages.answers import Answer, Section
from winnow.pages.drawing import draw
from winnow.reports.page.attributes import Attribute
from winnow.reports.page.charts import rates
from winnow.reports.page.context import PageSource

_VALUES = 14
#: Letters of a value that the chart has room for.
_LETTERS = 20
#: 95 % of a normal distribution lie within so many standard deviations.
_Z = 1.959964


def bias(source: PageSource, attributes: list[Attribute]) -> list[Section]:
    """Return one section for each attribute."""
    return [_attribute(source, attribute) for attribute in attributes]


def _attribute(source: PageSource, attribute: Attribute) -> Section:
    total = source.ask(
        f"SELECT count(*) AS rows, {_KEPT} AS kept, {_KEPT} / count(*) AS keep_rate, "
        f"count(DISTINCT a.value) AS values FROM ({attribute.rows}) a "
        f"JOIN fates f USING (uid) WHERE {_DECIDED}"
    )
    table = source.ask(_sql(attribute))
    verdicts = [_verdict(row) for row in table.rows]
    return {
        "id": f"bias-{attribute.name}",
        "name": attribute.name,
        "what": attribute.what,
        "many": attribute.many,
        "total": total,
        "table": table,
        "verdicts": verdicts,
        "chart": _chart(table, verdicts, total, attribute.name),
    }


_KEPT = "count(*) FILTER (f.fate = 'kept')"
_DECIDED = "f.fate IN ('kept', 'dropped')"


def _sql(attribute: Attribute) -> str:
    """Return value, rows, kept, rates with their interval, and lift, largest first."""
    rate = f"(kept + {_Z**2 / 2:.12e}) / (rows + {_Z**2:.12e})"
    half = (
        f"{_Z:.12e} * sqrt(kept * (rows - kept) / rows::DOUBLE + {_Z**2 / 4:.12e}) "
        f"/ (rows + {_Z**2:.12e})"
    )
    return f"""
WITH told AS MATERIALIZED (
    SELECT a.value AS value, f.step AS step, f.fate = 'kept' AS is_kept,
        count(*) AS rows
    FROM ({attribute.rows}) a JOIN fates f USING (uid)
    WHERE {_DECIDED} GROUP BY ALL
), counted AS (
    SELECT value, sum(rows)::BIGINT AS rows,
        coalesce(sum(rows) FILTER (is_kept), 0)::BIGINT AS kept
    FROM told GROUP BY value
), dropping AS (
    SELECT value, step, rows FROM told WHERE NOT is_kept
), whole AS (
    SELECT sum(rows - kept) / sum(rows) AS removed FROM counted
), largest AS (
    SELECT * FROM counted ORDER BY rows DESC, value LIMIT {_VALUES}
)
SELECT value, rows, kept, kept / rows AS keep_rate,
    greatest({rate} - {half}, 0) AS low, least({rate} + {half}, 1) AS high,
    (1 - kept / rows) / nullif(removed, 0) AS lift,
    greatest(1 - ({rate} + {half}), 0) / nullif(removed, 0) AS lift_low,
    least(1 - ({rate} - {half}), 1) / nullif(removed, 0) AS lift_high,
    (
        SELECT step FROM dropping d WHERE d.value IS NOT DISTINCT FROM largest.value
        ORDER BY d.rows DESC, step LIMIT 1
    ) AS most_by
FROM largest, whole ORDER BY rows DESC, value"""


def _verdict(row: dict[str, float | None]) -> str:
    low, high = row["lift_low"], row["lift_high"]
    if low is None or high is None:
        return "as all"
    if low > 1:
        return "more"
    return "less" if high < 1 else "as all"


def _chart(table: Answer, verdicts: list[str], total: Answer, name: str) -> object:
    rows = [
        {
            "label": _label(row["value"]),
            "keep_rate": row["keep_rate"],
            "low": row["low"],
            "high": row["high"],
            "verdict": verdict,
        }
        for row, verdict in zip(table.rows, verdicts, strict=True)
    ]
    overall = total.rows[0]["keep_rate"]
    label = (
        f"Share of rows kept for each value of {name}, with 95 % intervals, against "
        "the share of all rows; the table below has the numbers"
    )
    return draw(rates(rows, overall or 0.0), label) if rows else None


def _label(value: object) -> str:
    if value is None:
        return "(none)"
    text = " ".join(str(value).split()) or "(empty)"
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"
