"""The index joined to the kernels: add rows, ask what is near, drop what is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.dedup.band_lookup import (
    pairs_in_band,
    sharing_rows,
    sorted_bands,
)
from winnow.algorithms.dedup.banding import collision_probability
from winnow.algorithms.dedup.jaccard import jaccard
from winnow.config.steps import MinhashConfig
from winnow.core.engine import Engine
from winnow.formats.reader import single
from winnow.indexes.near_index import TEXTS, NearIndex, Segment
from winnow.steps.candidate_sets import CandidateSets
from winnow.steps.minhash_buckets import collect_digests
from winnow.steps.minhash_candidates import Candidates
from winnow.steps.sketching import BLOCK_ROWS, Sketching

#: A segment's digests and texts are in memory while it is written.
SEGMENT_ROWS = 1_000_000
_SEGMENT_DIGESTS = 64 * 2**20
_SEGMENT_BYTES = 512 * 2**20
# Rows of a bucket of the index that one entering row is compared with.
_MOST_IN_BUCKET = 64
_PAIRS_AT_ONCE = 1 << 16

HITS = pa.schema(
    [("row", pa.int64()), ("uid", pa.string()), ("similarity", pa.float64())]
)


def index_version(folder: str) -> str:
    """Return the fingerprint of an index; raises ConfigError if there is none."""
    return NearIndex(folder).version


def settings_of(index: NearIndex) -> Sketching:
    """Return the sketching that an index was built with."""
    values = index.settings
    return Sketching(**{**values, "normalise": tuple(values["normalise"])})


def add_rows(
    index: NearIndex, blocks: Iterator[tuple[pa.Array, pa.Array]]
) -> dict[str, int]:
    """Add blocks of (uid, text); return counts: added, already there, without text."""
    settings = settings_of(index)
    most = min(SEGMENT_ROWS, _SEGMENT_DIGESTS // settings.bands)
    counts = {"added": 0, "already_there": 0, "without_text": 0}
    held: list[pa.RecordBatch] = []
    digests: list[npt.NDArray[np.uint64]] = []
    rows = size = 0
    for uid, text in blocks:
        found, empty = settings.digests(text)
        batch = pa.RecordBatch.from_arrays(
            [uid.cast(pa.large_string()), text.cast(pa.large_string())], schema=TEXTS
        )
        counts["without_text"] += int(empty.sum())
        held.append(batch.filter(pa.array(~empty)))
        digests.append(found[~empty])
        rows, size = rows + len(held[-1]), size + held[-1].nbytes
        if rows + BLOCK_ROWS > most or size >= _SEGMENT_BYTES:
            _write(index, held, digests, counts)
            held, digests, rows, size = [], [], 0, 0
    if rows:
        _write(index, held, digests, counts)
    return counts


def _write(
    index: NearIndex,
    held: list[pa.RecordBatch],
    digests: list[npt.NDArray[np.uint64]],
    counts: dict[str, int],
) -> None:
    table = pa.Table.from_batches(held)
    order = pc.sort_indices(table["uid"])
    uids = single(table["uid"]).take(order)
    # Of equal uids the first one counts, in the index or here.
    repeats = pc.equal(uids[1:], uids[:-1]).to_numpy(zero_copy_only=False)
    fresh = ~index.known(uids)
    fresh[1:] &= ~repeats
    chosen = order.filter(pa.array(fresh))
    counts["added"] += len(chosen)
    counts["already_there"] += len(table) - len(chosen)
    if len(chosen):
        (texts,) = table.take(chosen).combine_chunks().to_batches()
        index.add(texts, *sorted_bands(np.concatenate(digests)[chosen.to_numpy()]))


def near(
    index: NearIndex, text: str, k: int, min_jaccard: float, besides: str | None = None
) -> list[dict[str, Any]]:
    """Return the k most similar indexed rows of at least `min_jaccard`, best first.

    Similarities are exact; ties by uid. `probability` is that with which a row of this
    similarity shares a band and so is found. `besides` names a row to leave out.
    """
    settings = settings_of(index)
    digests, empty = settings.digests(pa.array([text], pa.large_string()))
    if empty[0]:
        return []
    found: list[dict[str, Any]] = []
    for segment in index.segments:
        rows, bands = sharing_rows(segment.digests, segment.rows, digests[0])
        for first in range(0, len(rows), _PAIRS_AT_ONCE):
            block = rows[first : first + _PAIRS_AT_ONCE]
            similarity = _similarity_to(segment, block, text, settings)
            for i in np.flatnonzero(similarity >= min_jaccard):
                row, value = int(block[i]), float(similarity[i])
                found.append(
                    {
                        "uid": segment.table.column("uid")[row].as_py(),
                        "jaccard": value,
                        "shared_bands": int(bands[first + i]),
                        "place": (segment, row),
                    }
                )
    found = [entry for entry in found if entry["uid"] != besides]
    found.sort(key=lambda entry: (-entry["jaccard"], entry["uid"]))
    return [_told(entry, settings) for entry in found[:k]]


def found_with(index: NearIndex, similarity: float) -> float:
    """Return the probability that a row of this similarity shares a band."""
    settings = settings_of(index)
    return collision_probability(similarity, settings.bands, settings.rows)


def _told(entry: dict[str, Any], settings: Sketching) -> dict[str, Any]:
    segment, row = entry.pop("place")
    chance = collision_probability(entry["jaccard"], settings.bands, settings.rows)
    text = segment.table.column("text")[row].as_py()
    return {**entry, "probability": chance, "text": text}


def _similarity_to(
    segment: Segment, rows: npt.NDArray[np.uint32], text: str, settings: Sketching
) -> npt.NDArray[np.float64]:
    texts = segment.table.column("text").take(pa.array(rows))
    both = pa.concat_arrays([pa.array([text], pa.large_string()), texts])
    bounds, hashes = settings.sets(both)
    left = np.arange(1, len(both), dtype=np.uint32)
    out: npt.NDArray[np.float64]
    out = jaccard(bounds, hashes, left, np.zeros(len(left), dtype=np.uint32))
    return out


def hits_in_index(
    config: MinhashConfig,
    settings: Sketching,
    found: Candidates,
    sets: CandidateSets,
    engine: Engine,
) -> pa.Table:
    """Return HITS: rows within the threshold of an indexed text, and the nearest one.

    An indexed row of the same uid is the row itself: a run whose kept rows have joined
    the index may be repeated. `row` is a position in `found.rows`. Raises ConfigError
    if the index was built with other settings.
    """
    assert config.index is not None
    index = NearIndex(config.index)
    index.require(asdict(settings))
    best: dict[int, tuple[float, str]] = {}
    uids = found.rows["uid"]
    pairs = _proposed(index, settings, found, engine)
    for segment, keys in zip(index.segments, pairs, strict=True):
        for first in range(0, len(keys), _PAIRS_AT_ONCE):
            block = keys[first : first + _PAIRS_AT_ONCE]
            row, other = block >> np.uint64(32), block & np.uint64(2**32 - 1)
            similarity = _across(segment, row, other, settings, sets)
            names = segment.table.column("uid")
            for i in np.flatnonzero(similarity >= config.threshold):
                at, name = int(row[i]), names[int(other[i])].as_py()
                if name != uids[at].as_py():
                    hit = (-float(similarity[i]), name)
                    best[at] = min(hit, best.get(at, hit))
    rows = sorted(best)
    return pa.table(
        {
            "row": rows,
            "uid": [best[row][1] for row in rows],
            "similarity": [-best[row][0] for row in rows],
        },
        schema=HITS,
    )


def _proposed(
    index: NearIndex, settings: Sketching, found: Candidates, engine: Engine
) -> list[npt.NDArray[np.uint64]]:
    """Return, for each segment, the keys (row << 32 | indexed row) to compare."""
    assert found.sketches is not None
    present = np.flatnonzero(found.present)
    keys = [np.zeros(0, dtype=np.uint64) for _ in index.segments]
    for band in range(settings.bands):
        queries = collect_digests(engine, found.sketches, range(band, band + 1))[
            present, 0
        ]
        for number, segment in enumerate(index.segments):
            query, other = pairs_in_band(
                segment.digests[band], segment.rows[band], queries, _MOST_IN_BUCKET
            )
            row = present[query].astype(np.uint64)
            keys[number] = np.union1d(keys[number], row << np.uint64(32) | other)
    return keys


def _across(
    segment: Segment,
    rows: npt.NDArray[np.uint64],
    others: npt.NDArray[np.uint64],
    settings: Sketching,
    sets: CandidateSets,
) -> npt.NDArray[np.float64]:
    """Return the exact similarity of entering rows and indexed rows."""
    entering, left = np.unique(rows, return_inverse=True)
    indexed, right = np.unique(others, return_inverse=True)
    own_bounds, own_hashes = sets.sets_of(entering)
    texts = segment.table.column("text").take(pa.array(indexed))
    bounds, hashes = settings.sets(texts)
    out: npt.NDArray[np.float64]
    out = jaccard(
        np.concatenate([own_bounds, bounds[1:] + own_bounds[-1]]),
        np.concatenate([own_hashes, hashes]),
        left.astype(np.uint32),
        (right + len(entering)).astype(np.uint32),
    )
    return out
