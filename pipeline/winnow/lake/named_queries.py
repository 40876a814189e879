"""Named queries over a scan of a lake."""

from __future__ import annotations

from winnow.pages.named_queries import NamedQuery

SCANS: dict[str, NamedQuery] = {
    "stages": NamedQuery(
        "how the candidate edges became fewer, and what that cost",
        "SELECT * FROM stages",
    ),
    "relations": NamedQuery(
        "how many edges there are of each relation, and which stage decided",
        "SELECT relation, stage, count(*) AS edges FROM edges "
        "GROUP BY ALL ORDER BY edges DESC, relation, stage",
    ),
    "largest-savings": NamedQuery(
        "what the plan may delete, by the bytes that saves",
        'SELECT "table", parent, bytes, bytes_saved, cost_saved, reason FROM plan '
        "WHERE action = 'delete' ORDER BY bytes_saved DESC, \"table\" LIMIT 50",
    ),
    "near-misses": NamedQuery(
        "tables that are nearly contained, with a row that is not",
        "SELECT child, parent, relation, containment, stage, witness FROM edges "
        "WHERE relation IN ('partial', 'refuted') AND witness IS NOT NULL "
        "ORDER BY containment DESC NULLS LAST, child, parent LIMIT 50",
    ),
    "unreadable-tables": NamedQuery(
        "tables that could not be read, and why",
        'SELECT "table", reason FROM tables WHERE reason IS NOT NULL ORDER BY "table"',
    ),
}
