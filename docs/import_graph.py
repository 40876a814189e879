"""Draw the rooms of a package and who imports whom, as an SVG file.

python docs/import_graph.py winnow docs/pictures/imports.svg

Rows are the layers of the import contract in `pyproject.toml`, highest first; a line
is a room's import of another, thicker the more modules do. Imports that lead upward
are drawn in red, and their number is printed.
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from html import escape
from pathlib import Path

import grimp

WIDTH, ROW, BOX_HEIGHT, MARGIN = 980, 92, 46, 24
STYLE = """
text { font: 14px system-ui, sans-serif; text-anchor: middle; fill: #1c1917 }
.small { font-size: 11px; fill: #57534e }
rect { fill: #f5f5f4; stroke: #a8a29e; rx: 6px }
path { fill: none; stroke: #0f766e; stroke-opacity: .45 }
path.upward { stroke: #c2410c; stroke-opacity: 1 }
"""


def layers(package: str, pyproject: Path) -> list[list[str]]:
    """Return the rooms of each layer of the package's contract, highest first."""
    contracts = tomllib.loads(pyproject.read_text())["tool"]["importlinter"]
    rows = next(c for c in contracts["contracts"] if c["type"] == "layers")["layers"]
    names = [[room.strip() for room in row.split("|")] for row in rows]
    return [[name.removeprefix(f"{package}.") for name in row] for row in names]


def imports(package: str) -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """Return how many imports lead from room to room, and the modules of each room."""
    graph = grimp.build_graph(package)
    modules = [name for name in graph.modules if name != package]
    between: Counter[tuple[str, str]] = Counter()
    for module in modules:
        for imported in graph.find_modules_directly_imported_by(module):
            if imported != package:
                between[room(module), room(imported)] += 1
    sizes = Counter(map(room, modules))
    return Counter({pair: n for pair, n in between.items() if len({*pair}) > 1}), sizes


def room(module: str) -> str:
    """Return the first name below the package."""
    return module.split(".")[1]


def draw(rows: list[list[str]], between: Counter[tuple[str, str]], sizes: Counter[str]):
    """Return the picture and the imports that lead upward or sideways."""
    known = {name for row in rows for name in row}
    missing = sorted(set(sizes) - known)
    rows = [*([missing] if missing else []), *rows]
    rows = [present for row in rows if (present := [r for r in row if r in sizes])]
    level = {name: i for i, row in enumerate(rows) for name in row}
    spot = {
        name: (WIDTH * (j + 0.5) / len(row), MARGIN + i * ROW)
        for i, row in enumerate(rows)
        for j, name in enumerate(row)
    }
    upward = sorted(p for p in between if level[p[1]] <= level[p[0]])
    lines = [line(spot, pair, n, pair in upward) for pair, n in sorted(between.items())]
    boxes = [box(name, *spot[name], sizes[name]) for name in sorted(spot)]
    height = MARGIN * 2 + len(rows) * ROW
    view = f'viewBox="0 0 {WIDTH} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {view}>'
    page = '<rect width="100%" height="100%" style="fill:#fff;stroke:none"/>'
    svg = [head, f"<style>{STYLE}</style>", page, *lines, *boxes, "</svg>"]
    return "\n".join(svg) + "\n", upward


def line(spot, pair: tuple[str, str], count: int, upward: bool) -> str:
    """Return the curve of one room's imports of another."""
    (x, y), (x2, y2) = spot[pair[0]], spot[pair[1]]
    start, end = (y + BOX_HEIGHT, y2) if y2 > y else (y, y2 + BOX_HEIGHT)
    middle = (start + end) / 2
    width = min(0.6 + count**0.5 / 2.5, 6)
    kind = ' class="upward"' if upward else ""
    path = (
        f"M{x:.0f},{start} C{x:.0f},{middle:.0f} {x2:.0f},{middle:.0f} {x2:.0f},{end}"
    )
    title = f"{pair[0]} imports {pair[1]}: {count}"
    return (
        f'<path{kind} stroke-width="{width:.1f}" d="{path}">'
        f"<title>{escape(title)}</title></path>"
    )


def box(name: str, x: float, y: float, modules: int) -> str:
    """Return a room: its name and how many modules it holds."""
    width = max(84, len(name) * 9 + 24)
    files = f"{modules} file{'s' if modules != 1 else ''}"
    return (
        f'<rect x="{x - width / 2:.0f}" y="{y}" width="{width}" height="{BOX_HEIGHT}"/>'
        f'<text x="{x:.0f}" y="{y + 20}">{escape(name)}</text>'
        f'<text class="small" x="{x:.0f}" y="{y + 37}">{files}</text>'
    )


def main(package: str, out: str, pyproject: str = "pyproject.toml") -> None:
    """Draw `package`, which has to be importable, and say what leads upward."""
    between, sizes = imports(package)
    picture, upward = draw(layers(package, Path(pyproject)), between, sizes)
    Path(out).write_text(picture, encoding="utf-8")
    for one, other in upward:
        print(f"upward: {one} -> {other} ({between[one, other]})")
    print(f"{out}: {len(sizes)} rooms, {len(between)} arrows, {len(upward)} upward")


if __name__ == "__main__":
    main(*sys.argv[1:])
