"""Semantic duplicates of a pool: Winnow and SemHash on the same vectors, in turns.

    python benchmarks/semantic_pool.py [ROWS …] [--rounds 1] [--semhash-rows 100000]

Vectors of 256 numbers around centres of 150 rows each, a quarter of them copies with
noise, at ε = .05. Winnow is the whole job of a run over ready vectors, k-means, files
and ledgers included, within clusters (`scope: cluster`, the paper's) and across them
(`scope: pool`); SemHash is its index and search over the same array in memory, each
with what it imports, in pools of up to `--semhash-rows`. Recall is what the run's
manifest states: of the pairs at a cosine of .9 or more that 1,000 rows form with any
row, searched exactly, the part whose rows are compared. Left are pairs of kept rows
above a cosine of .95: all of them in pools of up to 100,000 rows, in larger ones those
of 1,000 kept rows with all others.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from figures import record

DIM, EPSILON = 256, 0.05
Vectors = npt.NDArray[np.float32]
Job = Callable[[Vectors, Path], npt.NDArray[np.int64]]


def main() -> None:
    logging.disable(logging.INFO)
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", type=int)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--semhash-rows", type=int, default=100_000)
    given = parser.parse_args()
    for rows in given.rows or [8_000, 60_000, 1_000_000]:
        vectors = make_pool(rows)
        print(f"{rows:,} × {DIM}")
        for _ in range(given.rounds):
            spent = {
                name: measure(name, job, vectors)
                for name, job in JOBS.items()
                if name != "SemHash" or rows <= given.semhash_rows
            }
            within, across, semhash = (spent.get(name, 0.0) for name in JOBS)
            head = f"{rows:,} vectors, duplicates of the whole pool"
            record(f"{head} / within clusters", across / within, asked="<= 1.5")
            if semhash:
                record(f"{head}: SemHash / Winnow", semhash / across, asked=">= 1")


def measure(name: str, job: Job, vectors: Vectors) -> float:
    if name == "SemHash" and importlib.util.find_spec("semhash") is None:
        print(f"  {name} is not installed: left out")
        return 0.0
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), seconds()
        kept = job(vectors, Path(folder))
        wall, cpu = time.perf_counter() - wall, seconds() - cpu
    print(
        f"  {name:22s} kept {len(kept):9,}  {wall:7.1f} s {cpu:7.1f} CPU s",
        end="",
        flush=True,
    )
    left, of = pairs_left(vectors, kept)
    print(f"  pairs left {left:6,} of rows {of:9,}", flush=True)
    return cpu


def make_pool(rows: int) -> Vectors:
    random = np.random.default_rng(0)
    centres = random.standard_normal((max(8, rows // 150), DIM), np.float32)
    vectors = centres[random.integers(0, len(centres), rows)]
    vectors += 0.9 * random.standard_normal((rows, DIM), np.float32)
    copies = random.choice(rows, rows // 4, replace=False)
    sources = vectors[random.integers(0, rows, len(copies))]
    noise = random.standard_normal((len(copies), DIM), np.float32)
    vectors[copies] = sources + 0.5 * random.random((len(copies), 1)) * noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    # As stored: what is compared must be the same for all.
    return vectors.astype(np.float16).astype(np.float32)


def seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def pairs_left(vectors: Vectors, kept: npt.NDArray[np.int64]) -> tuple[int, int]:
    rows = kept
    if len(kept) > 100_000:
        rows = np.random.default_rng(1).choice(kept, 1000, replace=False)
    units = vectors[kept] / np.linalg.norm(vectors[kept], axis=1, keepdims=True)
    position = np.searchsorted(kept, rows)
    left = 0
    for start in range(0, len(rows), 500):
        mine = position[start : start + 500]
        products = units[mine] @ units.T
        products[np.arange(len(mine)), mine] = 0
        left += int((products > 1 - EPSILON + 1e-6).sum())
    return (left // 2 if len(rows) == len(kept) else left), len(rows)


def by_winnow(vectors: Vectors, folder: Path, scope: str) -> npt.NDArray[np.int64]:
    import winnow
    from winnow.reports.run_view import RunView

    (folder / "pool").mkdir()
    for number, start in enumerate(range(0, len(vectors), 100_000)):
        part = vectors[start : start + 100_000]
        flat = pa.array(part.ravel())
        table = pa.table(
            {
                "uid": [f"{start + i:08d}" for i in range(len(part))],
                "vector": pa.FixedSizeListArray.from_arrays(flat, DIM),
            }
        )
        pq.write_table(table, folder / f"pool/{number:03d}.parquet")
    columns = {"uid": "uid", "image": None, "text": None}
    result = winnow.run(
        {
            "input": {"path": str(folder / "pool"), "columns": columns},
            "output": {"path": str(folder / "run"), "report": False},
            "steps": ["embed", "cluster", "semantic", "apply"],
            "embed": {"modalities": ["image"], "image_column": "vector"},
            "semantic": {"epsilon": EPSILON, "scope": scope},
        }
    )
    took = {step.step: step.seconds for step in result.steps}
    told = f"  cluster {took['cluster']:.1f} s, semantic {took['semantic']:.1f} s"
    (semantic,) = (m for m in RunView(result.path).markers if m.step == "semantic")
    if "probe_recall" in semantic.facts:
        told += (
            "; margin {probe_margin}, recall {probe_recall:.4f} of {probe_pairs} pairs"
        )
    print(told.format(**semantic.facts))
    ledger = pq.read_table(folder / "run/ledger/step=semantic", columns=["uid", "keep"])
    kept = ledger.filter(ledger["keep"])["uid"].to_pylist()
    return np.sort(np.array([int(uid) for uid in kept]))


def by_semhash(vectors: Vectors, folder: Path) -> npt.NDArray[np.int64]:
    from semhash import SemHash

    records = [str(number) for number in range(len(vectors))]
    index = SemHash.from_embeddings(vectors, records, model=None)
    kept = index.self_deduplicate(threshold=1 - EPSILON).selected
    return np.sort(np.array([int(record) for record in kept]))


JOBS: dict[str, Job] = {
    "Winnow, scope: cluster": lambda vectors, folder: by_winnow(
        vectors, folder, "cluster"
    ),
    "Winnow, scope: pool": lambda vectors, folder: by_winnow(vectors, folder, "pool"),
    "SemHash": by_semhash,
}


if __name__ == "__main__":
    main()
