"""Where tables stand on a map of containments: children below what holds them.

An island are tables that containments link. Within one, a table stands below all tables
that contain it, duplicates side by side; islands follow each other like words in lines.
The same graph gives the same drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

#: Pixels from table to table, from line to line, and between islands.
_CELL, _LINE, _GAP = 22, 30, 16
#: Above an island, for its number.
_HEAD = 18
#: So many islands, the first, bear a name beside it: its letters, and their room.
_NAMED, _LETTERS, _NAME = 12, 18, 152

#: (child, parent)
Pair = tuple[str, str]


@dataclass(frozen=True)
class Dot:
    """A table on the map; `island` counts from 0."""

    table: str
    island: int
    x: float
    y: float


@dataclass
class Map:
    """Dots, lines (x, y, x2, y2, kind), and numbers with names (x, y, text)."""

    width: int
    height: int = 0
    dots: list[Dot] = field(default_factory=list)
    lines: list[tuple[float, float, float, float, str]] = field(default_factory=list)
    numbers: list[tuple[float, float, str]] = field(default_factory=list)


def arrange(islands: Sequence[tuple[Sequence[str], set[Pair]]], width: int) -> Map:
    """Return the map of islands: each its tables and the pairs (child, parent) of them.

    width: pixels that the map may take.
    """
    drawing = Map(width)
    left = top = tallest = 0
    for number, (tables, pairs) in enumerate(islands):
        groups, above = _groups(tables, pairs)
        lines = _lines(groups, above, max(1, (width - _GAP) // _CELL))
        wide = max(len(line) for line in lines) * _CELL + _GAP
        title = str(number + 1)
        if number < _NAMED:
            wide = max(wide, _NAME)
            title += f"  {_short(lines[0][0])}"
        if left and left + wide > width:
            left, top, tallest = 0, top + tallest, 0
        placed = _placed(lines, left + _CELL / 2, top + _HEAD + _LINE / 2)
        for table, (x, y) in sorted(placed.items()):
            drawing.dots.append(Dot(table, number, x, y))
        _draw_lines(drawing, placed, groups, above)
        drawing.numbers.append((left + _CELL / 4, top + _HEAD / 2, title))
        left += wide
        tallest = max(tallest, _HEAD + len(lines) * _LINE + _GAP)
    drawing.height = top + tallest
    return drawing


def _short(table: str) -> str:
    """Return a table's own name, of a long one the end."""
    name = table.rstrip("/").rpartition("/")[2] or table
    return name if len(name) <= _LETTERS else f"…{name[1 - _LETTERS :]}"


def _groups(
    tables: Sequence[str], pairs: set[Pair]
) -> tuple[dict[str, list[str]], dict[str, set[str]]]:
    """Return duplicates by the first of them, and the groups that hold each group.

    Containment leads on: what a holder's holder holds needs no line of its own.
    """
    first = {
        table: min([table, *(u for u in tables if {(table, u), (u, table)} <= pairs)])
        for table in tables
    }
    groups: dict[str, list[str]] = {}
    for table in sorted(tables):
        groups.setdefault(first[table], []).append(table)
    above: dict[str, set[str]] = {group: set() for group in groups}
    for child, parent in pairs:
        if first[child] != first[parent]:
            above[first[child]].add(first[parent])
    return groups, above


def _lines(
    groups: dict[str, list[str]], above: dict[str, set[str]], most: int
) -> list[list[str]]:
    """Return the tables line by line, at most `most` in one."""
    depth: dict[str, int] = {}
    # A group is held by all that hold its holders, so fewer holders come first.
    for group in sorted(groups, key=lambda g: (len(above[g]), g)):
        depth[group] = 1 + max((depth.get(u, 0) for u in above[group]), default=-1)
    lines: list[list[str]] = []
    height: dict[str, float] = {}
    for level in range(max(depth.values()) + 1):
        here = sorted(
            (g for g in groups if depth[g] == level),
            key=lambda g: (_middle([height[u] for u in above[g] if u in height]), g),
        )
        tables = [table for group in here for table in groups[group]]
        for number, table in enumerate(tables):
            height.setdefault(table, number)
        lines += [tables[i : i + most] for i in range(0, len(tables), most)]
    return lines


def _middle(places: list[float]) -> float:
    return sum(sorted(places)) / len(places) if places else 0.0


def _placed(
    lines: list[list[str]], left: float, top: float
) -> dict[str, tuple[float, float]]:
    """Return where each table stands; shorter lines are centred."""
    widest = max(map(len, lines))
    return {
        table: (
            left + (widest - len(line)) * _CELL / 2 + column * _CELL,
            top + row * _LINE,
        )
        for row, line in enumerate(lines)
        for column, table in enumerate(line)
    }


def _draw_lines(
    drawing: Map,
    placed: dict[str, tuple[float, float]],
    groups: dict[str, list[str]],
    above: dict[str, set[str]],
) -> None:
    for group, tables in groups.items():
        for one, other in pairwise(tables):
            drawing.lines.append((*placed[one], *placed[other], "same rows"))
        nearest = above[group] - {u for v in above[group] for u in above[v]}
        for parent in sorted(nearest):
            ends = ((one, u) for one in tables for u in groups[parent])
            child, holder = min(ends, key=lambda pair: (_distance(placed, pair), pair))
            drawing.lines.append((*placed[child], *placed[holder], "contained"))


def _distance(placed: dict[str, tuple[float, float]], pair: Pair) -> float:
    (x, y), (u, v) = placed[pair[0]], placed[pair[1]]
    return abs(x - u) + abs(y - v)
