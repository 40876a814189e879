"""Fields of text files that are not written as their values are: `3.10` is 3.1.

Read by value, two notations are one value; a text that is had back from values has the
notation of DuckDB (CSV) or of Python (JSON), the shortest of each number.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import pyarrow.types as pt

from winnow.lake.files import csv_tables, json_lines
from winnow.lake.files.files import Files
from winnow.lake.kernels.tables import Column, Table

#: Of each column so many are kept, the least by their letters.
MOST = 10_000

#: By column, each notation and how its value is written by itself.
Written = Mapping[str, Mapping[str, str]]


def other_notations(files: Files, table: Table) -> Written:
    """Return the fields of a CSV or JSON table that are not written as their values.

    At most `MOST` of each column. Columns of text are what is written. Raises OSError,
    ValueError or duckdb.Error if the table cannot be read.
    """
    written: dict[str, dict[str, str]] = {}
    for part in table.parts:
        if "structure" in dict(part.dialect):
            kinds = {column.name: column for column in table.columns}
            numbers = json_lines.written_numbers(files, part)
            written |= _of_numbers(numbers, kinds)
        else:
            written |= csv_tables.other_notations(files, part, table.columns, MOST)
    return {name: least(texts) for name, texts in written.items() if texts}


def holding(
    files: Files, table: Table, column: str, texts: Sequence[str]
) -> frozenset[str]:
    """Return which of some texts stand in a column of a CSV table, as written."""
    (part,) = table.parts
    return csv_tables.holding(files, part, table.columns, column, texts)


def least(texts: Mapping[str, str]) -> Mapping[str, str]:
    """Return the first `MOST` of some notations, by their letters."""
    if len(texts) <= MOST:
        return texts
    return {text: texts[text] for text in sorted(texts)[:MOST]}


def _of_numbers(
    numbers: Iterator[tuple[str, str]], columns: Mapping[str, Column]
) -> dict[str, dict[str, str]]:
    written: dict[str, dict[str, str]] = defaultdict(dict)
    for name, text in numbers:
        column = columns.get(name)
        if column is None or pt.is_string(column.type):
            continue
        alone = _alone(text, pt.is_floating(column.type))
        if _plain_exponent(alone) != _plain_exponent(text):
            written[name][text] = alone
    return written


def _alone(text: str, is_real: bool) -> str:
    """Return how a number's value is written by itself."""
    if is_real or not text.lstrip("-").isdecimal():
        return json.dumps(float(text))
    return str(int(text))


def _plain_exponent(text: str) -> str:
    return re.sub(r"e\+?(-?)0*", r"e\1", text.lower())
