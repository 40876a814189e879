"""Steps over ready vectors beside the least that their work could take on this machine.

    python benchmarks/limits.py [--rows 200000] [--rounds 3] [--work DIR]

In turns, in one process, over the pool of `benchmarks/scale.py`:

- `embed` against reading the same two columns of vectors with pyarrow and writing them
  plain, and against copying the pool's files byte by byte;
- `cluster` against FAISS: its k-means with the same rows, iterations and seed, and its
  flat index asked for every row's nearest centroid; both as they are called within the
  step, and the step as a whole;
- `semantic`, within clusters, against `numpy.matmul` over the same clusters' triangles;
- `apply` against reading the pool with pyarrow and writing as many rows as are kept.

CPU seconds, so that other work on the machine counts less; its load is printed. Ratios
within a round, medians over rounds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import winnow
from winnow.core import meter
from winnow.steps import cluster

sys.path.insert(0, str(Path(__file__).parent))
import semantic
from figures import record
from scale import make_pool

DIM = 256
SEED = 0
CALLED = ("train_kmeans", "nearest_centroid")
VECTORS = ("image_vector", "text_vector")
RECIPE = {
    "steps": ["embed", "cluster", "semantic", "apply"],
    "embed": {"image_column": "image_vector", "text_column": "text_vector"},
    "semantic": {"epsilon": 0.05, "scope": "cluster"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp(prefix="winnow-limits-"))
    pool = work / f"pool-{given.rows}"
    if not pool.is_dir():
        make_pool(pool, given.rows, DIM)
    print(f"{given.rows:,} × {DIM}, load {os.getloadavg()[0]:.1f}, CPU seconds")
    rounds = [measured(pool, work) for _ in range(given.rounds)]
    for name in rounds[0]:
        ours = statistics.median(each[name][0] for each in rounds)
        bare = statistics.median(each[name][1] for each in rounds)
        ratio = statistics.median(each[name][0] / each[name][1] for each in rounds)
        print(f"{name:<52}{ours:8.2f} {bare:8.2f}  {ratio:5.2f}")
        record(name, ratio, asked=ASKED.get(name))
    if not given.work:
        shutil.rmtree(work)


EMBED = "embed / vectors read and written by pyarrow"
COPIED = "embed / files copied byte by byte"
KMEANS = "k-means and nearest centroids / FAISS's"
CLUSTER = "cluster, the whole step / FAISS's k-means and nearest centroids"
PRODUCTS = "semantic / its products"
APPLY = "apply / pool read and kept rows written by pyarrow"
ASKED = {EMBED: "<= 2", KMEANS: "<= 1.1", APPLY: "<= 2"}


def measured(pool: Path, work: Path) -> dict[str, tuple[float, float]]:
    """Return CPU seconds of Winnow and of the bare work, by name."""
    out = work / "run"
    shutil.rmtree(out, ignore_errors=True)
    ours = steps(pool, out)
    copied = cpu(lambda: copy(pool, work / "copied"))
    vectors = list(read(pool, ["uid", *VECTORS]))
    plain = cpu(lambda: write(read(pool, ["uid", *VECTORS]), work / "plain.parquet"))
    matrix = np.concatenate([each["image_vector"] for each in map(matrices, vectors)])
    clusters, products = bare_clusters(matrix.astype(np.float32))
    share = sum(map(len, read(out / "kept", ["uid"]))) / len(matrix)
    kept = cpu(lambda: write(share_of(read(pool, None), share), work / "plain.parquet"))
    return {
        EMBED: (ours["embed"], plain),
        COPIED: (ours["embed"], copied),
        KMEANS: (ours["train_kmeans"] + ours["nearest_centroid"], clusters),
        CLUSTER: (ours["cluster"], clusters),
        PRODUCTS: (ours["semantic"], products),
        APPLY: (ours["apply"], kept),
    }


def steps(pool: Path, out: Path) -> dict[str, float]:
    """Run the recipe; return CPU seconds of each step, and of what `cluster` calls."""
    spent: list[float] = []
    called = dict.fromkeys(CALLED, 0.0)
    made, asked = meter.Meter.__init__, meter.Meter.read

    def begin(self: meter.Meter) -> None:
        self.cpu = time.process_time()  # type: ignore[attr-defined]
        made(self)

    def end(self: meter.Meter) -> tuple[float, float]:
        spent.append(time.process_time() - self.cpu)  # type: ignore[attr-defined]
        return asked(self)

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def work(*given: Any, **options: Any) -> Any:
            start = time.process_time()
            try:
                return call(*given, **options)
            finally:
                called[name] += time.process_time() - start

        return work

    calls = {name: getattr(cluster, name) for name in CALLED}
    meter.Meter.__init__, meter.Meter.read = begin, end  # type: ignore[method-assign]
    for name, call in calls.items():
        setattr(cluster, name, timed(name, call))
    try:
        columns = {"uid": "uid", "image": None, "text": None}
        recipe = {**RECIPE, "input": {"path": str(pool), "columns": columns}}
        result = winnow.run({**recipe, "output": {"path": str(out)}})
    finally:
        meter.Meter.__init__, meter.Meter.read = made, asked  # type: ignore[method-assign]
        for name, call in calls.items():
            setattr(cluster, name, call)
    return called | dict(zip([step.step for step in result.steps], spent, strict=True))


def bare_clusters(vectors: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return CPU seconds of FAISS's clusters, and of the products within them."""
    k = round(len(vectors) ** 0.5)
    sample = vectors[np.random.default_rng(0).permutation(len(vectors))[: 256 * k]]
    nearest = np.empty(0)

    def cluster() -> None:
        nonlocal nearest
        kmeans = faiss.Kmeans(
            DIM, k, niter=20, spherical=True, max_points_per_centroid=256, seed=SEED
        )
        kmeans.train(sample)
        nearest = kmeans.index.search(vectors, 1)[1][:, 0]

    spent = cpu(cluster)
    order = np.argsort(nearest, kind="stable")
    ends = np.cumsum(np.bincount(nearest, minlength=k))[:-1]
    groups = np.split(vectors[order], ends)
    return spent, cpu(lambda: semantic.multiply(groups))


def read(folder: Path, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    yield from ds.dataset(folder).to_batches(columns=columns)


def share_of(
    batches: Iterator[pa.RecordBatch], share: float
) -> Iterator[pa.RecordBatch]:
    """Yield the first rows of each batch, such a share of them."""
    for batch in batches:
        yield batch.slice(0, round(len(batch) * share))


def write(batches: Iterator[pa.RecordBatch], file: Path) -> None:
    """Write batches without compression, dictionary or bounds."""
    writer = None
    for batch in batches:
        if writer is None:
            writer = pq.ParquetWriter(
                file,
                batch.schema,
                compression="none",
                use_dictionary=False,
                write_statistics=False,
            )
        writer.write_batch(batch)
    if writer:
        writer.close()


def copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=copy_bytes)


def copy_bytes(source: str, target: str) -> None:
    """Copy through this process, as a step must: the kernel alone would not read."""
    with open(source, "rb") as given, open(target, "wb") as taken:
        while block := given.read(1 << 22):
            taken.write(block)


def matrices(batch: pa.RecordBatch) -> dict[str, npt.NDArray[np.float16]]:
    return {
        name: batch.column(name).flatten().to_numpy().reshape(-1, DIM)
        for name in VECTORS
    }


def cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
