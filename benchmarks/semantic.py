"""Semantic duplicates against the bare float32 matrix products they need.

100,000 float16 vectors of 256 numbers in 100 clusters, a tenth of them near copies.
Both sides run in one process and take turns; the ratio of each turn is what counts.
The products are `numpy.matmul` over the triangular tiles of every cluster, on vectors
that are float32 already; what `greedy` multiplies again is not counted as needed.

Usage: python benchmarks/semantic.py [ROWS CLUSTERS DIM TURNS]
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from figures import record
from winnow.algorithms.dedup.cluster import TILE, Cluster
from winnow.algorithms.dedup.semantic import best_earlier, select

EPSILON = 0.02


def make_cluster(random: np.random.Generator, rows: int, dim: int) -> npt.NDArray:
    vectors = random.standard_normal((rows, dim)) / 2 + random.standard_normal(dim)
    copies = random.choice(rows, rows // 10, replace=False)
    sources = random.integers(0, rows, len(copies))
    vectors[copies] = vectors[sources] + random.normal(0, 0.05, (len(copies), dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16)


def multiply(clusters: list[npt.NDArray]) -> None:
    height, width = TILE
    out = np.empty(height * width, np.float32)
    for vectors in clusters:
        for row in range(0, len(vectors), height):
            block = vectors[row : row + height]
            end = row + len(block) - 1
            for column in range(0, end, width):
                earlier = vectors[column : min(column + width, end)]
                product = out[: len(earlier) * len(block)]
                np.matmul(earlier, block.T, out=product.reshape(len(earlier), -1))


def deduplicate(clusters: list[npt.NDArray]) -> int:
    dropped = 0
    for vectors in clusters:
        cluster = Cluster(vectors)
        selection = select(cluster, best_earlier(cluster), EPSILON, "greedy")
        dropped += int((~selection.keep).sum())
    return dropped


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(rows: int, clusters: int, dim: int, turns: int) -> None:
    random = np.random.default_rng(0)
    halves = [make_cluster(random, rows // clusters, dim) for _ in range(clusters)]
    singles = [vectors.astype(np.float32) for vectors in halves]
    dropped = deduplicate(halves)
    multiply(singles)
    times = np.array(
        [
            (seconds(lambda: multiply(singles)), seconds(lambda: deduplicate(halves)))
            for _ in range(turns)
        ]
    )
    products, ours = np.median(times, axis=0)
    ratio = np.median(times[:, 1] / times[:, 0])
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "all")
    print(f"{rows:,} × {dim} in {clusters} clusters, {dropped:,} duplicates dropped")
    print(f"{os.cpu_count()} cores, BLAS threads: {threads}, {turns} turns, medians")
    print(f"bare products         {products:8.3f} s")
    print(f"best_earlier + select {ours:8.3f} s")
    print(f"ratio                 {ratio:8.2f}")
    record("semantic kernels / the products they need", ratio, asked="<= 1.5")


if __name__ == "__main__":
    main(*([int(word) for word in sys.argv[1:]] or [100_000, 100, 256, 21]))
