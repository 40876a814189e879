"""The pages of `make evidence` hold every sentence that their scripts would write."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ("sorscher", "dbp", "dfn", "r2d2", "semdedup", "qqt")


def written(script: Path) -> Iterator[str]:
    """Yield a pattern for each line of prose in a script; values may be anything."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    for listed in (node for node in ast.walk(tree) if isinstance(node, ast.List)):
        for element in listed.elts:
            parts = element.values if isinstance(element, ast.JoinedStr) else [element]
            texts = [part.value if isinstance(part, ast.Constant) else None
                     for part in parts]  # fmt: skip
            prose = "".join(text for text in texts if isinstance(text, str))
            if len(prose) > 25 and " " in prose:
                yield "".join(
                    re.escape(text) if isinstance(text, str) else ".*" for text in texts
                )


@pytest.mark.parametrize("name", STUDIES)
def test_a_page_is_what_its_script_writes(name: str):
    script = ROOT / "benchmarks" / "evidence" / f"{name}.py"
    page = (ROOT / "docs" / "evidence" / f"{name}.md").read_text(encoding="utf-8")
    lines = page.splitlines()
    patterns = list(written(script))
    assert len(patterns) >= 3
    for pattern in patterns:
        assert any(re.fullmatch(pattern, line) for line in lines), pattern
    command = rf"Command: `python benchmarks/evidence/{name}\.py`; \d+ CPU seconds"
    assert re.match(command, lines[-1])


def test_make_evidence_writes_each_page():
    made = re.search(r"for name in ([\w ]+); do", (ROOT / "Makefile").read_text())
    assert made
    assert made[1].split() == list(STUDIES)
    pages = {page.stem for page in (ROOT / "docs" / "evidence").glob("*.md")}
    assert pages == {*STUDIES, "README"}
