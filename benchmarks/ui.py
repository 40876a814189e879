"""The local app on a run of 1,000,000 rows: pages, filters, sorts; time and memory.

    python benchmarks/ui.py [--rows 1000000] [--work DIR]

The run is that of `benchmarks/query.py`. `winnow ui` is a process of its own; a figure
is the time from the request to the last byte of the page, without pictures, as the
median of nine (and the first one, when nothing has been asked yet). Each of the nine
asks for something else, so that no answer is one that was kept.
"""

from __future__ import annotations

import argparse
import http.client
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from query import make_run

WORDS = ["river", "cat", "old new", "stone", "of and", "green", "zebra", "sun", "boat"]
STEPS = ["exact", "rules", "semantic", "score", "complexity"]
#: What is asked, with {n} for another number each time and {word} for another word.
PAGES = {
    "first page": "/",
    "a later page": "/?after={n}",
    "caption contains": "/?q={word}",
    "caption contains, no row": "/?q=zebra+{n}",
    "fate and step": "/?fate=dropped&step={step}&after={n}",
    "a cluster": "/?col=cluster.cluster&op=is&val={small}",
    "a range of scores": "/?col=score.semantic&op=min&val=0.9{small}"
    "&col=score.semantic&op=max&val=0.98",
    "a column of the input": "/?col=input.width&op=is&val={small}",
    "sorted by severity": "/?sort=severity&dir=desc&after={n}",
    "sorted by a score, filtered": "/?sort=score.score&fate=kept&q={word}",
    "sorted by uid": "/?sort=uid&after={n}",
    "most like a row": "/?near={vector}",
    "… its later pages": "/?near={vector}&after={vector}&q={word}",
    "a row's story": "/row/{n}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp(prefix="winnow-ui-bench-"))
    run = make_run(work, given.rows)
    shutil.rmtree(run / "ui", ignore_errors=True)
    print(f"{given.rows:,} rows in {run}\n")
    with_index(run, "index built", {})
    with_index(run, "index there", PAGES)


def with_index(run: Path, title: str, pages: dict[str, str]) -> None:
    start = time.perf_counter()
    command = [sys.executable, "-m", "winnow", "ui", str(run), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        url = urlsplit(process.stdout.readline().strip())
        opened = time.perf_counter() - start
        client = http.client.HTTPConnection(url.netloc, timeout=600)
        client.request("GET", f"/?{url.query}")
        answer = client.getresponse()
        answer.read()
        cookie = {"Cookie": (answer.getheader("set-cookie") or "").split(";")[0]}
        print(f"{title}: {opened:.1f} s to open, {_peak(process.pid):.0f} MiB")
        if pages:
            print(f"\n{'page':<32}{'first ms':>10}{'median ms':>11}{'MiB':>7}")
        for name, path in pages.items():
            times = [_ask(client, cookie, path, turn) for turn in range(10)]
            median = statistics.median(times[1:])
            peak = _peak(process.pid)
            print(f"{name:<32}{times[0]:>10.0f}{median:>11.0f}{peak:>7.0f}")
    finally:
        process.terminate()
        process.wait()


def _ask(
    client: http.client.HTTPConnection, cookie: dict[str, str], path: str, turn: int
) -> float:
    filled = path.format(
        n=turn * 90_001 + 17,
        small=turn + 1,
        vector=_VECTORS[turn] if turn < len(_VECTORS) else 0,
        word=WORDS[turn % len(WORDS)].replace(" ", "+"),
        step=STEPS[turn % len(STEPS)],
    )
    start = time.perf_counter()
    client.request("GET", filled, headers=cookie)
    answer = client.getresponse()
    body = answer.read()
    took = 1000 * (time.perf_counter() - start)
    # A row that has left the run before `embed` has no vector to be near to.
    if answer.status != 200 and "no vector" not in body.decode():
        raise SystemExit(f"{filled}: {answer.status}\n{body.decode()}")
    return took


_VECTORS = list(range(17, 10_000, 1_013))


def _peak(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 1024


if __name__ == "__main__":
    main()
