"""The app's map and thresholds over 1,000,000 rows in Chromium: how fast they answer.

    python benchmarks/map.py [--rows 1000000] [--sample 20000] [--work DIR]

The run is over the pool of `benchmarks/query.py`, by steps that give every row a
vector. Times are those that the page itself measures: of a frame, from the first to the
last pixel; of a threshold, from the move to the answer in the page. The browser has no
GPU and is not asked for one: the map is drawn into pixels by the page's own script.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from query import _RECIPE, _make_pool

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu"]
STEPS = ["embed", "cluster", "score", "apply"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--sample", type=int, default=20_000)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp(prefix="winnow-map-bench-"))
    run = make_run(work, given.rows)
    if not (run / "map").is_dir():
        from winnow.flows.embedding_map import make_map

        began, cpu = time.perf_counter(), time.process_time()
        told = make_map(run, sample=given.sample)
        took = time.perf_counter() - began, time.process_time() - cpu
        print(f"map: {told['rows']:,} rows, {told['sampled']:,} laid out: ", end="")
        print(f"{took[0]:.0f} s, {took[1]:.0f} s of CPU", flush=True)
    command = [sys.executable, "-m", "winnow", "ui", str(run), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        in_browser(process.stdout.readline().strip())
    finally:
        process.terminate()
        process.wait()
    print(f"load {os.getloadavg()[0]:.1f}")


def make_run(work: Path, rows: int) -> Path:
    pool, out = work / f"pool-{rows}", work / f"map-run-{rows}"
    if not (out / "manifest.json").is_file():
        if not pool.is_dir():
            _make_pool(pool, rows)
        import winnow

        recipe = {k: v for k, v in _RECIPE.items() if k in (*STEPS, "input")}
        recipe |= {"steps": STEPS, "output": {"path": str(out)}}
        recipe["input"] = {**_RECIPE["input"], "path": str(pool)}
        winnow.run(recipe)
    return out


def in_browser(url: str) -> None:
    from playwright.sync_api import sync_playwright

    base = url.split("/?", maxsplit=1)[0]
    with sync_playwright() as playwright:
        path = browser_path()
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(url)
        page.wait_for_url(f"{base}/")
        for turn in ("first", "again"):
            began = time.perf_counter()
            page.goto(f"{base}/map?by=cluster.cluster")
            page.wait_for_selector("#map-stage[data-frames]")
            print(f"map opened ({turn}): {time.perf_counter() - began:.2f} s")
        print("a frame:", told(frames(page)))
        began = time.perf_counter()
        lasso(page)
        page.wait_for_url(f"{base}/?sel=*")
        print(f"lasso to its list: {time.perf_counter() - began:.2f} s")
        print(page.locator("#found").inner_text())
        page.goto(f"{base}/cuts?step=score&by=input.width")
        print("a threshold:", told(moves(page)))
        browser.close()


def browser_path() -> str | None:
    """Return the path of the system's Chromium."""
    return os.environ.get("WINNOW_CHROMIUM") or shutil.which("chromium")


def frames(page: Any) -> list[float]:
    """Return the milliseconds of each frame while the map is zoomed and moved."""
    page.focus("#map")
    times = []
    for key in ["+", "ArrowLeft", "ArrowUp", "-", "ArrowRight"] * 4:
        before = page.get_attribute("#map-stage", "data-frames")
        page.keyboard.press(key)
        page.wait_for_selector(f"#map-stage:not([data-frames='{before}'])")
        times.append(float(page.get_attribute("#map-stage", "data-drawn")))
    return times


def lasso(page: Any) -> None:
    """Draw around a part of the map, and ask for its rows."""
    box = page.locator("#map").bounding_box()
    page.click("#map-lasso")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 80, y - 60)
    page.mouse.down()
    for right, below in ((80, -60), (90, 70), (-70, 80), (-80, -60)):
        page.mouse.move(x + right, y + below, steps=4)
    page.mouse.up()
    page.click("#map-choice button")


def moves(page: Any) -> list[float]:
    """Return the milliseconds of each answer while the threshold is moved by key."""
    page.focus("#cut-range")
    times = []
    for key in ["ArrowLeft"] * 10 + ["ArrowRight"] * 15:
        before = page.get_attribute("#cut-answer", "data-cut")
        page.keyboard.press(key)
        page.wait_for_selector(f"#cut-answer[data-cut]:not([data-cut='{before}'])")
        times.append(float(page.get_attribute("#cut-answer", "data-took")))
    return times


def told(times: list[float]) -> str:
    values = {
        "first": times[0],
        "median": statistics.median(times),
        "most": max(times[1:]),
    }
    return json.dumps({name: round(value) for name, value in values.items()}) + " ms"


if __name__ == "__main__":
    main()
