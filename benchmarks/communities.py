"""Communities around three seeds, planted in a graph: recall and time by order.

    python benchmarks/communities.py [--communities 400] [--seeds 3]

Communities of 50 vertices, each with 50 neighbours, half of them from 100 that its
community shares and half from all; an index of 500 bands of 2 hashes, as in the source.
Beside it the exact neighbourhoods: Jaccard similarities of the seeds to every vertex,
by a sparse product. CPU milliseconds are medians over 40 communities.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import winnow
from figures import record
from scipy.sparse import csr_array
from winnow.flows.communities import Growth, community

SIZE, SHARED, HALF = 50, 100, 25
SETTINGS = {"unit": "element", "num_perm": 1000, "bands": 500, "rows": 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--communities", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    neighbours = planted(options.communities)
    names = [f"v{row // SIZE:04d}_{row % SIZE:02d}" for row in range(len(neighbours))]
    with tempfile.TemporaryDirectory() as folder:
        file, index = Path(folder, "graph.parquet"), Path(folder, "index")
        lists = [[str(n) for n in row] for row in neighbours.tolist()]
        pq.write_table(pa.table({"uid": names, "text": lists}), file)
        winnow.index(file, index, set=SETTINGS)
        for order in ("similarity", "agglomerative", "pagerank"):
            measure(index, names, neighbours, order, options.seeds)


def planted(communities: int) -> Any:
    """Return the neighbours of each vertex, (vertices, 2 * HALF)."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(communities):
        own = number * SHARED + np.arange(SHARED)
        for _ in range(SIZE):
            far = random.choice(communities * SHARED, HALF, replace=False)
            near = random.choice(own, HALF, replace=False)
            rows.append(np.concatenate([near, far + communities * SHARED]))
    return np.array(rows)


def measure(
    index: Path, names: list[str], neighbours: Any, order: Any, seeds: int
) -> None:
    incidence = graph(neighbours)
    growth = Growth(order, size=SIZE - seeds)
    recalls, alike, ours, exactly = [], [], [], []
    for number in range(0, len(names) // SIZE, max(len(names) // SIZE // 40, 1)):
        first = number * SIZE
        begin = time.process_time()
        told = community(index, names[first : first + seeds], growth)
        ours.append(time.process_time() - begin)
        begin = time.process_time()
        best = nearest(incidence, np.arange(first, first + seeds), SIZE - seeds)
        exactly.append(time.process_time() - begin)
        members = {row["uid"] for row in told["rows"]}
        truth = set(names[first + seeds : first + SIZE])
        recalls.append(len(members & truth) / len(truth))
        alike.append(len(members & {names[row] for row in best}) / len(truth))
    name = f"communities by {order}: members met"
    record(name, float(np.mean(recalls)), larger_is_better=True)
    print(
        f"{order}: {np.mean(recalls):.3f} of the members, {np.mean(alike):.3f} of the "
        f"exact neighbourhood; {1000 * np.median(ours):.1f} CPU ms, exact "
        f"{1000 * np.median(exactly):.1f}",
        flush=True,
    )


def graph(neighbours: Any) -> Any:
    """Return vertices × neighbours, 1 where an edge is."""
    rows, width = neighbours.shape
    bounds = np.arange(0, rows * width + 1, width)
    ones = np.ones(rows * width, np.int32)
    return csr_array((ones, neighbours.ravel(), bounds))


def nearest(incidence: Any, seeds: Any, count: int) -> Any:
    """Return the vertices of the largest mean Jaccard similarity to the seeds."""
    both = (incidence[seeds] @ incidence.T).toarray()
    means = (both / (4 * HALF - both)).mean(axis=0)
    means[seeds] = -1
    return np.argsort(-means, kind="stable")[:count]


if __name__ == "__main__":
    sys.exit(main())
