"""The numbers of a page, each beside the query it is the answer to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from winnow.api import open_database


@dataclass
class Number:
    """One number of a page: what it shows, what it means, whence it comes."""

    value: str
    shown: str
    query: str
    row: int
    column: str


@dataclass
class Numbers(HTMLParser):
    """Finds every `<data>`, with the query, row and column that enclose it."""

    numbers: list[Number] = field(default_factory=list)
    stack: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in _VOID:
            self.stack.append((tag, dict(attrs)))
        if tag == "data":
            around = {k: v for _, given in self.stack for k, v in given.items()}
            query, row = around["data-query"], around["data-row"]
            column = dict(attrs)["data-column"]
            assert query
            assert row
            assert column
            value = dict(attrs)["value"]
            self.numbers.append(Number(value or "", "", query, int(row), column))

    def handle_endtag(self, tag: str) -> None:
        while self.stack and self.stack.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1][0] == "data":
            self.numbers[-1].shown += data


_VOID = {"meta", "link", "img", "br", "hr", "input", "wbr"}
_UNITS = {"": 1.0, "%": 0.01, "×": 1.0, "s": 1.0, "ms": 1e-3, "B": 1.0}
_UNITS |= {"kB": 1e3, "MB": 1e6, "GB": 1e9}


def read_numbers(page: str) -> Numbers:
    parser = Numbers()
    parser.feed(page)
    parser.close()
    return parser


def shown(text: str) -> tuple[float, float]:
    """Return the number that a text shows, and half a unit of its last digit."""
    match = re.fullmatch(r"(-?[\d,]*)(\.\d+)?(e[-+]\d+)?\s*(\S*)", text)
    assert match, text
    whole, fraction, exponent, unit = match.groups()
    scale = _UNITS[unit] * float("1" + (exponent or ""))
    half = 0.5 * 10.0 ** -(len(fraction or ".") - 1)
    return float(whole.replace(",", "") + (fraction or "")) * scale, half * scale


def check_numbers(page: str, run: Path) -> int:
    """Ask every query of a page again; return how many numbers agree."""
    numbers = read_numbers(page).numbers
    answers: dict[str, list[dict[str, Any]]] = {}
    with open_database(run) as database:
        for number in numbers:
            if number.query not in answers:
                answers[number.query] = database.query(number.query).to_pylist()
            value = answers[number.query][number.row][number.column]
            assert float(number.value) == float(value), number
            rounded, half = shown(number.shown)
            # Never 100 % for less than all, nor 0 % for some.
            slack = 1e-9 * abs(value) + (1e-4 if "%" in number.shown else 0.0)
            assert abs(rounded - value) <= half + slack, number
    return len(numbers)
