"""A real lake with known containments: 853 tables by four writers."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from winnow.lake.compare.content import verify_edges
from winnow.lake.compare.sample import sample_edges
from winnow.lake.kernels.table_sketch import Sizes


@pytest.mark.slow
@pytest.mark.shared
def test_exactly_the_known_containments_are_found(
    shared: Path, open_lake: Callable[..., Any]
) -> None:
    folder = shared / "data" / "lake"
    with open(folder / "gold_edges.csv") as lines:
        gold = {(row["child"], row["parent"]): row for row in csv.DictReader(lines)}
    lake = open_lake(folder, ignored=["rownames"])

    # Without any pruning: each of the schema edges is compared row by row.
    whole = verify_edges(lake.engine, lake.tables, lake.edges)
    contained = whole.contained(False)
    pairs = [
        (lake.names[child], lake.names[parent])
        for child, parent in zip(*lake.edges, strict=True)
    ]
    assert {pair for pair, held in zip(pairs, contained, strict=True) if held} == set(
        gold
    )
    for i in np.flatnonzero(contained):
        assert whole.distinct[i] == int(gold[pairs[i]]["child_distinct_rows"])

    # Sketches and samples refute nothing of it, and leave little to compare.
    sketches = lake.sketches(Sizes(256, 1000, 0))
    kept = sketches.refute(lake.tables, lake.edges).missing == 0
    assert not (contained & ~kept).any()
    assert kept.sum() < 150
    left = np.flatnonzero(kept)
    sampled = sample_edges(lake.engine, lake.tables, sketches, lake.edges.take(left))
    assert not (contained[left] & ~sampled.contained(False)).any()
    exact = sampled.exact
    assert sampled.missing[exact].tolist() == whole.missing[left[exact]].tolist()
    assert sampled.matched[exact].tolist() == whole.matched[left[exact]].tolist()
