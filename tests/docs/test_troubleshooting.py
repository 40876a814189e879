"""What the page on errors quotes is what the code says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
QUOTED = re.findall(r"^\| `([^`]+)`", PAGE, re.M)


@pytest.fixture(scope="module")
def said() -> str:
    """Return every text of the code: neighbouring literals joined, values as `…`."""
    texts = []
    for file in sorted((ROOT / "pipeline" / "winnow").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    part.value if isinstance(part, ast.Constant) else "…"
                    for part in node.values
                ]
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


@pytest.mark.parametrize("quoted", QUOTED)
def test_what_is_quoted_is_said(said: str, quoted: str):
    assert quoted in said


def test_something_is_quoted_in_every_part():
    parts = re.split(r"^## ", PAGE, flags=re.M)[1:]
    assert all(re.search(r"^\| `", part, re.M) for part in parts)
    assert len(QUOTED) == len(set(QUOTED))
