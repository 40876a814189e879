"""The columns of a run's views that may have no rows, and what makes views of parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from winnow.core.sql_text import identifier

LEDGER = {
    "uid": "VARCHAR",
    "step": "VARCHAR",
    "position": "INTEGER",
    "keep": "BOOLEAN",
    "reason": "VARCHAR",
    "score": "DOUBLE",
    "threshold": "DOUBLE",
    "kept_twin": "VARCHAR",
}
MEMBERS = {
    "uid": "VARCHAR",
    "step": "VARCHAR",
    "cluster_id": "INTEGER",
    "distance": "DOUBLE",
}
COMPLEXITY = {
    "cluster": "INTEGER",
    "d_intra": "DOUBLE",
    "d_inter": "DOUBLE",
    "complexity": "DOUBLE",
    "quota": "BIGINT",
}
STEPS = {
    "step": "VARCHAR",
    "position": "INTEGER",
    "kind": "VARCHAR",
    "rows_in": "BIGINT",
    "kept": "BIGINT",
    "dropped": "BIGINT",
    "quarantined": "BIGINT",
    "seconds": "DOUBLE",
    "peak_rss_mb": "DOUBLE",
}
MEASURED = {
    "uid": "VARCHAR",
    "language": "VARCHAR",
    "characters": "BIGINT",
    "words": "BIGINT",
    "width": "BIGINT",
    "height": "BIGINT",
}
NEIGHBOURS = {
    "uid": "VARCHAR",
    "step": "VARCHAR",
    "twin": "VARCHAR",
    "similarity": "DOUBLE",
}
REJECTS = {"uid": "VARCHAR", "reason": "VARCHAR", "step": "VARCHAR"}
REPEATS = {"uid": "VARCHAR", "count": "BIGINT"}
VECTORS = {
    "uid": "VARCHAR",
    "step": "VARCHAR",
    "image_vector": "FLOAT[]",
    "text_vector": "FLOAT[]",
}


def union(parts: Sequence[str], columns: Mapping[str, str]) -> str:
    """Return the rows of several SELECTs; without one, an empty table of columns."""
    return " UNION ALL BY NAME ".join(parts) if parts else values_of(columns, [])


def values_of(columns: Mapping[str, str], rows: Sequence[str]) -> str:
    """Return constant rows of named, typed columns; without rows, an empty table."""
    nothing = f"({', '.join(['NULL'] * len(columns))})"
    names = ", ".join(map(identifier, columns))
    typed = ", ".join(
        f"{identifier(n)}::{kind} AS {identifier(n)}" for n, kind in columns.items()
    )
    end = "" if rows else " WHERE false"
    return (
        f"SELECT {typed} FROM (VALUES {', '.join(rows or [nothing])}) t({names}){end}"
    )
