"""Rows that share a band: sorted where the driver is, or grouped where the rows are.

Up to `engine.driver_rows` rows, the digests of one band at a time come to the driver.
Above it, a digest's rows are counted by the workers, and only those of two rows or more
come: a star each, the bucket's first row and another one. A bucket is never gathered:
its first row is the least of what each worker finds, and joins each member where that
one is, so that a bucket that holds much of the pool is spread over the workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.algorithms.dedup import banding
from pipeline.algorithms.dedup.banding import Buckets
from pipeline.core.engine import Engine, Frame
from pipeline.core.errors import RunError
from pipeline.steps.sketching import jaccard_threads

#: Memberships of rows in buckets that one driver holds, 4 bytes each.
MAX_MEMBERSHIPS = 1_000_000_000

_DIGESTS = pa.schema([("number", pa.int64()), ("digest", pa.uint64())])
_SHARED = pa.schema([("digest", pa.uint64()), ("first", pa.int64())])


@dataclass(frozen=True)
class Sketches:
    """Digests of all rows, where the workers have them, and the rows' order.

    frame: `number`, `state` (empty for rows that take part), a column `band_i` for each
    band. position: a number's place in the order of preference. present: which places
    take part.
    """

    frame: Frame
    bands: int
    position: npt.NDArray[np.int64]
    present: npt.NDArray[np.bool_]


def find_buckets(engine: Engine, sketches: Sketches) -> Buckets:
    """Return the buckets of all bands.

    Raises RunError for more memberships than one driver holds.
    """
    if len(sketches.present) <= engine.driver_rows:
        found = _on_driver(engine, sketches)
    else:
        found = _on_workers(engine, sketches)
    parts: list[Buckets] = []
    for part in found:
        parts.append(part)
        if sum(len(p.members) for p in parts) > MAX_MEMBERSHIPS:
            raise RunError(
                f"minhash: more than {MAX_MEMBERSHIPS:,} memberships in buckets; set "
                "minhash.rows higher or minhash.bands lower"
            )
    return _joined(parts)


def _joined(parts: Sequence[Buckets]) -> Buckets:
    starts = np.cumsum([0, *(len(p.members) for p in parts)])
    bounds = [p.bounds[1:] + start for p, start in zip(parts, starts, strict=False)]
    return Buckets(
        np.concatenate([np.zeros(1, np.int64), *bounds]),
        np.concatenate([p.members for p in parts]),
        np.concatenate([p.band for p in parts]).astype(np.int16),
    )


def _on_driver(engine: Engine, sketches: Sketches) -> Iterator[Buckets]:
    """Sort digests, as many bands at a time as there are threads."""
    threads, bands = jaccard_threads(), sketches.bands
    for first in range(0, bands, threads):
        some = range(first, min(bands, first + threads))
        digests = collect_digests(engine, sketches, some)
        part = banding.buckets(digests, sketches.present, threads)
        yield part._replace(band=part.band + np.int16(first))


def collect_digests(
    engine: Engine, sketches: Sketches, bands: range
) -> npt.NDArray[np.uint64]:
    """Return the digests of some bands, `(rows, len(bands))`, by preference."""
    rows = len(sketches.present)
    out = np.empty((rows, len(bands)), dtype=np.uint64)
    for i, band in enumerate(bands):
        columns = {"number": "number", "digest": f"band_{band}"}
        table = engine.collect(engine.select(sketches.frame, columns), rows)
        place = sketches.position[table["number"].to_numpy()]
        out[place, i] = table["digest"].to_numpy()
    return out


def _on_workers(engine: Engine, sketches: Sketches) -> Iterator[Buckets]:
    """Group rows by digest, band by band; let only those of shared digests come."""
    rows = len(sketches.present)
    for band in range(sketches.bands):
        columns = {"number": "number", "state": "state", "digest": f"band_{band}"}
        whole = engine.select(sketches.frame, columns)
        digests = engine.map_batches(whole, only_present, _DIGESTS)
        groups = engine.aggregate(
            digests, "digest", {"rows": ("number", "count"), "first": ("number", "min")}
        )
        shared = engine.map_batches(groups, only_shared, _SHARED)
        stars = engine.select(
            engine.join(digests, shared, "digest", "inner"),
            {"number": "number", "first": "first"},
        )
        table = engine.collect(stars, rows)
        yield _of_stars(table, sketches.position, band)


def _of_stars(stars: pa.Table, position: npt.NDArray[np.int64], band: int) -> Buckets:
    """Return the buckets of one band by its stars: each member and its centre."""
    place = position[stars["number"].to_numpy()]
    bucket = stars["first"].to_numpy()
    order = np.lexsort((place, bucket))
    first = np.flatnonzero(np.diff(bucket[order], prepend=-1))
    return Buckets(
        np.append(first, len(order)).astype(np.int64),
        place[order].astype(np.uint32),
        np.full(len(first), band, np.int16),
    )


def only_present(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield number and digest of the rows that take part."""
    for batch in batches:
        there = batch.filter(pc.equal(batch.column("state"), ""))
        yield there.select(_DIGESTS.names)


def only_shared(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the digests that several rows have, and their least number."""
    for batch in batches:
        shared = batch.filter(pc.greater(batch.column("rows"), 1))
        yield shared.select(_SHARED.names)
