"""The type of a column of text: the first of which every value is an exact notation.

`007`, `+1`, numbers that a double cannot hold, those of more than 17 digits, and those
of more than 15 that are not their double rounded to as many are text. A missing value
(null) fits every type. Values are looked at by column and in batches, and only for the
types that its first value is a notation of: so a wide file costs as much as a long one
of as many fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

_INTEGER = r"(0|-?[1-9][0-9]*)"
_FINITE = r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"
_NOT_FINITE = "([nN]a[nN]|-?[iI]nf(inity)?)"
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_INSTANT = _DAY + "[ T][0-9]{2}:[0-9]{2}:[0-9]{2}"
_ZONE = "(Z|[-+][0-9]{2}(:?[0-9]{2})?)"
_MOST_DIGITS = 17
#: Texts of at most so many characters without exponent have no digit too many.
_SHORT = 15


@dataclass(frozen=True)
class _Rule:
    kind: pa.DataType
    #: What one value looks like; the whole of it.
    looks: str
    #: Whether values that all look so have values of the type.
    holds: Callable[[pa.Array], bool]

    def fits(self, values: pa.Array) -> bool:
        """Whether all of some values, none of them null, are exact notations."""
        alike = pc.match_substring_regex(values, rf"\A(?:{self.looks})\z")
        return bool(pc.all(alike, min_count=0).as_py()) and self.holds(values)


def _casts_to(kind: pa.DataType) -> Callable[[pa.Array], bool]:
    def holds(values: pa.Array) -> bool:
        try:
            values.cast(kind)
        except pa.ArrowException:
            return False
        return True

    return holds


def _has_year(kind: pa.DataType) -> Callable[[pa.Array], bool]:
    """Whether the type holds the values; there is no year 0 in what others read."""
    casts = _casts_to(kind)

    def holds(values: pa.Array) -> bool:
        year = pc.any(pc.starts_with(values, "0000")).as_py()
        return not year and casts(values)

    return holds


def _are_doubles(values: pa.Array) -> bool:
    long = pc.greater(pc.utf8_length(values), _SHORT)
    odd = values.filter(pc.or_(long, pc.match_substring(values, "e", ignore_case=True)))
    odd = odd.filter(pc.match_substring_regex(odd, rf"\A(?:{_FINITE})\z"))
    if not len(odd):
        return True
    mantissa = pc.replace_substring_regex(odd, "[eE].*", "")
    figures = pc.utf8_ltrim(pc.replace_substring_regex(mantissa, r"[-.]", ""), "0")
    digits = pc.utf8_length(figures)
    if pc.any(pc.greater(digits, _MOST_DIGITS)).as_py():
        return False
    try:
        doubles = odd.cast(pa.float64())
    except pa.ArrowException:
        return False
    # Neither too large for a double nor so small that it became zero.
    zero = pc.equal(doubles, 0.0)
    whole = pc.and_(pc.is_finite(doubles), pc.equal(zero, pc.equal(digits, 0)))
    return bool(pc.all(whole).as_py()) and _are_rounded(figures, doubles)


def _are_rounded(figures: pa.Array, doubles: pa.Array) -> bool:
    """Whether each number is its double, rounded to as many digits.

    With up to 15 digits it is. With more, two numbers may have one double: 2⁵³ and
    2⁵³ + 1, or 1.5 and 1.5000000000000001.
    """
    significant = pc.utf8_rtrim(figures, "0")
    many = pc.greater(pc.utf8_length(significant), _SHORT)
    texts, values = (side.filter(many).to_pylist() for side in (significant, doubles))
    return all(
        f"{abs(value):.{len(text) - 1}e}".startswith(f"{text[0]}.{text[1:]}e")
        for text, value in zip(texts, values, strict=True)
    )


_ALWAYS: Callable[[pa.Array], bool] = lambda _: True  # noqa: E731
_US, _NS, _ZONED = pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("us", "UTC")
_RULES = (
    _Rule(pa.bool_(), "(?i:true|false)", _ALWAYS),
    _Rule(pa.int64(), _INTEGER, _casts_to(pa.int64())),
    _Rule(pa.uint64(), _INTEGER, _casts_to(pa.uint64())),
    _Rule(pa.float64(), f"{_NOT_FINITE}|{_FINITE}", _are_doubles),
    _Rule(pa.date32(), _DAY, _has_year(pa.date32())),
    _Rule(_US, rf"{_INSTANT}(\.[0-9]{{1,6}})?", _has_year(_US)),
    _Rule(_NS, rf"{_INSTANT}(\.[0-9]{{1,9}})?", _has_year(_NS)),
    _Rule(_ZONED, rf"{_INSTANT}(\.[0-9]{{1,6}})?{_ZONE}", _has_year(_ZONED)),
)
_LOOKS = tuple(re.compile(rule.looks) for rule in _RULES)


class Notation:
    """Takes a column's texts, batch by batch, and tells its type and its nulls."""

    def __init__(self) -> None:
        self._rules: list[_Rule] | None = None
        self.nulls = 0

    def add(self, texts: pa.Array) -> None:
        """Take some values."""
        self.nulls += texts.null_count
        values = texts.drop_null()
        if not len(values):
            return
        if self._rules is None:
            first = values[0].as_py()
            pairs = zip(_RULES, _LOOKS, strict=True)
            self._rules = [rule for rule, look in pairs if look.fullmatch(first)]
        self._rules = [rule for rule in self._rules if rule.fits(values)]

    @property
    def type(self) -> pa.DataType:
        """The first type that all values fit; text if there is none, null without."""
        if self._rules is None:
            return pa.null()
        return self._rules[0].kind if self._rules else pa.string()


#: Which SQL type reads a type's notations.
SQL_TYPES = {
    pa.bool_(): "BOOLEAN",
    pa.int64(): "BIGINT",
    pa.uint64(): "UBIGINT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
    _US: "TIMESTAMP",
    _NS: "TIMESTAMP_NS",
    _ZONED: "TIMESTAMPTZ",
}
