"""What becomes of each row of a `minhash` step, as the ledger says it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.dedup.verification import Verification
from winnow.config.steps import MinhashConfig
from winnow.core.engine import Frame
from winnow.core.schemas import REJECTS
from winnow.formats.reader import single
from winnow.steps.candidate_sets import CandidateSets
from winnow.steps.contract import JUDGED, Context, judge_marked
from winnow.steps.minhash_candidates import Candidates

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
#: Of a row whose shingles are those of its twin while the texts as they are differ.
EQUAL = "equal_after_normalisation"
EQUAL_IN_INDEX = "equal_in_index_after_normalisation"


def similarity_of(
    verdict: Verification, rows: npt.NDArray[Any], config: MinhashConfig
) -> pa.Array:
    """Return the similarity of dropped rows to their keepers, null where unknown."""
    values = verdict.jaccard[rows]
    return pa.array(values, mask=np.isnan(values) if config.verify else values < 2)


def uids_of(candidates: Candidates, rows: npt.NDArray[Any]) -> pa.Array:
    """Return the uids of rows by their positions."""
    return single(candidates.rows["uid"].take(pa.array(rows.astype(np.int64))))


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


def marks_of(
    verdict: Verification,
    candidates: Candidates,
    sets: CandidateSets,
    config: MinhashConfig,
) -> pa.Table:
    """Return the marks of rows that are dropped for a row of the pool."""
    dropped = np.flatnonzero(verdict.keeper != np.arange(len(verdict.keeper)))
    keepers = verdict.keeper[dropped]
    reason: Any = "shared_band_unverified"
    if config.verify:
        equal = verdict.jaccard[dropped] == 1.0
        rewritten = np.zeros(len(dropped), dtype=np.bool_)
        rewritten[equal] = ~sets.same_text(dropped[equal], keepers[equal])
        reason = pc.if_else(pa.array(rewritten), EQUAL, "near_duplicate_text")
    return _marks(
        uids_of(candidates, dropped),
        keep=False,
        reason=reason,
        score=similarity_of(verdict, dropped, config),
        kept_twin=uids_of(candidates, keepers),
    )


def marks_of_hits(hits: pa.Table, candidates: Candidates) -> pa.Table:
    """Return the marks of rows that are dropped for a text of the index."""
    equal = pc.and_(pc.equal(hits["similarity"], 1.0), pc.invert(hits["same_text"]))
    return _marks(
        uids_of(candidates, hits["row"].to_numpy()),
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


def judged_frame(context: Context, marks: pa.Table, unread: Frame) -> Frame:
    """Return a JUDGED frame of all samples: marked rows as marked, others kept.

    unread: UNREAD rows, which are marked by what they lack.
    """
    engine = context.engine
    samples = engine.select(context.samples, {"uid": "uid"})
    missing = engine.map_batches(unread, marks_of_unread, _MARKS)
    every = engine.union([engine.from_table(marks), missing])
    joined = engine.join(samples, every, "uid", "left")
    threshold = context.config.threshold if context.config.verify else None
    kernel = partial(judge_marked, unmarked="unique", threshold=threshold)
    return engine.map_batches(joined, kernel, JUDGED)
