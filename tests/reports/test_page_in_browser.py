"""report.html as a visitor meets it, in Chromium."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Visits = Callable[..., Any]


@pytest.fixture
def report(hostile_page: Path) -> Path:
    return hostile_page


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_page_is_accessible(visit: Visits, report: Path, dark: bool):
    seen = visit(report, dark=dark)
    assert seen.serious() == []
    colours = "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color]"
    paper, ink = seen.page.eval_on_selector("section.part", colours)
    assert (_brightness(paper) < _brightness(ink)) == dark


def _brightness(colour: str) -> int:
    return sum(int(part) for part in colour[4:-1].split(","))


@pytest.mark.slow
def test_a_page_fits_a_phone(visit: Visits, report: Path):
    seen = visit(report, width=360, height=740)
    assert seen.too_wide() == []
    assert seen.page.locator("#funnel .narrow svg").is_visible()
    assert not seen.page.locator("#funnel .wide svg").is_visible()
    assert seen.serious() == []


@pytest.mark.slow
def test_the_keyboard_reaches_a_clusters_samples(visit: Visits, report: Path):
    seen = visit(report)
    assert seen.tab() == ["a: Skip to the report"]
    seen.page.keyboard.press("Enter")
    assert seen.page.evaluate("document.activeElement.id") == "main"
    stops: list[str] = []
    while not (stops and stops[-1].startswith("a: cluster")):
        assert len(stops) < 200, "no cluster is reached"
        stops += seen.tab()
    assert any("Skip the map" in stop for stop in stops)
    assert " rows, " in stops[-1]
    seen.page.keyboard.press("Enter")
    shown = seen.page.locator(".cluster:target")
    shown.wait_for()
    assert shown.locator("img").count() > 0
    assert seen.serious() == []


def test_every_picture_of_the_page_loads(visit: Visits, report: Path):
    seen = visit(report)
    script = """() => Promise.all([...document.images].map(async i => {
      i.loading = 'eager'; await i.decode(); return i.naturalWidth > 0 && i.alt; }))"""
    loaded = seen.page.evaluate(script)
    assert len(loaded) > 50
    assert all(loaded)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 360])
def test_no_picture_is_cut_off(visit: Visits, report: Path, width: int):
    seen = visit(report, width=width)
    script = """() => [...document.querySelectorAll('.shot img')].filter(i => {
      const a = i.getBoundingClientRect(), b = i.parentElement.getBoundingClientRect();
      return a.height > b.height + 1 || a.width > b.width + 1; }).length"""
    assert seen.page.evaluate(script) == 0


def test_hostile_text_is_shown_as_text(visit: Visits, report: Path):
    seen = visit(report)
    assert seen.page.get_by_text("<script>alert(").count() > 10
    assert seen.page.locator("script").count() == 0
    assert seen.page.get_by_text("'pool' \"of\" <b>files").count() > 0
    urls = {url.split(":")[0] for url in seen.requests}
    assert urls <= {"file", "data"}


def test_a_page_needs_no_script(visit: Visits, report: Path):
    seen = visit(report, scripts=False)
    assert seen.words("#funnel-title") == ["Step by step"]
