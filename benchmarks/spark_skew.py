"""Skewed pools on a cluster: how much memory a worker takes that holds no whole.

    python benchmarks/spark_skew.py [--rows 200000] [--dim 64] [--texts 200000]
        [--only blocks whole texts] [--work DIR]

A standalone cluster of two workers of one core; each run in a process of its own.

- vectors: one cluster with 60 % of the rows, in blocks (`engine.group_mb: 1`) and held
  whole by one worker (as long as it fits);
- texts: one bucket of all bands with so many members, and two thirds as many other
  texts; grouped by the workers (`engine.driver_rows: 0`).

Told: the peak resident memory of a Python worker, beside that of one that has only read
rows, and whether the ledger is the local engine's.
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

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

_SHARD_ROWS = 50_000
_WORDS = 40
_SETTINGS = {"spark.driver.memory": "1g", "spark.executor.memory": "600m"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--texts", type=int, default=200_000)
    parser.add_argument("--only", nargs="*", default=["blocks", "whole", "texts"])
    parser.add_argument("--work", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp(prefix="winnow-skew-"))
    if given.one:
        task, how, master = given.one
        print(json.dumps(measure(task, json.loads(how), master, work)))
        return
    work.mkdir(parents=True, exist_ok=True)
    from tests.cluster import SparkCluster

    shutil.rmtree(work / "cluster", ignore_errors=True)
    (work / "cluster").mkdir()
    cluster = SparkCluster(work / "cluster", memory="1200m")
    cluster.start(2)
    try:
        if {"blocks", "whole"} & {*given.only}:
            make_vectors(work / "vectors", given.rows, given.dim)
            tell_vectors(given, cluster.url, work)
        if "texts" in given.only:
            make_texts(work / "texts", given.texts)
            tell_texts(given, cluster.url, work)
    finally:
        cluster.close()
        if not given.work:
            shutil.rmtree(work)


def tell_vectors(given: argparse.Namespace, master: str, work: Path) -> None:
    local = run_local("vectors", work)
    held = int(0.6 * given.rows) * given.dim * 2 / 2**20
    print(f"{given.rows:,} vectors of {given.dim}; one cluster of 60 %: {held:.0f} MB")
    for told, engine in (("blocks", {"group_mb": 1}), ("whole", {"group_mb": 4096})):
        if told not in given.only:
            continue
        found = run("vectors", {"name": "spark", **engine}, master, work)
        tell(told, "semantic", found, local)


def tell_texts(given: argparse.Namespace, master: str, work: Path) -> None:
    local = run_local("texts", work)
    # 128 values of 32 bits each.
    sketches = given.texts * 512 / 2**20
    print(f"one bucket of {given.texts:,} texts: {sketches:.0f} MB of sketches")
    found = run("texts", {"name": "spark", "driver_rows": 0}, master, work)
    tell("workers", "minhash", found, local)


def tell(told: str, step: str, found: dict[str, Any], local: dict[str, Any]) -> None:
    same = "same ledger" if found["ledger"] == local["ledger"] else "ANOTHER LEDGER"
    peak, seconds = found["peak"], found["seconds"]
    print(
        f"  {told:<8} {step}: {peak[step]:.0f} MB a worker (reading: "
        f"{peak['index']:.0f}), {seconds[step]:.0f} s, {same}",
        flush=True,
    )


def run_local(task: str, work: Path) -> dict[str, Any]:
    """Run on the local engine, once for a folder."""
    told = work / f"local-{task}.json"
    if not told.exists():
        told.write_text(json.dumps(run(task, {"name": "local"}, "local", work)))
    return dict(json.loads(told.read_text()))


def run(task: str, engine: dict[str, Any], master: str, work: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", task, json.dumps(engine), master]
    found = subprocess.run(
        [*command, "--work", str(work)], check=True, stdout=subprocess.PIPE, text=True
    )
    return dict(json.loads(found.stdout.splitlines()[-1]))


_RECIPES: dict[str, dict[str, Any]] = {
    "vectors": {
        "input": {"columns": {"uid": "uid", "image": None, "text": None}},
        "steps": ["embed", "cluster", "semantic"],
        "embed": {"modalities": ["image"], "image_column": "vector"},
        "cluster": {"k": 2},
        "semantic": {"epsilon": 0.05},
    },
    "texts": {
        "input": {"columns": {"uid": "uid", "image": None, "text": "text"}},
        "steps": ["minhash"],
        "minhash": {"allow_large_clusters": True},
    },
}


def measure(
    task: str, engine: dict[str, Any], master: str, work: Path
) -> dict[str, Any]:
    """Return seconds, workers' peak memory by step, and the ledger's digest."""
    import winnow
    from spark import open_session

    out = work / "run"
    shutil.rmtree(out, ignore_errors=True)
    recipe = {
        **_RECIPES[task],
        "engine": engine,
        "output": {"path": str(out), "report": False},
    }
    recipe["input"] = {**recipe["input"], "path": str(work / task)}
    session = None if master == "local" else open_session(master, _SETTINGS)
    peaks = {} if session is None else _peaks()
    begun = time.perf_counter()
    result = winnow.run(recipe, spark=session)
    seconds = time.perf_counter() - begun
    if session is not None:
        session.stop()
    return {
        "peak": peaks,
        "seconds": {"all": seconds, **{m.step: m.seconds for m in result.steps}},
        "ledger": _digest(out / "ledger"),
    }


def _peaks() -> dict[str, float]:
    """Return a mapping that gets each step's peak of its Python workers alone."""
    from winnow.engines.spark.engine import SparkEngine

    peaks: dict[str, float] = {}
    label, peak = SparkEngine.label, SparkEngine.peak_rss_mb
    current = [""]

    def labelled(self: SparkEngine, step: str) -> None:
        current[0] = step
        label(self, step)

    def told(self: SparkEngine) -> float:
        peaks[current[0]] = peak(self)
        return peaks[current[0]]

    SparkEngine.label, SparkEngine.peak_rss_mb = labelled, told  # type: ignore
    return peaks


def _digest(ledger: Path) -> str:
    import hashlib

    total = hashlib.sha256()
    for step in sorted(ledger.iterdir()):
        files = sorted(step.glob("*.parquet"))
        table = pa.concat_tables([pq.ParquetFile(file).read() for file in files])
        for row in table.sort_by("uid").to_pylist():
            total.update(repr(sorted(row.items())).encode())
    return total.hexdigest()


def make_vectors(folder: Path, rows: int, dim: int) -> None:
    """Write unit vectors around two opposite centres, 60 % at one, a tenth copies."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    centre = rng.standard_normal(dim, dtype=np.float32)
    for start in range(0, rows, _SHARD_ROWS):
        size = min(_SHARD_ROWS, rows - start)
        side = np.where(np.arange(size) < 0.6 * size, 1, -1).astype(np.float32)
        noise = rng.standard_normal((size, dim), dtype=np.float32)
        vectors = side[:, None] * centre + noise
        copies = rng.permutation(size // 2)[: size // 10]
        vectors[copies] = vectors[copies - 1] + 0.02 * noise[copies]
        uids = [
            f"{n * 0x9E3779B97F4A7C15 % 2**128:032x}"
            for n in range(start, start + size)
        ]
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim)
        table = pa.table({"uid": uids, "vector": column})
        pq.write_table(table, folder / f"{start:09d}.parquet", row_group_size=10_000)


def make_texts(folder: Path, members: int) -> None:
    """Write so many copies of one text, and two thirds as many others, mixed."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = members + 2 * members // 3
    common = rng.permutation(rows) < members
    shown = " ".join(f"w{n}" for n in rng.integers(0, 10**6, _WORDS))
    for start in range(0, rows, _SHARD_ROWS):
        size = min(_SHARD_ROWS, rows - start)
        others = rng.integers(0, 10**6, (size, _WORDS))
        texts = [
            shown if common[start + i] else " ".join(f"w{n}" for n in others[i])
            for i in range(size)
        ]
        uids = [f"{n:012d}" for n in range(start, start + size)]
        table = pa.table({"uid": uids, "text": texts})
        pq.write_table(table, folder / f"{start:09d}.parquet", row_group_size=10_000)


if __name__ == "__main__":
    main()
