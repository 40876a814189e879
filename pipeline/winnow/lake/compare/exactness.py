"""What two columns of equal values do not share: type, notation, metadata."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from winnow.lake.files.compared_as_text import is_csv, is_json
from winnow.lake.files.exact_types import same_type
from winnow.lake.files.files import Files
from winnow.lake.files.notation import MOST, Written, holding, other_notations
from winnow.lake.kernels.tables import Family, Table

_log = logging.getLogger(__name__)

#: Notations of the parent that are looked for in the child.
_LOOKED_FOR = 100
_SHOWN = 60


class Exactness:
    """Tells what differs between columns that are equal by value; reads a file once."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._written: dict[tuple[str, str], Written] = {}

    def told(self, child: Table, parent: Table, matched: Mapping[str, str]) -> str:
        """Return what differs as the end of a sentence, empty if nothing does.

        matched: the parent's column for each compared column of the child. A file that
        cannot be read any more has no notations.
        """
        try:
            differs = (
                self.notation(child, [(parent, matched)])
                or _other_type(child, parent, matched)
                or metadata(child, parent, matched)
            )
        except Exception:  # a verdict without its remark is a verdict
            _log.warning("%s was not looked at once more", child.name, exc_info=True)
            differs = None
        return f"; {differs}" if differs else ""

    def notation(
        self, child: Table, parents: Sequence[tuple[Table, Mapping[str, str]]]
    ) -> str | None:
        """Return which column of a text file is written otherwise in the parents.

        In one that is no text file, as its values are written. parents: each with its
        column for each compared column of the child. Raises OSError, ValueError or
        duckdb.Error if a table cannot be read.
        """
        if not _is_text(child):
            return None
        ours = self._of(child)
        for name in sorted(parents[0][1]):
            held = [(p, p.column(matched[name])) for p, matched in parents]
            families = {child.column(name).family, *(c.family for _, c in held)}
            if Family.TEXT in families:
                continue
            known = [self._of(p).get(c.name, {}) for p, c in held if _is_text(p)]
            pair = _missing(ours.get(name, {}), known)
            (parent, column), *more = held
            if pair is None and not more and is_csv(child) and is_csv(parent):
                pair = self._other_way(child, name, parent, column.name)
            if pair is not None:
                written, other = (text[:_SHOWN] for text in pair)
                return (
                    f"column {name} is equal by value, notation differs: "
                    f"{written}, {other}"
                )
        return None

    def _of(self, table: Table) -> Written:
        key = table.location, table.identity
        if key not in self._written:
            self._written[key] = other_notations(self._files, table)
        return self._written[key]

    def _other_way(
        self, child: Table, name: str, parent: Table, held: str
    ) -> tuple[str, str] | None:
        """Return a field of the child, and how the parent alone writes its value."""
        ours, theirs = self._of(child).get(name, {}), self._of(parent).get(held, {})
        odd = sorted(set(theirs) - set(ours))[:_LOOKED_FOR]
        plain = {theirs[text]: text for text in odd}
        if not plain:
            return None
        there = holding(self._files, child, name, sorted(plain))
        there -= holding(self._files, parent, held, sorted(plain))
        return next(((text, plain[text]) for text in sorted(there)), None)


def _other_type(child: Table, parent: Table, matched: Mapping[str, str]) -> str | None:
    for name in sorted(matched):
        one, other = child.column(name), parent.column(matched[name])
        known = Family.NULL not in (one.family, other.family)
        if known and not same_type(one.type, other.type):
            types = f"type {one.type} → {other.type}"
            return f"column {name} is equal by value, {types}"
    return None


def metadata(child: Table, parent: Table, matched: Mapping[str, str]) -> str | None:
    """Return which column's metadata the parent's has not, such as a CRS."""
    for name in sorted(matched):
        ours = dict(child.column(name).metadata)
        theirs = dict(parent.column(matched[name]).metadata)
        for key in sorted(ours):
            if theirs.get(key) != ours[key]:
                other = theirs.get(key, "none")[:_SHOWN]
                return (
                    f"column {name} is equal by value, its {key} differs: "
                    f"{ours[key][:_SHOWN]} → {other}"
                )
    return None


def _missing(
    ours: Mapping[str, str], theirs: Sequence[Mapping[str, str]]
) -> tuple[str, str] | None:
    """Return a notation that no other column has, and its value's notation.

    Where a column has more than are kept, only one that would be kept.
    """
    last = min((max(some) for some in theirs if len(some) >= MOST), default=None)
    for text in sorted(ours):
        if last is not None and text > last:
            return None
        if not any(text in some for some in theirs):
            return text, ours[text]
    return None


def _is_text(table: Table) -> bool:
    return is_csv(table) or is_json(table)
