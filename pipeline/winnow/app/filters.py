"""What an address asks for: conditions on rows, an order, a place in it.

Names of columns, steps and operations are looked up, never pasted; values are bound as
parameters. So nothing that an address holds becomes SQL.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from winnow.app.row_index import IndexedColumn, RowIndex
from winnow.core.errors import QueryError, did_you_mean

#: Operations on any column, and how a page calls them.
OPERATIONS = {
    "is": "is",
    "not": "is not",
    "has": "contains",
    "min": "is at least",
    "max": "is at most",
    "empty": "is empty",
    "filled": "is not empty",
}
_COMPARED = {"is": "=", "min": ">=", "max": "<="}
_LONGEST = 1_000
_CONDITIONS = 20
_WHOLE = 2**63
#: Fields of an address that stand for a condition of their own.
SIMPLE = ("fate", "step", "reason")
MARKED = ("any", "rescue", "drop", "none")

Fields = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class ColumnFilter:
    """`column operation value`, as the address gives it."""

    column: str
    operation: str
    value: str


@dataclass(frozen=True)
class AskedPage:
    """One page of rows: which rows, in which order, after or before which row."""

    caption: str = ""
    simple: tuple[tuple[str, str], ...] = ()
    conditions: tuple[ColumnFilter, ...] = ()
    marked: str = ""
    #: Words for the model to look for, or the row whose likes are wanted.
    like: str = ""
    near: int | None = None
    #: Rows that were chosen on the map, and a tag that rows were given.
    selection: str = ""
    tag: str = ""
    sort: str = "n"
    descending: bool = False
    after: int | None = None
    before: int | None = None

    @property
    def by_similarity(self) -> bool:
        """Whether rows are compared with a text or with a row."""
        return bool(self.like) or self.near is not None

    @property
    def usual_sort(self) -> str:
        """The order of an address that asks for none."""
        return "similarity" if self.by_similarity else "n"

    def address(self, **changes: Any) -> str:
        """Return the query string of this page, or of one beside it."""
        asked = replace(self, **changes) if changes else self
        plain: list[tuple[str, str]] = []
        names = {"caption": "q", "marked": "marked", "like": "like"}
        names |= {"selection": "sel", "tag": "tag"}
        plain += [(key, getattr(asked, name)) for name, key in names.items()]
        plain += asked.simple
        for one in asked.conditions:
            plain += [("col", one.column), ("op", one.operation), ("val", one.value)]
        if asked.sort != asked.usual_sort:
            plain.append(("sort", asked.sort))
        if asked.descending != (asked.sort == "similarity"):
            plain.append(("dir", "desc" if asked.descending else "asc"))
        numbers = {"near": asked.near, "after": asked.after, "before": asked.before}
        plain += [(k, str(v)) for k, v in numbers.items() if v is not None]
        in_condition = ("col", "op", "val")
        return urlencode([(k, v) for k, v in plain if v or k in in_condition])


def asked(fields: Fields, index: RowIndex) -> AskedPage:
    """Read an address; raises QueryError for what does not exist or is no value."""
    single = {key: value for key, value in fields if value}
    for value in (value for _, value in fields):
        if len(value) > _LONGEST:
            raise QueryError(f"a value is longer than {_LONGEST:,} characters")
    by_similarity = "like" in single or "near" in single
    sort = single.get("sort", "similarity" if by_similarity else "n")
    known = [column.name for column in index.columns] + ["n"]
    if by_similarity:
        known.append("similarity")
    if sort not in known:
        raise QueryError(f"no column '{sort}' to sort by; {did_you_mean(sort, known)}")
    direction = _one_of(single.get("dir", ""), ("asc", "desc"), "direction")
    return AskedPage(
        caption=single.get("q", ""),
        simple=tuple((key, single[key]) for key in SIMPLE if key in single),
        conditions=_conditions(fields, index),
        marked=_one_of(single.get("marked", ""), MARKED, "mark"),
        like=single.get("like", ""),
        near=_number_of(single, "near"),
        selection=single.get("sel", ""),
        tag=single.get("tag", ""),
        sort=sort,
        # What is most alike comes first, unless asked otherwise.
        descending=direction == "desc" or (not direction and sort == "similarity"),
        after=_number_of(single, "after"),
        before=_number_of(single, "before"),
    )


def _conditions(fields: Fields, index: RowIndex) -> tuple[ColumnFilter, ...]:
    """Read what is asked of single columns; fields that are left blank ask nothing."""
    columns, operations, values = (
        [value for key, value in fields if key == name] for name in ("col", "op", "val")
    )
    if not len(columns) == len(operations) == len(values):
        raise QueryError("each condition needs a column, an operation and a value")
    conditions = []
    for column, operation, value in zip(columns, operations, values, strict=True):
        if not column or (not value and operation not in ("empty", "filled")):
            continue
        one = ColumnFilter(column, _one_of(operation, OPERATIONS, "operation"), value)
        condition_sql(one, index)
        conditions.append(one)
    if len(conditions) > _CONDITIONS:
        raise QueryError(f"at most {_CONDITIONS} conditions at once")
    return tuple(conditions)


def _one_of(value: str, known: Iterable[str], what: str) -> str:
    if value and value not in known:
        raise QueryError(f"no {what} '{value}'; {did_you_mean(value, known)}")
    return value


def _number_of(single: dict[str, str], key: str) -> int | None:
    text = single.get(key)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise QueryError(f"{key}: '{text}' is no row's number")
    return int(text)


@dataclass
class FilterSql:
    """Conditions in SQL, with the values of their question marks in order."""

    parts: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, sql: str, *values: Any) -> None:
        """Add a condition that must hold too."""
        self.parts.append(f"({sql})")
        self.values += values

    @property
    def sql(self) -> str:
        """The WHERE clause; empty without a condition."""
        return f"WHERE {' AND '.join(self.parts)}" if self.parts else ""


def where_of(wanted: AskedPage, index: RowIndex) -> FilterSql:
    """Return the conditions of an address but for marks and place."""
    where = FilterSql()
    if wanted.caption:
        if index.column("caption") is None:
            raise QueryError("this run's input has no captions to search")
        where.add("contains(lower(caption), lower(?))", wanted.caption)
    for name, value in wanted.simple:
        where.add(f"{name} = ?", value)
    for condition in wanted.conditions:
        sql, values = condition_sql(condition, index)
        where.add(sql, *values)
    return where


def condition_sql(condition: ColumnFilter, index: RowIndex) -> tuple[str, list[Any]]:
    """Return a condition in SQL and its values; QueryError if it makes no sense."""
    column = index.column(condition.column)
    if column is None:
        known = [c.name for c in index.columns]
        raise QueryError(
            f"no column '{condition.column}'; {did_you_mean(condition.column, known)}"
        )
    name, operation = column.sql, condition.operation
    if operation == "empty":
        blank = f" OR trim({name}) = ''" if column.kind == "text" else ""
        return f"{name} IS NULL{blank}", []
    if operation == "filled":
        blank = f" AND trim({name}) <> ''" if column.kind == "text" else ""
        return f"{name} IS NOT NULL{blank}", []
    if operation == "has":
        return f"contains(lower({name}::VARCHAR), lower(?))", [condition.value]
    value = _value(column, condition.value)
    if operation == "not":
        return f"{name} IS DISTINCT FROM ?", [value]
    return f"{name} {_COMPARED[operation]} ?", [value]


def _value(column: IndexedColumn, text: str) -> Any:
    """Return a value of a column's kind."""
    try:
        return _READ[column.kind](text.strip() if column.kind != "text" else text)
    except (ValueError, KeyError) as error:
        raise QueryError(
            f"{column.label}: '{text}' is no {_CALLED[column.kind]}"
        ) from error


def _number(text: str) -> float:
    value = float(text)
    if math.isnan(value):
        raise ValueError("NaN compares with nothing")
    return value


def _whole(text: str) -> int | float:
    try:
        value: int | float = int(text)
    except ValueError:
        value = _number(text)
    return value if -_WHOLE <= value < _WHOLE else float(value)


def _flag(text: str) -> bool:
    return {"true": True, "false": False, "yes": True, "no": False}[text.lower()]


_READ: dict[str, Any] = {
    "text": str,
    "whole": _whole,
    "number": _number,
    "flag": _flag,
    "time": datetime.fromisoformat,
}
_CALLED = {
    "text": "text",
    "whole": "number",
    "number": "number",
    "flag": "true or false",
    "time": "date or time (write 2026-01-31, or 2026-01-31T12:00:00)",
}
