"""The browser of the tests notices what it is there to notice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Visits = Callable[..., Any]

GOOD = """<!doctype html><html lang="en"><meta name="viewport"
content="width=device-width"><title>t</title><body><main><h1>Head</h1>
<a href="#a">first</a> <button>second</button></main></body></html>"""


@pytest.fixture
def page(tmp_path: Path) -> Callable[[str], Path]:
    def write(html: str) -> Path:
        file = tmp_path / "page.html"
        file.write_text(html)
        return file

    return write


def test_a_good_page_has_no_findings(visit: Visits, page: Callable[[str], Path]):
    seen = visit(page(GOOD), width=360)
    assert seen.serious() == []
    assert seen.too_wide() == []
    assert seen.tab(2) == ["a: first", "button: second"]


def test_requests_that_leave_are_seen_and_fail(visit: Visits, page: Any):
    seen = visit(page(GOOD + "<img alt='' src='http://example.org/x.png'>"))
    seen.page.wait_for_load_state("networkidle")
    assert seen.elsewhere() == ["http://example.org/x.png"]
    assert seen.complaints
    seen.requests.clear()
    seen.complaints.clear()


def test_errors_of_scripts_are_seen(visit: Visits, page: Any):
    seen = visit(page(GOOD + "<script>throw new Error('boom')</script>"))
    assert any("boom" in line for line in seen.complaints)
    seen.complaints.clear()


def test_serious_findings_and_width_are_seen(visit: Visits, page: Any):
    wide = "<div style='width:900px;color:#eee;background:#fff'>pale</div>"
    seen = visit(page(GOOD.replace("</main>", wide + "<img src='data:,'></main>")))
    findings = " ".join(seen.serious())
    assert "image-alt" in findings
    assert "color-contrast" in findings
    seen.page.set_viewport_size({"width": 360, "height": 700})
    assert seen.too_wide()[0].startswith("page: 9")


def test_a_focus_that_nothing_marks_fails(visit: Visits, page: Any):
    seen = visit(page(GOOD + "<style>a:focus{outline:none}</style>"))
    with pytest.raises(AssertionError, match="nothing marks"):
        seen.tab()
