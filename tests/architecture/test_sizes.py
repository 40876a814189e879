"""Functions and files stay short enough to be read."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "pipeline" / "winnow"
LONGEST_BODY = 40
#: A file is shorter than so many lines.
FILE_LINES = 400


def bodies(trees: Mapping[Path, ast.Module]) -> Iterator[tuple[str, int]]:
    """Yield each function of the package and the lines below its docstring."""
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                documented = ast.get_docstring(node) is not None
                first = node.body[min(int(documented), len(node.body) - 1)]
                lines = (node.end_lineno or 0) - first.lineno + 1
                yield f"{module.relative_to(PACKAGE)}:{node.name}", lines


def test_bodies_are_short(trees: Mapping[Path, ast.Module]) -> None:
    assert {name: n for name, n in bodies(trees) if n > LONGEST_BODY} == {}


def test_files_are_short() -> None:
    lines = {
        str(module.relative_to(PACKAGE)): len(module.read_text().splitlines())
        for module in PACKAGE.rglob("*.py")
    }
    assert {name: n for name, n in lines.items() if n >= FILE_LINES} == {}
