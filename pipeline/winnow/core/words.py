"""Numbers of things, as sentences say them."""

from __future__ import annotations


def number_of(count: int, thing: str, things: str = "") -> str:
    """Return a number with its noun: `1 row`, `2,000 rows`.

    thing: one of them. things: several, where that is not `thing` with an s.

    Example: `number_of(1, "query", "queries")` is `1 query`.
    """
    return f"{count:,} {thing if count == 1 else things or f'{thing}s'}"
