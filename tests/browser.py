"""Chromium for tests of pages: what a visitor sees, and what must never happen.

`visit(url)` opens a page in the distribution's browser. Every visit is checked when
its test ends: no message of error in the console, no request that leaves this machine.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # What a page asks for elsewhere is recorded, and does not resolve.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
_SERIOUS = ("serious", "critical")


def _missing(what: str) -> None:
    """Skip the test, or fail it where `.ci/run` asks for a browser."""
    message = f"{what}; `apt-get install chromium`, or set WINNOW_CHROMIUM to one"
    if os.environ.get("WINNOW_REQUIRE_BROWSER"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of a Chromium, or skip."""
    given = os.environ.get("WINNOW_CHROMIUM")
    path = given or next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None or not Path(path).is_file():
        _missing(f"no browser at {given}" if given else "no Chromium on this machine")
    assert path
    return path


@dataclass
class Visit:
    """One page in one window, with all that it has asked for and complained about."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def elsewhere(self) -> list[str]:
        """Return the requests that left this machine."""
        return [url for url in self.requests if not _here(url)]

    def words(self, selector: str = "body") -> list[str]:
        """Return the text of each element, its words parted by single spaces.

        What stands in the document, not what is laid out (`inner_text`): there, the
        line breaks are those of the styles and fonts that have been loaded so far.
        """
        texts = self.page.locator(selector).all_text_contents()
        return [" ".join(text.split()) for text in texts]

    def too_wide(self) -> list[str]:
        """Return elements that make the page scroll sideways, outermost first."""
        return list(self.page.evaluate(_TOO_WIDE))

    def serious(self, *rules_off: str) -> list[str]:
        """Return what axe finds serious or critical, one line for each kind."""
        from axe_playwright_python.base import AXE_SCRIPT

        options = {
            "resultTypes": ["violations"],
            "rules": {rule: {"enabled": False} for rule in rules_off},
        }
        self.page.evaluate(AXE_SCRIPT)
        report = self.page.evaluate(f"axe.run(document, {json.dumps(options)})")
        return [
            f"{kind['id']}: {kind['help']}: "
            + "; ".join(node["html"][:120] for node in kind["nodes"][:3])
            for kind in report["violations"]
            if kind["impact"] in _SERIOUS
        ]

    def tab(self, times: int = 1, key: str = "Tab") -> list[str]:
        """Press a key and return what has the focus after each time.

        Fails if the element is not shown, or nothing marks it as focused.
        """
        stops = []
        for _ in range(times):
            self.page.keyboard.press(key)
            stop = self.page.evaluate(_FOCUSED)
            assert stop["visible"], f"the focus is on something hidden: {stop['name']}"
            assert stop["marked"], f"nothing marks the focus: {stop['name']}"
            stops.append(stop["name"])
        return stops


def _here(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme in ("http", "https", "ws", "wss"):
        return parts.hostname in ("127.0.0.1", "localhost")
    return parts.scheme in ("file", "data", "blob", "about")


_TOO_WIDE = """() => {
  const wide = document.documentElement.scrollWidth;
  if (wide <= window.innerWidth) return [];
  const out = [...document.body.querySelectorAll('*')].filter(
    e => e.getBoundingClientRect().right > window.innerWidth + 1);
  return [`page: ${wide} px`, ...out.slice(0, 10).map(
    e => e.cloneNode(false).outerHTML.slice(0, 120))];
}"""

_FOCUSED = """() => {
  const e = document.activeElement;
  const name = (e.getAttribute('aria-label') || e.textContent || e.value || '')
    .trim().replace(/\\s+/g, ' ').slice(0, 60);
  const box = e.getBoundingClientRect();
  const css = getComputedStyle(e);
  return {
    name: `${e.localName}: ${name}`,
    visible: e === document.body || (box.width > 0 && box.height > 0),
    marked: e === document.body || css.outlineStyle !== 'none'
      || css.boxShadow !== 'none',
  };
}"""


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """Return a running browser.

    Of a module, not of the session: while Playwright runs, so does its event loop,
    and then tests of notebooks could not start theirs.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visit]]:
    """Return visit(address, width=1280, height=900, dark=False, scripts=True).

    The address is a URL, or the path of a file.
    """
    visits: list[Visit] = []

    def open_page(
        address: str | Path,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        scripts: bool = True,
    ) -> Visit:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            reduced_motion="reduce",
        )
        seen = Visit(context.new_page())
        visits.append(seen)
        context.on("request", lambda request: seen.requests.append(request.url))
        seen.page.on("websocket", lambda socket: seen.requests.append(socket.url))
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.on("console", lambda message: _note(seen, message))
        is_url = "://" in str(address)
        url = str(address) if is_url else Path(address).resolve().as_uri()
        seen.page.goto(url)
        return seen

    yield open_page
    for seen in visits:
        seen.page.context.close()
    assert [line for seen in visits for line in seen.complaints] == []
    assert [url for seen in visits for url in seen.elsewhere()] == []


def _note(seen: Visit, message: Any) -> None:
    if message.type in ("error", "warning"):
        seen.complaints.append(f"{message.type}: {message.text}")
