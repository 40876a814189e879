"""The model that says when pruning pays, as rows and curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pyarrow as pa

from winnow.handles.rows import ArrowRows


def teacher_student(
    alphas: Sequence[float],
    pruned: Sequence[tuple[float, Literal["hard", "easy"]]] = ((1.0, "hard"),),
    *,
    students: int = 0,
    dimensions: int = 100,
) -> ArrowRows:
    """Return how well a perceptron learns from a pruned pool (arXiv 2206.14486).

    alphas: kept samples for each dimension, above 0.
    pruned: pairs of the share of the pool that is kept, above 0 and up to 1, and which
        samples these are: nearest to the teacher's boundary (`hard`) or farthest.
    students: simulated trainings of each; 0: theory alone, two or more otherwise.
    dimensions: of the simulated inputs; theory is the limit of many.

    A row for each: `alpha`, `pool` (samples for each dimension before pruning),
    `pruning`, `theory` (the error on fresh inputs, 0 to 0.5) and, of simulations, the
    mean error `simulated` with its standard error `spread`. Raises ConfigError for a
    share or an alpha that cannot be.

    >>> rows = winnow.teacher_student([1, 4], [(1.0, "hard"), (0.2, "hard")])
    >>> [round(row["theory"], 3) for row in rows]
    [0.266, 0.114, 0.418, 0.025]
    """
    from winnow.algorithms.prune.teacher_student import compare

    rows = compare(alphas, pruned, students=students, dimensions=dimensions)
    return ArrowRows.of(pa.Table.from_pylist(rows))
