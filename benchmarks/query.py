"""SQL over a run of 1,000,000 rows: a page, a filter, twins, clusters; time and memory.

    python benchmarks/query.py [--rows 1000000] [--work DIR]

The run is a real one over ready-made vectors, with captions of which some repeat. It is
made once in --work, which other measurements (the local app's) may use too. Every query
is asked in a process that holds nothing else; the figure is the median of five.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_SHARD_ROWS = 50_000
_DIM = 32
_WORDS = """
a the red blue green cat dog house tree sun moon river of and with small large old new
photo drawing boat car street field flower bird stone light night
"""

_RECIPE = {
    "input": {"columns": {"uid": "uid", "image": None, "text": "text"}},
    "steps": [
        "exact", "rules", "embed", "cluster", "semantic", "score", "cluster",
        "complexity", "apply",
    ],
    "exact": {"by": ["caption"]},
    "rules": {"min_words": 3, "min_side": None, "max_aspect": None},
    "embed": {"image_column": "image_vector", "text_column": "text_vector"},
    "semantic": {"epsilon": 0.05},
    "score": {"keep_fraction": 0.8},
    "complexity": {"keep_fraction": 0.7},
}  # fmt: skip

QUERIES = {
    "first page": "SELECT uid, text, width FROM samples LIMIT 50",
    "page of what was dropped": "SELECT f.uid, f.step, f.reason, f.score, s.text "
    "FROM (SELECT * FROM fates WHERE fate = 'dropped' LIMIT 50) f JOIN samples s "
    "USING (uid)",
    "filter by step and score": "SELECT uid, score FROM ledger WHERE step = 'score' "
    "AND NOT keep AND score > 0.5 ORDER BY score DESC, uid LIMIT 50",
    "search captions": "SELECT uid, text FROM samples WHERE text ILIKE '%cat river%' "
    "LIMIT 50",
    "count by any column": "SELECT height, count(*) AS n FROM samples GROUP BY ALL",
    "keep rate by column": "SELECT width, avg((fate = 'kept')::INT) AS rate "
    "FROM samples JOIN fates USING (uid) GROUP BY ALL",
    "one row's ledger": "SELECT * FROM ledger WHERE uid = "
    "(SELECT min(uid) FROM ledger)",
    "a cluster's rows": "SELECT uid FROM members WHERE step = 'cluster_2' AND "
    "cluster_id = 7 ORDER BY distance LIMIT 50",
    "twins of a row": "SELECT * FROM duplicates WHERE kept_twin = "
    "(SELECT min(kept_twin) FROM duplicates)",
    "largest groups": "SELECT kept_twin, count(*) AS n FROM duplicates GROUP BY ALL "
    "ORDER BY n DESC, kept_twin LIMIT 20",
    "clusters": "SELECT * FROM clusters",
    "fates": "SELECT fate, step, count(*) FROM fates GROUP BY ALL",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp(prefix="winnow-query-bench-"))
    run = make_run(work, given.rows)
    if given.one:
        print(json.dumps(measure(run, QUERIES[given.one])))
        return
    print(f"{given.rows:,} rows in {run}\n")
    print(f"{'query':<28}{'open s':>8}{'first s':>9}{'median s':>10}{'MiB':>7}")
    for name in QUERIES:
        command = [sys.executable, __file__, "--one", name, "--work", str(work)]
        command += ["--rows", str(given.rows)]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        opened, first, median, peak = json.loads(found.stdout.splitlines()[-1])
        print(f"{name:<28}{opened:>8.2f}{first:>9.2f}{median:>10.3f}{peak:>7.0f}")


def make_run(work: Path, rows: int) -> Path:
    """Return the run over `rows` rows below `work`; makes it if it is not there."""
    pool, out = work / f"pool-{rows}", work / f"run-{rows}"
    if (out / "manifest.json").is_file():
        return out
    if not pool.is_dir():
        _make_pool(pool, rows)
    import winnow

    recipe = {**_RECIPE, "output": {"path": str(out)}}
    recipe["input"] = {**_RECIPE["input"], "path": str(pool)}
    winnow.run(recipe)
    return out


def _make_pool(folder: Path, rows: int) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((int(rows**0.5), _DIM), dtype=np.float32)
    for start in range(0, rows, _SHARD_ROWS):
        size = min(_SHARD_ROWS, rows - start)
        noise = rng.standard_normal((size, _DIM), dtype=np.float32)
        image = centres[rng.integers(len(centres), size=size)] + 0.5 * noise
        copies = size // 10
        image[:copies] = image[-copies:] + 0.02 * noise[:copies]
        known = np.array(_WORDS.split())
        words = known[rng.integers(len(known), size=(size, 6))]
        lengths = rng.integers(2, 7, size)
        table = {
            "uid": [
                f"{n * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"
                for n in range(start, start + size)
            ],
            "text": [" ".join(w[:k]) for w, k in zip(words, lengths, strict=True)],
            "width": rng.integers(64, 1024, size),
            "height": rng.integers(64, 1024, size),
            "image_vector": _column(image),
            "text_vector": _column(image + 0.8 * rng.standard_normal(image.shape)),
        }
        pq.write_table(pa.table(table), folder / f"{start:09d}.parquet")


def _column(matrix: np.ndarray) -> pa.Array:
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    flat = pa.array(unit.astype(np.float16).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])


def measure(run: Path, sql: str) -> tuple[float, float, float, float]:
    """Return seconds to open, of the first answer, of the median one; peak MiB."""
    from winnow.reports.database import RunDatabase

    start = time.perf_counter()
    with RunDatabase(run) as database:
        opened = time.perf_counter() - start
        seconds = []
        for _ in range(6):
            start = time.perf_counter()
            database.query(sql)
            seconds.append(time.perf_counter() - start)
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 1024
    return opened, seconds[0], statistics.median(seconds[1:]), peak


if __name__ == "__main__":
    main()
