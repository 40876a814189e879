"""Every page at two widths, light and dark: pictures to look at, and what is wrong.

    python benchmarks/screenshots.py --out DIR [--run RUN [--beside RUN]] [--lake SCAN]
        [--page FILE.html …]

Of a run or a scan all pages of the app, with its report; `--page` adds any other file
(of `analyze`, `prove`, `diff`, a filter). A line for each picture says how tall the
page is, and then what axe finds serious, what runs out of the window and what the
browser complains of.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from map import FLAGS, browser_path

from tests.browser import Visit

WINDOWS = [(1280, 900), (390, 844)]
#: Addresses of the app, filled in with a step and a score of the run.
ADDRESSES = {
    "rows": "/",
    "worst": "/?sort=severity&dir=desc",
    "search": "/?q=a&fate=dropped",
    "none": "/?q=zzzzzzzz",
    "groups": "/groups",
    "map": "/map?by=fate",
    "cuts": "/cuts",
    "beside": "/beside",
    "refused": "/?sort=nothing",
}
LAKE = {"start": "/"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--lake", type=Path)
    parser.add_argument("--page", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        files = {f"{page.parent.name}-{page.stem}": page for page in given.page}
        for folder in filter(None, (given.run, given.lake)):
            files[f"{folder.name}-report"] = folder / "report.html"
            extra = ["--beside", str(given.beside)] if given.beside else []
            with app(folder, extra if folder == given.run else []) as url:
                for seen, window in windows(browser, url):
                    looked_at(seen, url, folder.name, window, given.out)
        for seen, window in windows(browser, "about:blank"):
            for name, file in files.items():
                if file.is_file():
                    seen.page.goto(file.resolve().as_uri())
                    taken(seen, f"{name}-{window}", given.out)
        browser.close()


@contextmanager
def app(folder: Path, extra: list[str]) -> Iterator[str]:
    """Yield the printed address of the app over a run or a scan."""
    command = [sys.executable, "-m", "winnow", "ui", str(folder), "--no-browser"]
    process = subprocess.Popen([*command, *extra], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def windows(browser: Any, url: str) -> Iterator[tuple[Visit, str]]:
    """Yield a visit in a window of each width and theme, and its name."""
    for width, height in WINDOWS:
        for theme in ("light", "dark"):
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=theme,
                reduced_motion="reduce",
            )
            seen = Visit(context.new_page())
            seen.page.on("pageerror", lambda e, s=seen: s.complaints.append(str(e)))
            seen.page.goto(url)
            yield seen, f"{width}-{theme}"
            context.close()


def looked_at(seen: Visit, url: str, name: str, window: str, out: Path) -> None:
    """Take pictures of all pages of the app."""
    base = url.split("/?", maxsplit=1)[0]
    seen.page.wait_for_url(f"{base}/")
    is_lake = not seen.page.locator("a[href='/cuts']").count()
    addresses = dict(LAKE if is_lake else ADDRESSES)
    if is_lake:
        for link in seen.page.locator("nav.pages a").all():
            address = link.get_attribute("href") or "/"
            addresses.setdefault(address.rsplit("/", 1)[-1] or "start", address)
    else:
        story = seen.page.locator(".card a.uid").first.get_attribute("href")
        addresses["story"] = story or "/row/0"
    for page, address in addresses.items():
        seen.page.goto(base + address)
        if page == "cuts" and seen.page.locator("#cut-range").count():
            seen.page.focus("#cut-range")
            seen.page.keyboard.press("PageUp")
            seen.page.wait_for_selector("#cut-answer[data-cut]")
        taken(seen, f"{name}-{page}-{window}", out)


def taken(seen: Visit, name: str, out: Path) -> None:
    """Take a picture of the whole page, and say what is wrong with it."""
    page = seen.page
    page.wait_for_load_state("networkidle")
    page.evaluate(
        """() => Promise.all([...document.images].map(async i => {
          i.loading = 'eager'; await i.decode().catch(() => 0); }))"""
    )
    page.screenshot(path=out / f"{name}.png", full_page=True)
    tall = page.evaluate("document.documentElement.scrollHeight")
    faults = [*seen.serious(), *seen.too_wide(), *seen.complaints]
    seen.complaints.clear()
    print(f"{name}: {tall:,} px", *map(json.dumps, faults), sep="\n    ", flush=True)


if __name__ == "__main__":
    main()
