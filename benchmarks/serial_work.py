"""How much of each step runs on one core alone, and what more cores would bring.

    python benchmarks/serial_work.py [--rows 300000] [--texts 300000] [--work DIR]

A run on two cores tells the CPU seconds of each step apart by the thread that spent
them: the step's own, which goes from one thing to the next; the ones that read ahead
and write behind, one each; pieces of work that are done side by side; and what is left,
threads of libraries (polars, Arrow). From these two bounds for any number of cores:

- apart: nothing of what one thread does alone overlaps with anything (Amdahl 1967);
- together: all of it does, and the longest of these threads is what remains.

What two cores really bring stands beside both, by the clock, against a run that may use
one core. Not in the bounds: memory and disks that cores share, and that libraries
may split their part into fewer pieces than there are cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import minhash_scale
import scale
from cores import run_on
from figures import record

CORES = (2, 8, 64)
#: Threads that do one thing after another; by the names of their pools.
ALONE = {"winnow-ahead": "ahead", "winnow-behind": "behind", "winnow-aside": "aside"}
#: Steps that Arrow reads vectors for: a thread for each of their two columns.
READS_COLUMNS = ("embed", "apply")
_LARGE_SHARE = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--texts", type=int, default=300_000)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--task", choices=["vectors", "texts"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        print(json.dumps(measured(given.task, given.rows, given.work)))
        return
    work = given.work or Path(tempfile.mkdtemp(prefix="winnow-serial-"))
    for task, rows in (("vectors", given.rows), ("texts", given.texts)):
        command = [sys.executable, __file__, "--task", task, "--rows", str(rows)]
        command += ["--work", str(work)]
        # Makes the pool and keeps compiled code, too.
        run_on(2, command)
        two, one = run_on(2, command), run_on(1, command)
        print(f"{rows:,} {task}, load {os.getloadavg()[0]:.1f}")
        report(task, one, two)
    if not given.work:
        shutil.rmtree(work)


def measured(task: str, rows: int, work: Path) -> dict[str, Any]:
    """Run a recipe; return seconds by the clock and of each kind of thread, by step."""
    recipe = (
        vectors_recipe(rows, work) if task == "vectors" else texts_recipe(rows, work)
    )
    out = work / f"run-{task}"
    shutil.rmtree(out, ignore_errors=True)
    recipe["output"] = {"path": str(out), "report": False}
    spent = Spent()
    with spent.counted():
        import winnow

        result = winnow.run(recipe)
    steps = zip(result.steps, spent.steps, strict=True)
    return {step.step: {"clock": step.seconds, **parts} for step, parts in steps}


def vectors_recipe(rows: int, work: Path) -> dict[str, Any]:
    pool = work / f"vectors-{rows}"
    if not pool.is_dir():
        scale.make_pool(pool, rows, 256)
    return {**scale._RECIPE, "input": {**scale._RECIPE["input"], "path": str(pool)}}


def texts_recipe(rows: int, work: Path) -> dict[str, Any]:
    minhash_scale.make_pool(work, rows)
    columns = minhash_scale._COLUMNS
    return {
        "input": {"path": str(work / f"pool-{rows}"), "columns": columns},
        "steps": ["exact", "minhash", "apply"],
        "exact": {"by": ["caption"]},
        "minhash": {"allow_large_clusters": True},
    }


class Spent:
    """CPU seconds by the kind of thread that spent them, step by step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self._lock = threading.Lock()
        self._by_kind: dict[str, float] = defaultdict(float)
        self._longest = 0.0

    def counted(self) -> Any:
        """Count what pools of threads do, and where a step begins and ends."""
        from contextlib import ExitStack
        from unittest.mock import patch

        from winnow.core.meter import Meter

        begun, asked = Meter.__init__, Meter.read
        submitted = ThreadPoolExecutor.submit

        def begin(meter: Any) -> None:
            self._by_kind.clear()
            self._longest = 0.0
            meter.before = time.process_time(), time.thread_time()
            begun(meter)

        def end(meter: Any) -> tuple[float, float]:
            self.steps.append(self._parts(*meter.before))
            return asked(meter)

        def submit(
            pool: Any, work: Callable[..., Any], /, *args: Any, **options: Any
        ) -> Future[Any]:
            kind = ALONE.get(pool._thread_name_prefix, "pieces")
            timed = self._timed(kind, work)
            return submitted(pool, timed, *args, **options)

        stack = ExitStack()
        for owner, name, new in (
            (Meter, "__init__", begin),
            (Meter, "read", end),
            (ThreadPoolExecutor, "submit", submit),
        ):
            stack.enter_context(patch.object(owner, name, new))
        return stack

    def _timed(self, kind: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            start = time.thread_time()
            try:
                return work(*args, **options)
            finally:
                seconds = time.thread_time() - start
                with self._lock:
                    self._by_kind[kind] += seconds
                    if kind == "pieces":
                        self._longest = max(self._longest, seconds)

        return timed

    def _parts(self, process: float, thread: float) -> dict[str, float]:
        every = time.process_time() - process
        with self._lock:
            parts = {"own": time.thread_time() - thread, **self._by_kind}
        libraries = max(0.0, every - sum(parts.values()))
        return parts | {"libraries": libraries, "longest": self._longest, "all": every}


def gained(step: str, parts: Mapping[str, float], cores: int) -> tuple[float, float]:
    """Return how many times as fast a step is, at least and at most."""
    alone = [parts.get(kind, 0.0) for kind in ("own", *ALONE.values())]
    longest = parts["longest"]
    if step in READS_COLUMNS:
        longest = max(longest, parts["libraries"] / 2)
    shared = parts["all"] - sum(alone)
    apart = sum(alone) + max(shared / cores, longest)
    together = max(parts["all"] / cores, longest, *alone)
    return parts["all"] / apart, parts["all"] / together


def report(task: str, one: Mapping[str, Any], two: Mapping[str, Any]) -> None:
    kinds = ("all", "own", "ahead", "behind", "pieces", "longest", "libraries")
    heads = "".join(f"{kind:>10}" for kind in kinds)
    bounds = "".join(f"{f'{n} cores':>14}" for n in CORES)
    print(f"{'step':<12}{heads}{'measured':>10}{bounds}")
    total = sum(parts["all"] for parts in two.values())
    whole = {n: [0.0, 0.0] for n in CORES}
    for step, parts in two.items():
        times = one[step]["clock"] / parts["clock"]
        seconds = "".join(f"{parts.get(kind, 0.0):>10.2f}" for kind in kinds)
        told = ""
        for cores in CORES:
            bound = gained(step, parts, cores)
            for which, times_faster in enumerate(bound):
                whole[cores][which] += parts["all"] / times_faster
            told += f"{'{:.1f} to {:.1f}'.format(*bound):>14}"
            if parts["all"] > _LARGE_SHARE * total and cores == CORES[-1]:
                name = f"{task}, {step}: of 64 cores at least"
                record(name, bound[0], larger_is_better=True)
        print(f"{step:<12}{seconds}{times:>10.2f}{told}")
    clock = [sum(parts["clock"] for parts in each.values()) for each in (one, two)]
    told = "".join(
        f"{'{:.1f} to {:.1f}'.format(*(total / s for s in whole[n])):>14}"
        for n in CORES
    )
    print(f"{'all':<12}{total:>10.2f}{'':>60}{clock[0] / clock[1]:>10.2f}{told}")


if __name__ == "__main__":
    main()
