"""A name says one thing: no two classes of the package are called alike."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "pipeline" / "winnow"


def test_a_class_name_occurs_once(trees: Mapping[Path, ast.Module]):
    homes: dict[str, list[str]] = defaultdict(list)
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(str(module.relative_to(PACKAGE)))
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


#: They say that something was found or where it stood, never what it is.
SAYS_NOTHING = {"found", "own", "at", "place"}


def test_a_variable_says_what_it_holds(trees: Mapping[Path, ast.Module]):
    names = []
    for module, tree in trees.items():
        for node in ast.walk(tree):
            stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            name = node.id if stored else node.arg if isinstance(node, ast.arg) else ""
            if name in SAYS_NOTHING:
                names.append(f"{module.relative_to(PACKAGE)}:{node.lineno} {name}")
    assert names == []
