"""Rows that share a band: sorted where the driver is, or grouped where the rows are.

Up to `engine.driver_rows` rows, the digests of one band at a time come to the driver,
of large pools in pieces by files, of which one is sorted at a time (`engine.group_mb`).
Above it, workers count the rows of each digest, first each its own and then the sums,
and let the rows of shared digests alone through. No worker gathers a bucket: its rows
are looked up where they are, so that one that holds much of the pool, a hot key, is
spread over the workers. A number, a band and a digest come for each membership.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
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
from winnow.core.task import current_task
from winnow.steps.sketching import jaccard_threads

#: Memberships of rows in buckets that one driver holds, 4 bytes each.
MAX_MEMBERSHIPS = 1_000_000_000

_DIGESTS = pa.schema(
    [("number", pa.int64()), ("band", pa.int16()), ("digest", pa.uint64())]
)
_SHARED = pa.schema([("digest", pa.uint64())])
# 18 bytes a row and band while they are grouped, on the workers.
_BANDS_AT_ONCE = 8
# Of each row while the digests of one band are sorted; and the part of
# `engine.group_mb` that they may take, beside the buckets that are there already.
_SORTED_BYTES, _SORTED_PART = 64, 4
_PIECE_ROW = np.dtype([("digest", np.uint64), ("number", np.uint32)])
_PIECES = pa.schema(
    [("task", pa.int64()), ("piece", pa.int64()), ("file", pa.string())]
)
_MAX_FILES = 10_000_000
# Files that are open at a time, far below a usual limit of 1,024; what is gathered of
# each before it is written.
_MOST_PIECES, _BUFFER = 200, 2**16
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

    def ranks(self, number: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return what buckets know rows by, of their numbers."""
        return number if self.position is None else self.position[number]


def find_buckets(engine: Engine, sketches: TextSketches, folder: Path) -> Buckets:
    """Return the buckets of all bands, those of the same rows once, by the first band.

    folder: for scratch files that driver and workers see.

    Raises RunError for more memberships than one driver holds.
    """
    if sketches.rows <= engine.driver_rows:
        parts_of_bands = _on_driver(engine, sketches, folder)
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


def _on_driver(
    engine: Engine, sketches: TextSketches, folder: Path
) -> Iterator[Buckets]:
    """Sort digests, as many at a time as are held beside what is there."""
    threads, bands = jaccard_threads(), sketches.bands
    held = max(1, engine.group_bytes // _SORTED_PART)
    pieces = min(-(-sketches.rows * _SORTED_BYTES // held), _MOST_PIECES)
    if pieces > 1:
        for band in range(bands):
            yield from _in_pieces(engine, sketches, (band, pieces), folder)
        return
    # A job each on a cluster, whose cost small pools should pay once.
    at_once = max(1, _COLLECTED // max(1, sketches.rows))
    for first in range(0, bands, at_once):
        some = range(first, min(bands, first + at_once))
        names = [f"band_{band}" for band in some]
        columns = {name: name for name in ("number", "state", *names)}
        chosen = engine.select(sketches.frame, columns)
        schema = pa.schema([("number", pa.int64()), *((n, pa.uint64()) for n in names)])
        frame = engine.map_batches(chosen, partial(taking_part, names=names), schema)
        table = engine.collect(frame, sketches.rows)
        digests = np.empty((len(table), len(names)), np.uint64)
        for i, name in enumerate(names):
            digests[:, i] = table[name].to_numpy()
        part = _sorted(digests, sketches.ranks(table["number"].to_numpy()), threads)
        yield part._replace(band=part.band + np.int16(first))


def _in_pieces(
    engine: Engine, sketches: TextSketches, asked: tuple[int, int], folder: Path
) -> Iterator[Buckets]:
    """Yield the buckets of one band, of some of its digests at a time.

    asked: the band, and into how many pieces its digests fall.
    """
    (band, pieces), name = asked, f"band_{asked[0]}"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = engine.select(
        sketches.frame, {"number": "number", "state": "state", "digest": name}
    )
    kernel = partial(write_pieces, pieces=pieces, folder=os.fspath(folder))
    table = engine.collect(engine.map_batches(chosen, kernel, _PIECES), _MAX_FILES)
    files: dict[int, list[Path]] = {}
    for row in table.sort_by([("task", "ascending")]).to_pylist():
        files.setdefault(row["piece"], []).append(folder / row["file"])
    for paths in files.values():
        rows = np.concatenate([np.fromfile(path, _PIECE_ROW) for path in paths])
        for path in paths:
            path.unlink()
        digests = np.ascontiguousarray(rows["digest"])[:, None]
        part = _sorted(digests, sketches.ranks(rows["number"]), 1)
        yield part._replace(band=part.band + np.int16(band))


def _sorted(
    digests: npt.NDArray[np.uint64], ranks: npt.NDArray[Any], threads: int
) -> Buckets:
    """Return the buckets of rows (n,) with their digests of some bands, (n, bands)."""
    # As they come from one machine, by number.
    if not (ranks[1:] > ranks[:-1]).all():
        order = np.argsort(ranks)
        ranks, digests = ranks[order], digests[order]
    part = banding.buckets(digests, None, threads)
    members: npt.NDArray[np.uint32] = ranks[part.members].astype(np.uint32)
    return part._replace(members=members)


def taking_part(
    batches: Iterator[pa.RecordBatch], *, names: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Keep rows that take part, without their states."""
    for batch in batches:
        there = batch.filter(pc.equal(batch.column("state"), ""))
        yield there.select(["number", *names])


def write_pieces(
    batches: Iterator[pa.RecordBatch], *, pieces: int, folder: str
) -> Iterator[pa.RecordBatch]:
    """Write numbers and digests of rows that take part to files; yield _PIECES.

    Equal digests fall in one piece.
    """
    task = current_task()
    names = [f"{task.number}-{task.attempt}-{piece}.band" for piece in range(pieces)]
    with contextlib.ExitStack() as stack:
        sinks = [
            stack.enter_context(Path(folder, name).open("wb", buffering=_BUFFER))
            for name in names
        ]
        for batch in taking_part(batches, names=["digest"]):
            rows = np.empty(len(batch), _PIECE_ROW)
            rows["digest"] = batch.column("digest").to_numpy()
            rows["number"] = batch.column("number").to_numpy()
            piece = (rows["digest"] % np.uint64(pieces)).astype(np.uint16)
            order = np.argsort(piece, kind="stable")
            ends = np.searchsorted(piece[order], np.arange(pieces + 1))
            rows = rows[order]
            for sink, (first, last) in zip(sinks, pairwise(ends.tolist()), strict=True):
                sink.write(rows[first:last].tobytes())
    columns = [np.full(pieces, task.number), np.arange(pieces), pa.array(names)]
    yield pa.RecordBatch.from_arrays([pa.array(c) for c in columns], schema=_PIECES)


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
        rank = sketches.ranks(table["number"].to_numpy())
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
    rank = sketches.ranks(members["number"].to_numpy())
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
