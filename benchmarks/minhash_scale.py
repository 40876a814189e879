"""Near-duplicate text through `winnow run`, and `near` on an index, at 1 M and 10 M.

    python benchmarks/minhash_scale.py [--rows 1000000 10000000] [--index-rows 1000000]

Generated documents of 200 characters in Parquet shards, a fifth of them edits of
others. Each size runs in a process of its own, so that its peak memory is its own;
so do the index's building and the queries. All cores; wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from minhash import generated

_SHARD_ROWS = 500_000
_COLUMNS = {"uid": "uid", "image": None, "text": "text"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000, 10_000_000])
    parser.add_argument("--index-rows", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp(prefix="winnow-minhash-"))
    if given.one:
        task, rows = given.one
        print(json.dumps(_TASKS[task](work, int(rows))))
        return
    print(f"{len(os.sched_getaffinity(0))} cores")
    for rows in given.rows:
        _run("pool", rows, work)
        tell_run(rows, _run("run", rows, work))
    if given.index_rows:
        _run("pool", given.index_rows, work)
        built = _run("build", given.index_rows, work)
        tell_index(given.index_rows, built, _run("near", given.index_rows, work))
    if not given.work:
        shutil.rmtree(work)


def _run(task: str, rows: int, work: Path) -> dict:
    command = [sys.executable, __file__, "--one", task, str(rows), "--work", str(work)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(found.stdout.splitlines()[-1])


def make_pool(work: Path, rows: int) -> dict:
    folder = work / f"pool-{rows}"
    if folder.is_dir():
        return {}
    folder.mkdir(parents=True)
    for number, first in enumerate(range(0, rows, _SHARD_ROWS)):
        count = min(_SHARD_ROWS, rows - first)
        # Another order than the shards', as hashed names have.
        names = np.random.default_rng(number).integers(0, 2**63, count)
        uid = pa.array([f"{n:016x}{first + i:016x}" for i, n in enumerate(names)])
        table = pa.table({"uid": uid, "text": generated(count, 33, 0.2, number)})
        pq.write_table(table, folder / f"{number:05d}.parquet", row_group_size=50_000)
    return {}


def deduplicate(work: Path, rows: int) -> dict:
    import winnow

    out = work / f"run-{rows}"
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    result = winnow.run(
        {
            "input": {"path": str(work / f"pool-{rows}"), "columns": _COLUMNS},
            "output": {"path": str(out)},
            "steps": ["minhash", "apply"],
        }
    )
    seconds = time.perf_counter() - start
    steps = {m.step: (m.seconds, m.peak_rss_mb) for m in result.steps}
    facts = {m.step: m.facts for m in result.steps}["minhash"]
    shutil.rmtree(out)
    return {
        "seconds": seconds,
        "kept": result.kept,
        "dropped": result.dropped,
        "steps": steps,
        "pairs": facts["pairs_compared"],
        "peak_gib": _peak_gib(),
    }


def build_index(work: Path, rows: int) -> dict:
    from winnow.flows.near_index import build

    out = work / f"index-{rows}"
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    build(str(work / f"pool-{rows}"), out)
    seconds = time.perf_counter() - start
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return {"seconds": seconds, "gib": size / 2**30, "peak_gib": _peak_gib()}


def query_index(work: Path, rows: int) -> dict:
    from winnow.indexes.near_index import NearIndex
    from winnow.steps.near_index import near

    start = time.perf_counter()
    index = NearIndex(work / f"index-{rows}")
    near(index, "the first question compiles or loads the kernels of a process", 1, 0.5)
    opened = time.perf_counter() - start
    rng, spent, found = np.random.default_rng(1), [], 0
    for _ in range(1000):
        segment = index.segments[int(rng.integers(len(index.segments)))]
        row = int(rng.integers(len(segment.table)))
        words = segment.table.column("text")[row].as_py().split()
        words[int(rng.integers(len(words)))] = "edited"
        start = time.perf_counter()
        found += bool(near(index, " ".join(words), 10, 0.5))
        spent.append(1000 * (time.perf_counter() - start))
    return {
        "first_s": opened,
        "median_ms": statistics.median(spent),
        "p99_ms": sorted(spent)[990],
        "found": found,
        "peak_gib": _peak_gib(),
    }


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


_TASKS = {
    "pool": make_pool,
    "run": deduplicate,
    "build": build_index,
    "near": query_index,
}


def tell_run(rows: int, found: dict) -> None:
    steps = ", ".join(
        f"{name} {seconds:.1f} s ({peak / 1024:.2f} GiB)"
        for name, (seconds, peak) in found["steps"].items()
    )
    print(
        f"\n{rows:,} documents of 200 characters, Parquet to kept/: "
        f"{found['seconds']:.1f} s, peak {found['peak_gib']:.2f} GiB\n"
        f"  {steps}\n"
        f"  {found['dropped']:,} removed, {found['pairs']:,} pairs compared"
    )


def tell_index(rows: int, built: dict, asked: dict) -> None:
    print(
        f"\nindex of {rows:,} documents: built in {built['seconds']:.1f} s (peak "
        f"{built['peak_gib']:.2f} GiB), {built['gib']:.2f} GiB on disk\n"
        f"  near, 1,000 edited texts: median {asked['median_ms']:.2f} ms, 99 % below "
        f"{asked['p99_ms']:.2f} ms, {asked['found']} found; first question after "
        f"{asked['first_s']:.1f} s; peak {asked['peak_gib']:.2f} GiB"
    )


if __name__ == "__main__":
    main()
