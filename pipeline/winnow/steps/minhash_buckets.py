"""Rows that share a band: sorted where the driver is, or grouped where the rows are.

Up to `engine.driver_rows` rows, the digests of one band at a time come to the driver,
of large pools some of its digests at a time (`engine.group_mb`). Above it, workers
count the rows of each digest, first each its own and then the sums, and let the rows of
shared digests alone through. No worker gathers a bucket: its rows are looked up where
they are, so that one that holds much of the pool, a hot key, is spread over the
workers. A number, a band and a digest come for each membership.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.dedup import banding
from winnow.algorithms.dedup.banding import Buckets
from winnow.algorithms.dedup.distinct_buckets import DistinctBuckets
from winnow.core.engine import Engine, Frame
from winnow.core.errors import RunError
from winnow.core.free_memory import give_back_memory
from winnow.steps.sketching import jaccard_threads

#: Memberships of rows in buckets that one driver holds, 4 bytes each.
MAX_MEMBERSHIPS = 1_000_000_000

_DIGESTS = pa.schema(
    [("number", pa.int64()), ("band", pa.int16()), ("digest", pa.uint64())]
)
_SHARED = pa.schema([("digest", pa.uint64())])
# 18 bytes a row and band while they are grouped, on the workers.
_BANDS_AT_ONCE = 8
# Of each row while the digests of one band are sorted.
_SORTED_BYTES = 64
# Digests that are brought to the driver at a time, beside those that are there.
_COLLECTED = 2**23


@dataclass(frozen=True)
class TextSketches:
    """Digests of all rows, where the workers have them, and the rows' order.

    frame: `number`, `state` (empty for rows that take part), a column `band_i` for each
    band. rows: how many. position: a number's place in the order of preference; None:
    buckets are of numbers.
    """

    frame: Frame
    bands: int
    rows: int
    position: npt.NDArray[Any] | None = None

    def ranks(self, table: pa.Table) -> npt.NDArray[Any]:
        """Return what buckets know the rows of a table with `number` by."""
        number: npt.NDArray[np.int64] = table["number"].to_numpy()
        return number if self.position is None else self.position[number]


def find_buckets(engine: Engine, sketches: TextSketches) -> Buckets:
    """Return the buckets of all bands, those of the same rows once, by the first band.

    Raises RunError for more memberships than one driver holds.
    """
    if sketches.rows <= engine.driver_rows:
        parts_of_bands = _on_driver(engine, sketches)
    else:
        parts_of_bands = _on_workers(engine, sketches)
    distinct = DistinctBuckets()
    for part in parts_of_bands:
        distinct.add(part)
        give_back_memory()
        if distinct.memberships > MAX_MEMBERSHIPS:
            raise RunError(
                f"minhash: more than {MAX_MEMBERSHIPS:,} memberships in buckets; set "
                "minhash.rows higher or minhash.bands lower"
            )
    return distinct.buckets()


def _on_driver(engine: Engine, sketches: TextSketches) -> Iterator[Buckets]:
    """Sort digests, as many at a time as are held beside what is there."""
    threads, bands = jaccard_threads(), sketches.bands
    pieces = max(1, -(-sketches.rows * _SORTED_BYTES // engine.group_bytes))
    # A job each on a cluster, whose cost small pools should pay once.
    at_once = 1 if pieces > 1 else max(1, _COLLECTED // max(1, sketches.rows))
    for first in range(0, bands, at_once):
        some = range(first, min(bands, first + at_once))
        names = [f"band_{band}" for band in some]
        columns = {name: name for name in ("number", "state", *names)}
        chosen = engine.select(sketches.frame, columns)
        schema = pa.schema([("number", pa.int64()), *((n, pa.uint64()) for n in names)])
        for piece in range(pieces):
            kernel = partial(in_piece, names=names, piece=piece, pieces=pieces)
            frame = engine.map_batches(chosen, kernel, schema)
            part = _sorted(engine.collect(frame, sketches.rows), sketches, threads)
            yield part._replace(band=part.band + np.int16(first))


def _sorted(table: pa.Table, sketches: TextSketches, threads: int) -> Buckets:
    """Return the buckets of rows with the digests of some bands."""
    ranks = sketches.ranks(table)
    # As it comes from one machine, by number.
    ascending = bool((ranks[1:] > ranks[:-1]).all())
    order = slice(None) if ascending else np.argsort(ranks)
    members: npt.NDArray[np.uint32] = ranks[order].astype(np.uint32)
    names = table.schema.names[1:]
    digests = np.empty((len(ranks), len(names)), np.uint64)
    for i, name in enumerate(names):
        digests[:, i] = table[name].to_numpy()[order]
    part = banding.buckets(digests, None, threads)
    return part._replace(members=members[part.members])


def in_piece(
    batches: Iterator[pa.RecordBatch], *, names: Sequence[str], piece: int, pieces: int
) -> Iterator[pa.RecordBatch]:
    """Keep rows that take part; of several pieces those whose digest falls in one."""
    for batch in batches:
        wanted = pc.equal(batch.column("state"), "")
        if pieces > 1:
            digests = batch.column(names[0]).to_numpy()
            wanted = pc.and_(wanted, pa.array(digests % np.uint64(pieces) == piece))
        yield batch.filter(wanted).select(["number", *names])


def collect_digests(
    engine: Engine, sketches: TextSketches, bands: range
) -> npt.NDArray[np.uint64]:
    """Return the digests of some bands, `(rows, len(bands))`, by preference."""
    rows = sketches.rows
    out = np.empty((rows, len(bands)), dtype=np.uint64)
    # A job each on a cluster, whose cost small pools should pay once.
    at_once = max(1, _COLLECTED // max(1, rows))
    for start in range(0, len(bands), at_once):
        names = [f"band_{band}" for band in bands[start : start + at_once]]
        chosen = engine.select(sketches.frame, {n: n for n in ("number", *names)})
        table = engine.collect(chosen, rows)
        rank = sketches.ranks(table)
        for i, name in enumerate(names, start):
            out[rank, i] = table[name].to_numpy()
    return out


def _on_workers(engine: Engine, sketches: TextSketches) -> Iterator[Buckets]:
    """Group rows by digest, some bands at a time; let those of shared digests come."""
    rows = sketches.rows
    for start in range(0, sketches.bands, _BANDS_AT_ONCE):
        bands = range(start, min(sketches.bands, start + _BANDS_AT_ONCE))
        names = ["number", "state", *(f"band_{band}" for band in bands)]
        digests = engine.map_batches(
            engine.select(sketches.frame, {name: name for name in names}),
            partial(each_band, bands=bands),
            _DIGESTS,
        )
        counts = engine.aggregate(digests, "digest", {"rows": ("number", "count")})
        shared = engine.map_batches(counts, only_shared, _SHARED)
        members = engine.join(digests, shared, "digest", "semi")
        yield _grouped(engine.collect(members, rows * len(bands)), sketches)


def _grouped(members: pa.Table, sketches: TextSketches) -> Buckets:
    """Return the buckets of some bands by the digest of each member.

    Should rows of two bands have the same digest, they still are two buckets here, or
    none where either has a single row.
    """
    rank = sketches.ranks(members)
    digest, band = members["digest"].to_numpy(), members["band"].to_numpy()
    order = np.lexsort((rank, digest, band))
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = np.diff(digest[order]) != 0
    fresh[1:] |= np.diff(band[order]) != 0
    starts = np.flatnonzero(fresh)
    sizes = np.diff(np.append(starts, len(order)))
    several = sizes > 1
    return Buckets(
        np.concatenate([[0], np.cumsum(sizes[several])]).astype(np.int64),
        rank[order][np.repeat(several, sizes)].astype(np.uint32),
        band[order][starts[several]].astype(np.int16),
    )


def each_band(
    batches: Iterator[pa.RecordBatch], *, bands: range
) -> Iterator[pa.RecordBatch]:
    """Yield number, band and digest of the rows that take part."""
    for batch in batches:
        there = batch.filter(pc.equal(batch.column("state"), ""))
        for band in bands:
            columns = [
                there.column("number"),
                pa.array(np.full(len(there), band, np.int16)),
                there.column(f"band_{band}"),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=_DIGESTS)


def only_shared(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the digests that several rows have."""
    for batch in batches:
        shared = batch.filter(pc.greater(batch.column("rows"), 1))
        yield shared.select(_SHARED.names)
