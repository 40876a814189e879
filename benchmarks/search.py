"""Search under conditions: Winnow's index of vectors beside bare FAISS, in one process.

    python benchmarks/search.py [ROWS] [--bits 8]

Vectors of 256 numbers as `semantic_pool.py` makes them. For each part of the rows that
a condition lets pass (drawn at random), 200 rows of the pool are asked for their ten
nearest: recall against all products, median and 95th percentile of one question, and
CPU time. Winnow's answer has exact cosines and names; bare FAISS is `IndexIVFFlat` with
as many lists, probes for about the same recall at 1, and an `IDSelectorBitmap`, which
is what one would write first. The first question under a condition pays for the mask.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from figures import record
from semantic_pool import DIM, make_pool
from winnow.indexes.vector_index import VectorIndex
from winnow.models.inverted_lists import Passing
from winnow.search.run_vectors import add_vectors
from winnow.steps.nearest_vectors import NearestVectors

K, QUESTIONS, PROBES = 10, 200, 64
SHARES = (1.0, 0.1, 0.01, 0.001)
Ids = npt.NDArray[np.int64]
Ask = Callable[[npt.NDArray[np.float32]], Ids]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--bits", type=int, choices=(4, 6, 8, 16), default=8)
    given = parser.parse_args()
    vectors = make_pool(given.rows)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        index = stored(Path(folder, "index"), vectors)
        print(f"stored {given.rows:,} × {DIM}: {time.process_time() - begun:.1f} CPU s")
        nearest = NearestVectors(index, given.bits)
        begun = time.process_time()
        nearest.near(vectors[0], K)
        print(f"first question, lists made: {time.process_time() - begun:.1f} CPU s")
        size = sum(f.stat().st_size for f in Path(folder).rglob("lists/*"))
        print(f"lists: {size / 2**20:,.0f} MiB of {given.bits} bits a number")
        compare(nearest, bare(vectors), vectors)


def compare(
    nearest: NearestVectors, flat: faiss.IndexIVFFlat, vectors: npt.NDArray[np.float32]
) -> None:
    random = np.random.default_rng(5)
    questions = vectors[random.choice(len(vectors), QUESTIONS, replace=False)]
    for share in SHARES:
        mask = random.random(len(vectors)) < share
        rows = np.flatnonzero(mask)
        right = exact(vectors, rows, questions)
        passing = [Passing(mask)] if share < 1 else None

        def ours(question: npt.NDArray[np.float32], passing=passing) -> Ids:
            return np.array([int(n.uid) for n in nearest.near(question, K, passing)])

        chosen = {"sel": faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))}
        how = faiss.SearchParametersIVF(nprobe=PROBES, **(chosen if share < 1 else {}))

        def plain(question: npt.NDArray[np.float32], how=how) -> Ids:
            return flat.search(question[None], K, params=how)[1][0]

        (recall, cpu), (_, bare_cpu) = (
            measure(name, share, ask, questions, right)
            for name, ask in (("Winnow", ours), ("FAISS", plain))
        )
        where = f"search, {share:.1%} of {len(vectors):,} rows pass"
        record(f"{where}: recall@{K}", recall, asked=">= 0.98")
        name = f"{where}: bare IVF with a bitmap / Winnow"
        record(name, bare_cpu / cpu, larger_is_better=True)


def measure(
    name: str,
    share: float,
    ask: Ask,
    questions: npt.NDArray[np.float32],
    right: list[set[int]],
) -> tuple[float, float]:
    begun = time.perf_counter()
    ask(questions[0])
    first = time.perf_counter() - begun
    seconds, met, cpu = [], 0, time.process_time()
    for question, nearest in zip(questions, right, strict=True):
        begun = time.perf_counter()
        answer = ask(question)
        seconds.append(time.perf_counter() - begun)
        met += len(nearest & set(answer.tolist()))
    cpu = time.process_time() - cpu
    of = sum(map(len, right))
    print(
        f"  {name:7s} {share:6.1%} pass  recall@{K} {met / of:.4f}  "
        f"median {1e3 * np.median(seconds):6.1f} ms  "
        f"p95 {1e3 * np.quantile(seconds, 0.95):6.1f} ms  "
        f"first {1e3 * first:6.1f} ms  CPU {1e3 * cpu / len(questions):6.1f} ms",
        flush=True,
    )
    return met / of, cpu


def exact(
    vectors: npt.NDArray[np.float32], rows: Ids, questions: npt.NDArray[np.float32]
) -> list[set[int]]:
    merge = faiss.ResultHeap(len(questions), K, keep_max=True)
    for start in range(0, len(rows), 100_000):
        part = rows[start : start + 100_000]
        scores, ids = faiss.knn(
            questions, vectors[part], min(K, len(part)), faiss.METRIC_INNER_PRODUCT
        )
        merge.add_result(scores, part[ids])
    merge.finalize()
    return [set(row.tolist()) for row in merge.I]


def stored(path: Path, vectors: npt.NDArray[np.float32]) -> VectorIndex:
    names = pa.array([f"{i:08d}" for i in range(len(vectors))])
    index = VectorIndex.create(path, {}, {"uid": "uid"})
    add_vectors(index, iter([(names, vectors.astype(np.float16))]))
    return VectorIndex(path)


def bare(vectors: npt.NDArray[np.float32]) -> faiss.IndexIVFFlat:
    lists = round(len(vectors) ** 0.5)
    coarse = faiss.IndexFlatIP(DIM)
    index = faiss.IndexIVFFlat(coarse, DIM, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid, index.cp.niter = 1, 10
    index.train(vectors[:: max(1, len(vectors) // (64 * lists))])
    index.add(vectors)
    return index


if __name__ == "__main__":
    main()
