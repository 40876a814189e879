"""The app as a visitor meets it, in Chromium.

Each visit is checked for messages of error and for requests that leave this machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import urlopen

import pytest
import winnow
from winnow.core.errors import RunError

from tests.app.maps import plant_map

Visits = Callable[..., Any]


@pytest.fixture
def enter(app: Any, visit: Visits) -> Callable[..., Any]:
    """Return enter(path, …) -> a visit that has come in by the printed address."""

    def go(path: str = "/", **window: Any) -> Any:
        seen = visit(app.url, **window)
        seen.page.wait_for_url(f"http://{app.netloc}/")
        if path != "/":
            seen.page.goto(f"http://{app.netloc}{path}")
        seen.page.wait_for_load_state("networkidle")
        return seen

    return go


def _keep(seen: Any, name: str) -> None:
    """Keep a screenshot where somebody wants to look at it."""
    folder = os.environ.get("WINNOW_SCREENSHOTS")
    if folder:
        seen.page.screenshot(path=Path(folder) / f"app-{name}.png")


#: Every page of a run that is not the error's.
PAGES = {
    "rows": "/?sort=severity&dir=desc",
    "none": "/?q=no+such+caption",
    "story": "/row/6",
    "groups": "/groups",
    "map": "/map?by=fate",
    "cuts": "/cuts?step=score&by=input.quality",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)]
)
def test_every_page_is_accessible_and_fits(
    enter: Callable[..., Any], app_run: Any, width: int, dark: bool
):
    plant_map(Path(app_run.path))
    seen = enter(width=width, dark=dark)
    home = seen.page.url
    for name, address in PAGES.items():
        seen.page.goto(home + address[1:])
        seen.page.wait_for_load_state("networkidle")
        assert (name, seen.serious()) == (name, [])
        assert (name, seen.too_wide()) == (name, [])
        # What has the focus is shown, and marked.
        stops = seen.tab(8)
        assert (name, stops[0]) == (name, "a: Skip to the content")
        assert len(set(stops)) > 5
        _keep(seen, f"{name}-{width}-{'dark' if dark else 'light'}")


@pytest.mark.slow
def test_a_rows_page_is_turned_and_marked_by_letters(enter: Callable[..., Any]):
    seen = enter("/row/5")
    page = seen.page
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/row/6?*")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/row/5?*")
    page.keyboard.press("d")
    page.get_by_role("status").get_by_text("1 row marked to drop.").wait_for()
    page.wait_for_load_state()  # the script that hears keys is there
    page.keyboard.press("c")
    page.get_by_role("status").get_by_text("without a mark now").wait_for()
    page.wait_for_load_state()
    page.keyboard.press("u")
    page.get_by_role("heading", name="161 rows").wait_for()


@pytest.mark.slow
def test_the_keyboard_alone_finds_a_row_and_marks_it(enter: Callable[..., Any]):
    seen = enter()
    page = seen.page
    assert seen.tab() == ["a: Skip to the content"]
    page.keyboard.press("Enter")
    assert seen.tab() == ["input: "]
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.type("alert(14")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="11 rows").wait_for()
    stops: list[str] = []
    while not (stops and stops[-1].startswith("input: Choose")):
        assert len(stops) < 80, "no row can be chosen"
        stops += seen.tab()
    page.keyboard.press("Space")
    while not stops[-1].startswith("button: Drop"):
        assert len(stops) < 160, "the buttons are not reached"
        stops += seen.tab()
    page.keyboard.press("Enter")
    page.get_by_role("status").get_by_text("1 row marked to drop.").wait_for()
    assert page.get_by_role("heading", name="11 rows").is_visible()
    assert page.locator(".card.marked").count() == 1
    seen.tab(1)
    page.locator(".card.marked a.uid").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/row/*")
    page.get_by_role("button", name="Clear mark").focus()
    page.keyboard.press("Enter")
    page.get_by_role("status").get_by_text("without a mark now").wait_for()
    assert "No row is marked" in " ".join(seen.words("header"))


@pytest.mark.slow
def test_pages_are_turned_with_and_without_scripts(enter: Callable[..., Any]):
    seen = enter("/?sort=uid")
    page = seen.page
    first = seen.words(".card .uid")
    page.get_by_role("link", name="Later rows").first.press("Enter")
    page.wait_for_url("**after=*")
    second = seen.words(".card .uid")
    assert not set(first) & set(second)
    page.get_by_role("link", name="Earlier rows").first.press("Enter")
    page.wait_for_url("**before=*")
    assert seen.words(".card .uid") == first
    page.get_by_role("button", name="Tick all shown").click()
    ticked = page.locator('input[name="n"]:checked').count()
    assert ticked == page.locator(".card:not(.quarantined)").count() > 40

    plain = enter("/?sort=uid", scripts=False)
    assert not plain.page.get_by_role("button", name="Tick all shown").is_visible()
    plain.page.get_by_role("link", name="Later rows").first.click()
    plain.page.wait_for_url("**after=*")
    assert plain.words(".card .uid") == second


def test_hostile_text_stays_text_and_pictures_load(enter: Callable[..., Any]):
    seen = enter()
    page = seen.page
    assert page.get_by_text("<script>alert(9)</script>").count() > 0
    assert page.locator("script:not([src])").count() == 0
    assert seen.words("h1") == ["a 'run' of \"mine\" <i>"]
    loaded = page.evaluate(
        """() => Promise.all([...document.images].map(async i => {
          i.loading = 'eager'; await i.decode();
          return i.naturalWidth > 0 && i.alt; }))"""
    )
    assert len(loaded) == 48
    assert all(loaded)
    page.goto(page.url.split("?")[0] + "row/6")
    assert page.get_by_text("'Picture' 6").count() > 0
    assert page.locator("main i, main b").count() == 0


@pytest.mark.slow
def test_rows_are_chosen_on_the_map_by_hand_and_by_key(
    enter: Callable[..., Any], app_run: Any
):
    plant_map(Path(app_run.path))
    seen = enter("/map?by=score.semantic")
    page = seen.page
    drawn = page.locator("#map-stage[data-frames]")
    drawn.wait_for()
    assert seen.serious() == []
    _keep(seen, "map")
    page.get_by_role("button", name="Lasso").click()
    page.locator("#map").evaluate("e => e.scrollIntoView()")
    box = page.locator("#map").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(middle[0] - 150, middle[1] - 150)
    page.mouse.down()
    for right, below in ((150, -150), (150, 150), (-150, 150)):
        page.mouse.move(middle[0] + right, middle[1] + below, steps=3)
    page.mouse.up()
    told = page.locator("#map-status").inner_text()
    assert told.endswith("inside.")
    page.get_by_role("button", name="Show these rows").click()
    page.wait_for_url("**/?sel=*")
    assert page.locator("#found").inner_text().startswith(told.split()[0] + " row")
    # By key alone: into the map, nearer, the rows in view, their list.
    page.goto(page.url.replace("/?", "/map?"))
    drawn.wait_for()
    page.locator("#map").focus()
    for key in ("+", "ArrowLeft", "Enter", "Enter"):
        page.keyboard.press(key)
    page.wait_for_url("**/?sel=*")
    assert int(page.locator("#found").inner_text().split()[0]) > 0
    plain = enter("/map", scripts=False, width=360, height=740)
    assert plain.page.locator("#map-picture img").is_visible()
    assert not plain.page.locator("#map-stage").is_visible()


@pytest.mark.slow
def test_a_threshold_is_moved_by_key_and_told_at_once(enter: Callable[..., Any]):
    seen = enter("/cuts?step=semantic", width=360, height=740)
    page = seen.page
    assert seen.too_wide() == []
    assert seen.serious() == []
    before = page.locator("#answer").inner_text()
    page.locator("#cut-range").focus()
    page.keyboard.press("PageDown")
    page.locator("#cut-answer[data-cut]").wait_for()
    after = page.locator("#answer").inner_text()
    assert after != before
    assert "kept of those scored" in after
    assert page.get_by_text("--set semantic.epsilon=").count() == 2
    assert seen.serious() == []
    # Without scripts the same is a form.
    cut = page.locator("#cut").input_value()
    plain = enter("/cuts?step=semantic", scripts=False)
    plain.page.locator("#cut").fill(cut)
    plain.page.get_by_role("button", name="Count").click()
    plain.page.wait_for_url("**cut=*")
    assert plain.page.locator("#answer").inner_text() == after


@pytest.mark.slow
def test_a_notebook_of_this_machine_holds_the_app_in_a_frame(
    app_run: Any, visit: Visits, tmp_path: Path
):
    shown = winnow.Run(app_run.path).show(height=600)
    (tmp_path / "notebook.html").write_text(
        f'<!doctype html><html lang="en"><title>n</title>'
        f'<link rel="icon" href="data:,">{shown._repr_html_()}</html>'
    )
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as notebook:
        Thread(target=notebook.serve_forever, daemon=True).start()
        try:
            port = notebook.server_address[1]
            seen = visit(f"http://localhost:{port}/notebook.html")
            frame = seen.page.frame_locator("iframe")
            frame.get_by_role("heading", name="161 rows").wait_for()
            frame.locator(".card a.uid").first.click()
            frame.get_by_role("heading", name="What each step said").wait_for()
        finally:
            notebook.shutdown()
            shown.close()
    with pytest.raises(OSError, match="refused"):
        urlopen(shown.url, timeout=5)


def test_other_sites_hold_no_app_in_a_frame(app: Any):
    headers = app.ask("/").headers
    assert headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_a_run_that_is_none_is_told_where_the_app_is_asked_for(tmp_path: Path):
    from winnow.handles.app_frame import AppFrame

    with pytest.raises(RunError):
        AppFrame(tmp_path / "nothing", 600)
