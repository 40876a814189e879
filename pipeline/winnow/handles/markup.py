"""HTML of values in a notebook: everything that data says is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from winnow.reports.rows_out import cell


def table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows of values as an HTML table; bytes are their size."""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell(value))}</td>' for value in row)}</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def line(text: str) -> str:
    """Return a line of text as HTML."""
    return f"<p>{escape(text)}</p>"
