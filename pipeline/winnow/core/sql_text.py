"""Names and texts as SQL writes them."""

from __future__ import annotations

#: Option of DuckDB's readers: a folder called k=v makes no column.
AS_STORED = "hive_partitioning = false"


def literal(text: str) -> str:
    """Return a text as an SQL literal, in single quotes; its own are doubled."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Return a name as an SQL identifier, in double quotes; its own are doubled."""
    return '"' + name.replace('"', '""') + '"'
