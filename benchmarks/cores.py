"""What a second core brings to each step, on ready vectors.

    python benchmarks/cores.py [--rows 300000] [--dim 256] [--rounds 3] [--work DIR]

The whole run in a process that may use one core, and in one that may use two, in turns;
nothing else should want these cores. The anchor is the processor's own: a product of
NumPy and a copy of memory, each by one core and by two, in the same rounds.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from figures import record
from scale import measure

_LARGE_SHARE = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--cores", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.cores:
        seconds = {"(product)": product(), "(copy)": copied()}
        result = measure(given.rows, given.dim, given.work)
        seconds |= {name: step[1] for name, step in result["steps"].items()}
        seconds["all"] = result["seconds"]
        print(json.dumps(seconds))
        return
    work = given.work or Path(tempfile.mkdtemp(prefix="winnow-cores-"))
    rounds: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    for _ in range(given.rounds):
        for cores, results in rounds.items():
            print(f"{cores} core(s), load {os.getloadavg()[0]:.1f}", flush=True)
            command = [sys.executable, __file__, "--cores", str(cores)]
            command += ["--rows", str(given.rows), "--dim", str(given.dim)]
            command += ["--work", str(work)]
            results.append(run_on(cores, command))
    if not given.work:
        shutil.rmtree(work)
    report(rounds)


def run_on(cores: int, command: list[str]) -> dict[str, float]:
    """Run a command that may use so many cores, and return what it tells."""
    # Before it loads anything: a thread stays where it was when it was made.
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    told = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, chosen),
    )
    return json.loads(told.stdout.splitlines()[-1])


def product() -> float:
    """Seconds of a product of matrices."""
    matrix = np.ones((3000, 3000), np.float32)
    matrix @ matrix
    start = time.perf_counter()
    for _ in range(4):
        matrix @ matrix
    return time.perf_counter() - start


def copied() -> float:
    """Seconds of copies of memory, a part by each core."""
    parts = np.array_split(np.ones(1 << 26, np.float32), 8)
    others = [np.empty_like(part) for part in parts]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        list(threads.map(np.copyto, others, parts))
        start = time.perf_counter()
        for _ in range(4):
            list(threads.map(np.copyto, others, parts))
        return time.perf_counter() - start


def report(rounds: dict[int, list[dict[str, float]]]) -> None:
    """Print seconds by one core and by two, and note steps that take long."""
    one, two = (
        {
            name: statistics.median(seconds[name] for seconds in results)
            for name in results[0]
        }
        for results in rounds.values()
    )
    print(f"{'step':<12}{'1 core':>10}{'2 cores':>10}{'times':>8}{'share':>8}")
    for name, seconds in one.items():
        times, share = seconds / two[name], seconds / one["all"]
        print(f"{name:<12}{seconds:>9.1f}s{two[name]:>9.1f}s{times:>8.2f}{share:>8.2f}")
        if share > _LARGE_SHARE or name.startswith("("):
            asked = None if name.startswith("(") else ">= 1.8"
            record(f"a second core: {name}", times, asked=asked, larger_is_better=True)


if __name__ == "__main__":
    main()
