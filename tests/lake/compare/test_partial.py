"""Near containments are suggested and counted exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from winnow.config.lake import PartialConfig
from winnow.lake.compare.partial import candidates, measure
from winnow.lake.kernels.table_sketch import Sizes

SIZES = Sizes(column=256, row=200, num_perm=128)


def events(rows: int, start: int = 0) -> pa.Table:
    keys = np.arange(start, start + rows)
    return pa.table(
        {"id": keys, "kind": keys % 7, "place": [f"p{k * 31 % 97}" for k in keys]}
    )


@pytest.mark.parametrize("rows", [150, 4000])
def test_near_containments_are_found_and_their_share_is_exact(
    tmp_path: Path,
    open_lake: Callable[..., Any],
    write_lake: Callable[..., Path],
    rows: int,
) -> None:
    parent = events(rows)
    lag = rows // 50
    tables = {
        "parent": parent,
        # The same columns, 2 % newer rows; fewer columns and rows, 4 % of them newer.
        "later": events(rows, start=lag),
        "narrow": events(rows // 2, start=rows // 2 + lag).select(["id", "place"]),
        "unlike": events(rows, start=10 * rows),
    }
    write_lake(tmp_path / "lake", tables)
    lake = open_lake(tmp_path / "lake")
    sketches = lake.sketches(SIZES)
    chosen = candidates(lake.tables, sketches, lake.edges, PartialConfig())
    edges = lake.edges.take(chosen)
    measured = measure(lake.engine, lake.tables, sketches, edges, 0.9)
    shares = {
        (lake.names[c].partition(".")[0], lake.names[p].partition(".")[0]): share
        for c, p, share in zip(*edges, measured.containment(False), strict=True)
    }
    assert measured.exact.all()
    assert shares == {
        ("later", "parent"): 1 - lag / rows,
        ("parent", "later"): 1 - lag / rows,
        ("narrow", "parent"): 1 - lag / (rows // 2),
        ("narrow", "later"): 1.0,
    }


def test_a_sample_rules_out_what_is_far_below_the_threshold(
    tmp_path: Path, open_lake: Callable[..., Any], write_lake: Callable[..., Path]
) -> None:
    write_lake(tmp_path / "lake", {"a": events(2000), "b": events(2000, start=1000)})
    lake = open_lake(tmp_path / "lake")
    sketches = lake.sketches(SIZES)
    far = measure(lake.engine, lake.tables, sketches, lake.edges, 0.9)
    near = measure(lake.engine, lake.tables, sketches, lake.edges, 0.5)
    assert not far.exact.any()
    assert near.exact.all()
    assert near.containment(False).tolist() == [0.5, 0.5]


def test_tables_that_were_not_sketched_are_no_candidates(
    tmp_path: Path, open_lake: Callable[..., Any], write_lake: Callable[..., Path]
) -> None:
    write_lake(tmp_path / "lake", {"a": events(300), "b": events(300, start=1)})
    lake = open_lake(tmp_path / "lake")
    some = lake.edges.take(np.array([], np.int64))
    nothing = type(lake)(lake.tables, some, lake.engine).sketches(SIZES)
    assert not candidates(lake.tables, nothing, lake.edges, PartialConfig()).any()
    assert not candidates(lake.tables, nothing, some, PartialConfig()).size
