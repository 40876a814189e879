"""What becomes of each row of a `minhash` step, as the ledger says it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.dedup.verification import NO_BAND, Verification
from winnow.config.steps import MinhashConfig
from winnow.core.engine import Frame
from winnow.core.schemas import REJECTS
from winnow.steps.candidate_sets import CandidateSets
from winnow.steps.contract import JUDGED, Context, judge_marked
from winnow.steps.minhash_candidates import Candidates
from winnow.steps.minhash_rows import PIECE_ROWS, write_pieces

_MARKS = pa.schema(
    [
        REJECTS.field("uid"),
        ("keep", pa.bool_()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("kept_twin", pa.string()),
        ("rejected", pa.bool_()),
    ]
)
#: Marks of rows that go for another of the pool, a band that both share, and what the
#: shingles are made of.
DROPPED = pa.schema([*_MARKS, ("band", pa.int16()), ("unit", pa.string())])
#: Of a row whose shingles are those of its twin while the texts as they are differ.
EQUAL = "equal_after_normalisation"
EQUAL_IN_INDEX = "equal_in_index_after_normalisation"


def similarity_of(
    verdict: Verification, rows: npt.NDArray[Any], config: MinhashConfig
) -> pa.Array:
    """Return the similarity of dropped rows to their keepers, null where unknown."""
    values = verdict.jaccard[rows]
    return pa.array(values, mask=np.isnan(values) if config.verify else values < 2)


def marks_of_unread(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the marks of UNREAD rows: kept without being compared, or rejected."""
    for batch in batches:
        rejected = batch.column("rejected")
        marks = _marks(
            batch.column("uid"),
            keep=pc.invert(rejected),
            reason=batch.column("state"),
            rejected=rejected,
        )
        yield from marks.to_batches()


def dropped_rows(
    context: Context,
    candidates: Candidates,
    verdict: Verification,
    sets: CandidateSets,
) -> Frame:
    """Return DROPPED rows, those that go for a row of the pool."""
    dropped = np.flatnonzero(verdict.keeper != np.arange(len(verdict.keeper)))
    rewritten = np.zeros(len(dropped), dtype=np.bool_)
    if context.config.verify:
        equal = np.flatnonzero(verdict.jaccard[dropped] == 1.0)
        pairs = dropped[equal], verdict.keeper[dropped[equal]]
        rewritten[equal] = ~sets.same_text(*pairs)

    def piece(first: int) -> pa.Table:
        some = slice(first, first + PIECE_ROWS)
        return _dropped(context, candidates, verdict, (dropped[some], rewritten[some]))

    if len(dropped) <= PIECE_ROWS:
        return context.engine.from_table(piece(0))
    folder = context.parts / "dropped"
    write_pieces(map(piece, range(0, len(dropped), PIECE_ROWS)), folder, DROPPED)
    return context.engine.scan(os.fspath(folder))


def _dropped(
    context: Context,
    candidates: Candidates,
    verdict: Verification,
    chosen: tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]],
) -> pa.Table:
    """Return DROPPED of some rows, of which it is known whether they are rewritten."""
    config: MinhashConfig = context.config
    rows, rewritten = chosen
    reason: Any = "shared_band_unverified"
    if config.verify:
        reason = pc.if_else(pa.array(rewritten), EQUAL, "near_duplicate_text")
    marks = _marks(
        candidates.uids.of(rows),
        keep=False,
        reason=reason,
        score=similarity_of(verdict, rows, config),
        kept_twin=candidates.uids.of(verdict.keeper[rows]),
    )
    band = verdict.band[rows]
    unit = candidates.rows["unit"].take(pa.array(rows)).cast(pa.string())
    others = [pa.array(band, mask=band == NO_BAND), unit]
    return pa.table([*marks.columns, *others], schema=DROPPED)


def marks_of_hits(hits: pa.Table, candidates: Candidates) -> pa.Table:
    """Return the marks of rows that are dropped for a text of the index."""
    equal = pc.and_(pc.equal(hits["similarity"], 1.0), pc.invert(hits["same_text"]))
    return _marks(
        candidates.uids.of(hits["row"].to_numpy()),
        keep=False,
        reason=pc.if_else(equal, EQUAL_IN_INDEX, "near_duplicate_in_index"),
        score=hits["similarity"],
        kept_twin=hits["uid"],
    )


def _marks(uid: pa.Array | pa.ChunkedArray, **values: Any) -> pa.Table:
    given: Mapping[str, Any] = {"uid": uid, "rejected": False, **values}
    columns = []
    for field in _MARKS:
        value = given.get(field.name)
        if not isinstance(value, pa.Array | pa.ChunkedArray):
            value = pa.repeat(pa.scalar(value, field.type), len(uid))
        columns.append(value.cast(field.type))
    return pa.table(columns, schema=_MARKS)


def judged_frame(context: Context, marked: Sequence[Frame], unread: Frame) -> Frame:
    """Return a JUDGED frame of all samples: marked rows as marked, others kept.

    marked: frames with marks. unread: UNREAD rows, which are marked by what they lack.
    """
    engine = context.engine
    samples = engine.select(context.samples, {"uid": "uid"})
    missing = engine.map_batches(unread, marks_of_unread, _MARKS)
    names = {name: name for name in _MARKS.names}
    every = engine.union([*(engine.select(m, names) for m in marked), missing])
    joined = engine.join(samples, every, "uid", "left")
    threshold = context.config.threshold if context.config.verify else None
    kernel = partial(judge_marked, unmarked="unique", threshold=threshold)
    return engine.map_batches(joined, kernel, JUDGED)
