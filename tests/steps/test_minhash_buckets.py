"""Buckets by grouping where the rows are, against sorting on the driver."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.algorithms.dedup.banding import Buckets
from winnow.steps import minhash_buckets
from winnow.steps.minhash_buckets import TextSketches, find_buckets

from tests.examples import examples
from tests.stretches import StretchedEngine


def sets_of(buckets: Buckets) -> list[tuple[int, tuple[int, ...]]]:
    """Return (band, members) of every bucket, in no order of theirs."""
    assert len(buckets.bounds) == len(buckets.band) + 1
    sets = []
    for i, band in enumerate(buckets.band.tolist()):
        members = buckets.members[buckets.bounds[i] : buckets.bounds[i + 1]]
        assert len(members) > 1
        assert (np.diff(members.astype(np.int64)) > 0).all()
        sets.append((band, tuple(members.tolist())))
    return sorted(sets)


@given(
    rows=st.integers(0, 60),
    bands=st.integers(1, 5),
    digests=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
    calls=st.sampled_from([1, 4]),
)
@settings(max_examples=examples(15, 40))
def test_grouped_where_they_are_as_sorted_on_the_driver(
    tmp_path_factory: pytest.TempPathFactory,
    rows: int,
    bands: int,
    digests: int,
    seed: int,
    calls: int,
):
    """Few digests, so that bands share them too; some rows take no part."""
    rng = np.random.default_rng(seed)
    number = rng.permutation(2 * rows)[:rows]
    position = np.full(2 * rows, -1)
    position[number] = rng.permutation(rows)
    absent = rng.random(rows) < 0.2
    columns: dict[str, Any] = {
        "number": pa.array(number, pa.int64()),
        "state": pa.array(np.where(absent, "no_text", ""), pa.string()),
    }
    for band in range(bands):
        # Half of the rows agree in everything: a hot key.
        drawn = rng.integers(0, digests, rows).astype(np.uint64)
        columns[f"band_{band}"] = np.where(number % 2, drawn, 0) + np.uint64(2**63)
    buckets = []
    for bound, held in ((10**6, 2**28), (10**6, 900), (-1, 2**28)):
        folder = tmp_path_factory.mktemp("buckets")
        engine = StretchedEngine(folder, calls, driver_rows=bound, group_bytes=held)
        frame = engine.from_table(pa.table(columns))
        sketches = TextSketches(frame, bands, rows, position)
        buckets.append(find_buckets(engine, sketches, folder / "bands"))
    assert sets_of(buckets[0]) == sets_of(buckets[1]) == sets_of(buckets[2])


def test_more_memberships_than_one_driver_holds_are_refused(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(minhash_buckets, "MAX_MEMBERSHIPS", 9)
    same = {"number": range(10), "state": [""] * 10, "band_0": [1] * 10}
    table = pa.table(same).cast(
        pa.schema(
            [("number", pa.int64()), ("state", pa.string()), ("band_0", pa.uint64())]
        )
    )
    for bound in (10, 9):
        folder = tmp_path_factory.mktemp("b")
        engine = StretchedEngine(folder, 2, driver_rows=bound)
        sketches = TextSketches(engine.from_table(table), 1, 10, np.arange(10))
        with pytest.raises(Exception, match="more than 9 memberships"):
            find_buckets(engine, sketches, folder / "bands")
