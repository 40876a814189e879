"""Numbers of a page: each is an answer to a query, and says which.

An element with `data-query` holds an answer; inside it, `data-row` and `data-column`
name the cell that a `<data value=…>` shows. The tests ask every query again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from winnow.pages.database import ViewDatabase

Row = dict[str, Any]
#: What a section hands to its template.
Section = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """The rows that a query gives."""

    sql: str
    rows: list[Row]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def query(self) -> Markup:
        """The attribute of the element that holds this answer."""
        return Markup('data-query="{}"').format(self.sql)

    def cell(self, row: int, column: str, style: str = "count") -> Markup:
        """Return a number as people read it, with its value beside."""
        return _data(self.rows[row][column], style, Markup(' data-column="{}"'), column)

    def counted(self, row: int, column: str, noun: str) -> Markup:
        """Return how many there are of a noun, in its plural but for one."""
        plural = "" if self.rows[row][column] == 1 else "s"
        return self.cell(row, column) + Markup(" {}{}").format(noun, plural)

    def number(self, column: str, style: str = "count", row: int = 0) -> Markup:
        """Return a number that stands alone: with its query, row and column."""
        where = Markup(' data-query="{}" data-row="{}" data-column="{}"')
        return _data(self.rows[row][column], style, where, self.sql, row, column)

    def stands(self, row: int, column: str, noun: str) -> Markup:
        """Return `counted` for a number that stands alone, as in `number`."""
        plural = "" if self.rows[row][column] == 1 else "s"
        return self.number(column, row=row) + Markup(" {}{}").format(noun, plural)

    def column(self, name: str) -> list[Any]:
        """Return one column."""
        return [row[name] for row in self.rows]


def _data(value: Any, style: str, where: Markup, *of: Any) -> Markup:
    if value is None:
        return Markup('<span class="none">–</span>')
    shown = STYLES[style](value)
    head = Markup('<data value="{}"').format(value)
    return head + where.format(*of) + Markup(">{}</data>").format(shown)


@dataclass
class Answers:
    """Asks a run and remembers what it was asked, for readers who want to ask again."""

    database: ViewDatabase
    asked: dict[str, None] = field(default_factory=dict)

    def ask(self, sql: str) -> Answer:
        """Return the rows of a SELECT."""
        line = " ".join(sql.split())
        self.asked.setdefault(line)
        return Answer(line, self.database.query(line).to_pylist())


def count(value: float) -> str:
    """Return a whole number."""
    return f"{value:,.0f}"


def share(value: float) -> str:
    """Return a share in per cent; never 100 % for less than all, nor 0 % for some."""
    if 0 < value < 1:
        shown = f"{min(max(value, 0.0001), 0.9999):.{_places(value)}%}"
    else:
        shown = f"{value:.0%}"
    # A number and its sign stay on one line.
    return shown.replace("%", "\N{NO-BREAK SPACE}%")


def _places(value: float) -> int:
    return 1 if 0.001 <= value < 0.9995 else 2


def score(value: float) -> str:
    """Return a score to four digits."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.4f}"


def ratio(value: float) -> str:
    """Return a factor."""
    return f"{value:.2f} ×"


def factor(value: float) -> str:
    """Return a factor whose neighbour carries the sign."""
    return f"{value:.2f}"


def seconds(value: float) -> str:
    """Return a duration."""
    return f"{value:,.1f} s"


def duration(value: float) -> str:
    """Return seconds, or what is less as milliseconds."""
    if value >= 1:
        return f"{value:,.1f} s"
    ms = value * 1000
    return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.2f} ms"


def size(value: float) -> str:
    """Return bytes with a unit."""
    amount, unit = float(value), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if abs(amount) < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:,.0f} {unit}" if unit == "B" else f"{amount:,.1f} {unit}"


def plain(value: Any) -> str:
    """Return a number with as many digits as it needs."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


STYLES: dict[str, Callable[[Any], str]] = {
    "count": count,
    "share": share,
    "score": score,
    "ratio": ratio,
    "factor": factor,
    "seconds": seconds,
    "duration": duration,
    "size": size,
    "plain": plain,
}
