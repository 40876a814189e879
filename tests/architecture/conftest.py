"""The package's source, read once for the tests of a process."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "pipeline" / "winnow"


@pytest.fixture(scope="package")
def trees() -> Iterator[Mapping[Path, ast.Module]]:
    """Return the syntax tree of each module of the package, in order of names.

    They go with the last test of this folder: millions of nodes that stay would be
    looked at by each collection of garbage of all tests that come later.
    """
    parsed = {
        module: ast.parse(module.read_text())
        for module in sorted(PACKAGE.rglob("*.py"))
    }
    yield parsed
    parsed.clear()
