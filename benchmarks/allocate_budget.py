"""Exact budget allocation against OSQP, the solver that DBP's released code calls.

Both solve min ½‖x − N·P‖² with Σx = N and lb ≤ x ≤ M, in one process and in turns.
`allocate_budget` also rounds to whole rows that sum to N; OSQP's x is not rounded.

Usage: python benchmarks/allocate_budget.py
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import osqp
from figures import record
from scipy import sparse
from winnow.algorithms.prune.complexity import allocate_budget, continuous_allocation

TURNS = 7


def make_problem(k: int) -> tuple[npt.NDArray, npt.NDArray, int]:
    random = np.random.default_rng(k)
    sizes = random.integers(1, 2_000, k)
    return sizes, random.uniform(0.05, 0.6, k), int(sizes.sum() * 0.3)


def by_osqp(sizes: npt.NDArray, complexities: npt.NDArray, budget: int) -> npt.NDArray:
    k = len(sizes)
    weights = np.exp((complexities - complexities.max()) / 0.1)
    target = budget * weights / weights.sum()
    lower = np.minimum(1, sizes - 1)
    solver = osqp.OSQP()
    solver.setup(
        sparse.identity(k, format="csc"),
        -target,
        sparse.vstack([np.ones((1, k)), sparse.identity(k)], format="csc"),
        np.concatenate([[budget], lower]),
        np.concatenate([[budget], sizes]),
        verbose=False,
        eps_abs=1e-6,
        eps_rel=1e-6,
        max_iter=100_000,
    )
    return solver.solve().x


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    print(f"{os.cpu_count()} cores, {TURNS} turns, medians")
    print(f"{'clusters':>9} {'ours ms':>9} {'OSQP ms':>9} {'ratio':>7} {'max |Δx|':>9}")
    for k in (1_000, 10_000, 100_000):
        problem = make_problem(k)
        ours = [seconds(partial(allocate_budget, *problem)) for _ in range(TURNS)]
        row = f"{k:9,} {1e3 * np.median(ours):9.2f}"
        if k <= 1_000:
            theirs = [seconds(partial(by_osqp, *problem)) for _ in range(TURNS)]
            ratio = np.median(np.array(theirs) / np.array(ours))
            gap = np.abs(by_osqp(*problem) - continuous_allocation(*problem)).max()
            row += f" {1e3 * np.median(theirs):9.2f} {ratio:6.0f}× {gap:9.1e}"
            record("budget of 1,000 clusters: OSQP / Winnow", ratio, asked=">= 1")
        print(row)


if __name__ == "__main__":
    main()
