"""Spark beside the local engine: steps after embedding, near-duplicate text, growth.

    python benchmarks/spark.py [--rows 100000 1000000] [--texts 1000000] [--work DIR]

Engines take turns on the same generated pools, each run in a process of its own on two
cores: the local engine, Spark as `local[2]`, and a standalone cluster of one and of two
workers of one core. Wall time of all steps; a session's start is told apart.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

_SETTINGS = {"spark.driver.memory": "3g", "spark.executor.memory": "2g"}
_QUIET = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--texts", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--work", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp(prefix="winnow-spark-"))
    if given.one:
        task, where, rows = given.one
        print(json.dumps(measure(task, where, int(rows), given.dim, work)))
        return
    for task, sizes in (("vectors", given.rows), ("texts", given.texts)):
        found = {
            rows: {
                w: run(task, w, rows, given.dim, work) for w in ("local", "local[2]")
            }
            for rows in sizes
        }
        report(task, found)
    for rows in given.rows[:1]:
        on_workers(rows, given, work)
    if not given.work:
        shutil.rmtree(work)


def on_workers(rows: int, given: argparse.Namespace, work: Path) -> None:
    """Run on clusters of one and more workers."""
    from tests.cluster import SparkCluster

    times = {}
    for workers in given.workers:
        folder = work / f"cluster-{workers}"
        folder.mkdir(parents=True)
        cluster = SparkCluster(folder, memory="3g").start(workers)
        try:
            times[workers] = run("vectors", cluster.url, rows, given.dim, work)["all"]
        finally:
            cluster.close()
    told = ", ".join(
        f"{workers}: {seconds:.1f} s" for workers, seconds in times.items()
    )
    print(f"{rows:,} vectors by workers of one core: {told}")


def run(task: str, where: str, rows: int, dim: int, work: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", task, where, str(rows)]
    command += ["--dim", str(dim), "--work", str(work)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    times: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    return times


def measure(task: str, where: str, rows: int, dim: int, work: Path) -> dict[str, float]:
    """Return the seconds of each step and of the start."""
    import winnow

    recipe = _recipe(task, rows, dim, work)
    out = work / f"run-{task}-{rows}"
    shutil.rmtree(out, ignore_errors=True)
    begun = time.perf_counter()
    session = None if where == "local" else open_session(where, _SETTINGS)
    started = time.perf_counter()
    result = winnow.run(
        {**recipe, "output": {"path": str(out), "report": False}}, spark=session
    )
    done = time.perf_counter()
    if session is not None:
        session.stop()
    steps = {marker.step: marker.seconds for marker in result.steps}
    return {**steps, "all": done - started, "start": started - begun}


def open_session(master: str, settings: dict[str, str]) -> Any:
    """Return a session on `master` that shows nothing."""
    import os

    from pyspark.sql import SparkSession

    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("benchmark").master(master)
    for name, value in {**_QUIET, **settings}.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def _recipe(task: str, rows: int, dim: int, work: Path) -> dict[str, Any]:
    if task == "texts":
        import minhash_scale

        minhash_scale.make_pool(work, rows)
        return {
            "input": {
                "path": str(work / f"pool-{rows}"),
                "columns": minhash_scale._COLUMNS,
            },
            "steps": ["minhash", "apply"],
            "minhash": {"allow_large_clusters": True},
        }
    import scale

    pool = work / f"vectors-{rows}"
    if not pool.is_dir():
        scale.make_pool(pool, rows, dim)
    recipe = dict(scale._RECIPE)
    recipe["input"] = {**recipe["input"], "path": str(pool)}
    return recipe


def report(task: str, found: dict[int, dict[str, dict[str, float]]]) -> None:
    for rows, times in found.items():
        print(f"{rows:,} {task}{'':<8} local    local[2]   ratio")
        for step in times["local"]:
            one, other = times["local"][step], times["local[2]"][step]
            ratio = f"{other / one:>8.2f}" if one > 0.05 else ""
            print(f"  {step:<14}{one:>9.1f} s {other:>9.1f} s {ratio}")
    sizes = list(found)
    if len(sizes) > 1:
        for where in ("local", "local[2]"):
            grown = found[sizes[-1]][where]["all"] / found[sizes[0]][where]["all"]
            print(f"growth {sizes[0]:,} to {sizes[-1]:,}, {where}: {grown:.1f}x")


if __name__ == "__main__":
    main()
