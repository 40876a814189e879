"""What stands beside what on a page: contents beside sections, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "pipeline/winnow"
FRAMED = [
    path
    for path in sorted(ROOT.rglob("templates/*.j2"))
    if '<main id="main" class="frame"' in path.read_text()
]


@pytest.mark.parametrize("template", FRAMED, ids=lambda path: path.name)
def test_a_frame_holds_its_contents_and_one_column_of_sections(template: Path):
    text = template.read_text()
    inside = text[text.index(">", text.index('class="frame"')) + 1 :].strip()
    assert inside.startswith("<nav")
    assert inside[inside.index("</nav>") + 6 :].strip().startswith("<div>")


def test_there_are_framed_pages():
    assert len(FRAMED) >= 3
