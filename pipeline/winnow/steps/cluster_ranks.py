"""Rows ranked within their clusters, of which no worker has to hold one whole.

The rows of all clusters are sorted as one; what a worker has of a cluster begins where
the stretches before it end. Sums are of integers: exact, in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.engine import Engine, Frame
from winnow.core.hashing import keys
from winnow.core.schemas import CLUSTERS
from winnow.core.task import current_task
from winnow.steps.contract import Context

#: More clusters than any pool asks for; their statistics live on the driver.
MAX_CLUSTERS = 5_000_000

Keep = Literal["hard", "easy", "random"]

#: A row's place among the rows of its cluster: rank 0 is the first to keep.
RANKED = pa.schema(
    [
        CLUSTERS.field("uid"),
        CLUSTERS.field("cluster"),
        ("value", pa.float64()),
        ("rank", pa.int64()),
    ]
)
_VALUED = RANKED.remove(3)
_ORDERED = pa.schema(
    [*_VALUED, ("key", pa.float64()), ("high", pa.int64()), ("low", pa.int64())]
)
_PLACED = pa.schema([*_VALUED, ("piece", pa.int64()), ("place", pa.int64())])
#: Columns of the statistics: cluster, size and mean distance.
STATISTICS = pa.schema(
    [CLUSTERS.field("cluster"), ("size", pa.int64()), ("mean", pa.float64())]
)
# 1 − cosine is a multiple of 2⁻⁵³: below 1/2, cosines are no coarser than that, and
# above it the difference is. Its high and low bits are added apart, each in 64 bits.
_UNITS, _LOW_BITS = 53, 27
_TASK_BITS = 24


def rank_in_clusters(context: Context, keep: Keep) -> tuple[Frame, pa.Table]:
    """Return RANKED rows that entered the step, and STATISTICS of their clusters.

    Ranks are by distance (`hard` the largest first, `easy` the smallest) or by a
    uniform number of the uid's hash, which is then the value; ties by uid.
    """
    engine = context.engine
    members = engine.join(
        context.scan("clusters"),
        engine.select(context.samples, {"uid": "uid"}),
        "uid",
        "semi",
    )
    kernel = partial(value_rows, keep=keep, salt=f"{context.seed}:{context.step}")
    valued = engine.map_batches(members, kernel, _ORDERED)
    return rank_rows(engine, valued), _statistics(engine, valued)


def value_rows(
    batches: Iterator[pa.RecordBatch], *, keep: Keep, salt: str
) -> Iterator[pa.RecordBatch]:
    """Yield what rows are ordered by, ascending, and what adds up to their mean."""
    for batch in batches:
        distance = batch.column("distance").to_numpy()
        value = distance
        if keep == "random":
            value = uniform(batch.column("uid").to_pylist(), salt)
        units = np.rint(np.ldexp(distance, _UNITS)).astype(np.int64)
        columns = [
            batch.column("uid"),
            batch.column("cluster"),
            pa.array(value),
            pa.array(0.0 - value if keep == "hard" else value),
            pa.array(units >> _LOW_BITS),
            pa.array(units & ((1 << _LOW_BITS) - 1)),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=_ORDERED)


def uniform(uids: list[str], salt: str) -> npt.NDArray[np.float64]:
    """Return a number in [0, 1) for each uid, by hash."""
    return (keys(uids, salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def rank_rows(engine: Engine, valued: Frame) -> Frame:
    """Sort all rows; count each stretch's rows of a cluster; add what came before."""
    wanted = {name: name for name in (*_VALUED.names, "key")}
    placed = engine.map_batches(
        engine.select(valued, wanted),
        place_rows,
        _PLACED,
        order_by=("cluster", "key", "uid"),
    )
    counted = engine.aggregate(placed, "piece", {"rows": ("piece", "count")})
    table = engine.collect(counted, MAX_CLUSTERS + 2**_TASK_BITS).sort_by("piece")
    piece, rows = table["piece"].to_numpy(), table["rows"].to_numpy()
    before = np.cumsum(rows) - rows
    cluster = piece >> _TASK_BITS
    before -= before[np.searchsorted(cluster, cluster)]
    # No more than there are borders between stretches.
    later = before > 0
    kernel = partial(add_before, piece=piece[later], before=before[later])
    return engine.map_batches(placed, kernel, RANKED)


def place_rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Number the sorted rows of each cluster from 0 on."""
    last, passed = -1, 0
    for batch in batches:
        cluster = batch.column("cluster").to_numpy().astype(np.int64)
        start = np.searchsorted(cluster, cluster)
        rank = np.arange(len(batch)) - start
        if cluster[0] == last:
            rank[start == 0] += passed
        last, passed = int(cluster[-1]), int(rank[-1]) + 1
        columns = [
            *(batch.column(name) for name in _VALUED.names),
            pa.array((cluster << _TASK_BITS) + current_task().number),
            pa.array(rank),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=_PLACED)


def add_before(
    batches: Iterator[pa.RecordBatch],
    *,
    piece: npt.NDArray[np.int64],
    before: npt.NDArray[np.int64],
) -> Iterator[pa.RecordBatch]:
    """Add to each row's place the rows of its cluster in the stretches before."""
    for batch in batches:
        rank = batch.column("place").to_numpy()
        if len(piece):
            mine = batch.column("piece").to_numpy()
            position = np.minimum(np.searchsorted(piece, mine), len(piece) - 1)
            rank = rank + np.where(piece[position] == mine, before[position], 0)
        columns = [*(batch.column(name) for name in _VALUED.names), pa.array(rank)]
        yield pa.RecordBatch.from_arrays(columns, schema=RANKED)


def _statistics(engine: Engine, valued: Frame) -> pa.Table:
    """Return STATISTICS of the clusters that rows entered from, by id."""
    sums = engine.aggregate(
        valued,
        "cluster",
        {"size": ("uid", "count"), "high": ("high", "sum"), "low": ("low", "sum")},
    )
    table = engine.collect(sums, MAX_CLUSTERS).sort_by("cluster")
    size, high, low = (table[name].to_pylist() for name in ("size", "high", "low"))
    # Integers of any size divide to the nearest float64.
    mean = [
        ((h << _LOW_BITS) + rest) / (n << _UNITS)
        for h, rest, n in zip(high, low, size, strict=True)
    ]
    return pa.table([table["cluster"], table["size"], mean], schema=STATISTICS)
