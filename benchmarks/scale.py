"""All steps after embedding on synthetic vectors: time and memory from 10⁵ to 10⁶ rows.

    python benchmarks/scale.py [--rows 100000 1000000] [--dim 256] [--work DIR]

Each size runs in a process of its own, so that its peak memory is its own. The vectors
are ready-made: clustered image vectors with near-copies, caption vectors near them.
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

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_SHARD_ROWS = 50_000
_COPIES = 0.1

_RECIPE = {
    "input": {"columns": {"uid": "uid", "image": None, "text": None}},
    "steps": [
        "embed", "cluster", "semantic", "score", "cluster", "prototypes",
        "complexity", "uniform", "random", "apply",
    ],
    "embed": {"image_column": "image_vector", "text_column": "text_vector"},
    "semantic": {"epsilon": 0.05},
    "score": {"keep_fraction": 0.8},
    "prototypes": {"keep_fraction": 0.8},
    "complexity": {"keep_fraction": 0.7},
    "uniform": {"keep_fraction": 0.9},
    "random": {"keep_fraction": 0.9},
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp(prefix="winnow-scale-"))
    if given.one:
        print(json.dumps(measure(given.one, given.dim, work)))
        return
    results = []
    for rows in given.rows:
        command = [sys.executable, __file__, "--one", str(rows)]
        command += ["--dim", str(given.dim), "--work", str(work)]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        results.append(json.loads(found.stdout.splitlines()[-1]))
    if not given.work:
        shutil.rmtree(work)
    report(results)


def measure(rows: int, dim: int, work: Path) -> dict:
    import winnow

    pool, out = work / f"pool-{rows}", work / f"run-{rows}"
    if not pool.is_dir():
        make_pool(pool, rows, dim)
    shutil.rmtree(out, ignore_errors=True)
    recipe = {**_RECIPE, "output": {"path": str(out)}}
    recipe["input"] = {**_RECIPE["input"], "path": str(pool)}
    start = time.perf_counter()
    result = winnow.run(recipe)
    seconds = time.perf_counter() - start
    steps = {m.step: (m.rows_in, m.seconds, m.peak_rss_mb) for m in result.steps}
    peak = max(step[2] for step in steps.values())
    return {"rows": rows, "seconds": seconds, "peak_mb": peak, "steps": steps}


def make_pool(folder: Path, rows: int, dim: int) -> None:
    """Write shards of unit vectors around sqrt(rows) centres, a tenth near-copies."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((int(rows**0.5), dim), dtype=np.float32)
    for start in range(0, rows, _SHARD_ROWS):
        size = min(_SHARD_ROWS, rows - start)
        noise = rng.standard_normal((size, dim), dtype=np.float32)
        image = centres[rng.integers(len(centres), size=size)] + 0.7 * noise
        copies = int(size * _COPIES)
        image[:copies] = image[-copies:] + 0.02 * noise[:copies]
        text = image + rng.standard_normal((size, dim), dtype=np.float32)
        uids = [
            f"{n * 0x9E3779B97F4A7C15 % 2**128:032x}"
            for n in range(start, start + size)
        ]
        table = {
            "uid": uids,
            "image_vector": _column(image),
            "text_vector": _column(text),
        }
        pq.write_table(
            pa.table(table), folder / f"{start:09d}.parquet", compression="none"
        )


def _column(matrix: np.ndarray) -> pa.FixedSizeListArray:
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    flat = pa.array(unit.astype(np.float16).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])


def report(results: list[dict]) -> None:
    names = list(results[0]["steps"])
    print(f"{'step':<12}" + "".join(f"{r['rows']:>12,} rows     MiB" for r in results))
    for name in names:
        cells = "".join(
            f"{r['steps'][name][1]:>15.1f} s {r['steps'][name][2]:>7,.0f}"
            for r in results
        )
        print(f"{name:<12}{cells}")
    cells = "".join(f"{r['seconds']:>15.1f} s {r['peak_mb']:>7,.0f}" for r in results)
    print(f"{'all':<12}{cells}")
    if len(results) > 1:
        first, last = results[0], results[-1]
        print(
            f"growth from {first['rows']:,} to {last['rows']:,} rows: time "
            f"{last['seconds'] / first['seconds']:.1f}x, memory "
            f"{last['peak_mb'] / first['peak_mb']:.1f}x"
        )


if __name__ == "__main__":
    main()
