"""The pages of `filter eval` and `filter compare` as a visitor meets them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from winnow.cli.main import main

Visits = Callable[..., Any]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pages(
    demo_model: str,
    other_model: str,
    hostile_pool: Path,
    scene_pool: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """Return both pages, with leaks, hostile captions, groups and two domains."""
    folder = tmp_path_factory.mktemp("pages")
    pool, other = str(hostile_pool), str(scene_pool)
    judge = ["filter", "eval", demo_model, pool, other, "--out", str(folder / "eval")]
    assert main([*judge, "--train", pool, "--caption-groups", "1"]) == 0
    choose = ["filter", "compare", demo_model, other_model, "--pool", pool]
    rest = ["--budget", "0.5", "--eval", other, "--out", str(folder / "compare")]
    assert main([*choose, *rest]) == 0
    return {kind: folder / kind / "report.html" for kind in ("eval", "compare")}


@pytest.mark.parametrize("kind", ["eval", "compare"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_page_is_accessible(
    visit: Visits, pages: dict[str, Path], kind: str, dark: bool
):
    assert visit(pages[kind], dark=dark).serious() == []


@pytest.mark.parametrize("kind", ["eval", "compare"])
def test_a_page_fits_a_phone(visit: Visits, pages: dict[str, Path], kind: str):
    seen = visit(pages[kind], width=360, height=740)
    assert seen.too_wide() == []
    assert seen.serious() == []


@pytest.mark.parametrize("kind", ["eval", "compare"])
def test_a_hostile_caption_is_text_and_every_picture_loads(
    visit: Visits, pages: dict[str, Path], kind: str
):
    seen = visit(pages[kind])
    assert seen.page.locator("script").count() == 0
    broken = """() => Promise.all([...document.images].map(async i => {
      i.loading = 'eager';
      try { await i.decode(); return null; } catch { return i.src.slice(0, 80); }
    })).then(all => all.filter(Boolean))"""
    assert bool(seen.page.locator("img").count()) == (kind == "compare")
    assert seen.page.evaluate(broken) == []
    assert "<script>alert(1)</script>" in seen.words()[0]


@pytest.mark.parametrize("kind", ["eval", "compare"])
def test_the_keyboard_reaches_the_page(
    visit: Visits, pages: dict[str, Path], kind: str
):
    seen = visit(pages[kind])
    first = seen.tab()[0]
    assert first.startswith("a: Skip")
    seen.page.keyboard.press("Enter")
    assert seen.page.evaluate("document.activeElement.id") == "main"
