"""Near-duplicate text: MinHash bands propose, exact Jaccard similarity decides.

What only depends on the texts (which rows share a band, how similar they are) is
stored, so that a run with another threshold, mode or guard reads no text twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.dedup.verification import NO_BAND, Verdict, decide
from winnow.config.steps import MinhashConfig
from winnow.core.errors import ConfigError, InputError
from winnow.core.schemas import REJECTS
from winnow.formats.reader import single
from winnow.steps.candidate_sets import CandidateSets
from winnow.steps.components import component_labels
from winnow.steps.minhash_candidates import Candidates, fresh_candidates
from winnow.steps.minhash_clusters import (
    largest_clusters,
    refuse_large_clusters,
    refuse_large_hits,
)
from winnow.steps.minhash_memory import store_candidates, stored_candidates
from winnow.steps.near_index import hits_in_index, index_version
from winnow.steps.sketching import TextColumn, require_text, sketching
from winnow.steps.step import (
    JUDGED,
    Context,
    Contract,
    Outcome,
    Reuse,
    decisions_of,
    judged,
    rejects_of,
)

#: Every row that was dropped: for whom, how similar, and a band that both share.
DUPLICATES = pa.schema(
    [
        ("uid", pa.string()),
        ("kept_twin", pa.string()),
        ("similarity", pa.float64()),
        ("band", pa.int16()),
    ]
)
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


def contract(config: MinhashConfig) -> Contract:
    """Return which columns are read: the text, and what keeper and guard go by."""
    others = [config.column, config.source]
    if config.keeper not in ("uid", "length"):
        others.append(config.keeper)
    return Contract(
        frozenset({"text"}) if config.column is None else frozenset(),
        columns=tuple(dict.fromkeys(name for name in others if name)),
        depends_on=frozenset({"input.columns.text"}),
        version=index_version(config.index) if config.index else "",
    )


def reuse(config: MinhashConfig) -> Reuse | None:
    """Return the settings that stored buckets and similarities depend on."""
    if config.index:
        return None
    settings = sketching(config, config.threshold)
    names = ("column", "keeper", "keeper_descending", "min_shingles", "source")
    others = {name: getattr(config, name) for name in names}
    return Reuse({"sketch": asdict(settings), **others}, same_rows=True)


def run(context: Context) -> Outcome:
    """Decide all rows at once, on the driver: uids and candidate pairs, no texts.

    Raises InputError if a cluster takes more of a source than the guard allows.
    """
    # 1. Which rows share a band; 2. what an index holds already; 3. which pairs are
    # duplicates, smallest row first; 4. the guard; 5. artifacts and decisions.
    config: MinhashConfig = context.config
    column = _text_column(context)
    _require_order(context)
    settings = sketching(config, config.threshold)
    found = stored_candidates(context) or fresh_candidates(context, column, settings)
    sets = CandidateSets(found.rows, column, settings, context.parts)
    marks = [_unread(found)]
    if config.index:
        hits = hits_in_index(config, settings, found, sets, context.engine)
        refuse_large_hits(hits, found.rows, sets, config)
        marks.append(_marks_of_hits(hits, found))
        found = found.without(hits["row"].to_numpy())
    verdict = _decided(context, found, sets)
    refuse_large_clusters(verdict, found.rows, sets, config)
    _store(context, found, verdict, sets)
    marks.append(_marks_of(verdict, found, config))
    frame = _judged(context, pa.concat_tables(marks))
    removed = verdict.keeper != np.arange(len(verdict.keeper))
    return Outcome(
        decisions=decisions_of(context.engine, frame),
        rejects=rejects_of(context.engine, frame),
        artifacts={name: name for name in ("duplicates", "duplicate_clusters")},
        facts={
            "bands": settings.bands,
            "rows_per_band": settings.rows,
            "sketches_reused": found.reused,
            "pairs_compared": sets.compared,
            "near_duplicates": int(removed.sum()),
        },
    )


def _text_column(context: Context) -> TextColumn:
    config: MinhashConfig = context.config
    column = config.column or context.reader.text
    if column is None:
        raise ConfigError(f"{context.step}: input.columns.text is null; name a column")
    require_text(context.schema, column, config.unit, context.step)
    return TextColumn(context.reader, column)


def _require_order(context: Context) -> None:
    """Raise InputError for a keeper column whose values have no order."""
    keeper = context.config.keeper
    if keeper in ("uid", "length"):
        return
    kind = context.schema.field(keeper).type
    if pa.types.is_nested(kind) or pa.types.is_dictionary(kind):
        raise InputError(
            f"{context.step}: keeper: the column '{keeper}' holds {kind}; rows are "
            "ordered by numbers, strings, dates or booleans"
        )


def _decided(context: Context, found: Candidates, sets: CandidateSets) -> Verdict:
    """Return the verdict, with the similarity of every row to its keeper."""
    rows, config = len(found.rows), context.config

    def joined(nodes: int, *ends: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        folder = context.parts / "components"
        return component_labels(context.engine, nodes, (ends[0], ends[1]), folder)

    if not config.verify:
        return decide(
            found.buckets,
            rows,
            lambda left, right: np.ones(len(left)),
            1.0,
            semantics=config.mode,
            components=joined,
        )
    verdict = decide(
        found.buckets,
        rows,
        sets.similarity,
        config.threshold,
        semantics=config.mode,
        known=found.known,
        components=joined,
    )
    dropped = verdict.keeper != np.arange(rows)
    chained = np.flatnonzero(dropped & np.isnan(verdict.jaccard))
    if len(chained):
        twins = verdict.keeper[chained]
        verdict.jaccard[chained] = sets.similarity(
            chained.astype(np.uint32), twins.astype(np.uint32)
        )
    return verdict


def _store(
    context: Context, found: Candidates, verdict: Verdict, sets: CandidateSets
) -> None:
    """Write what the report shows, and what a later threshold may use."""
    engine, config = context.engine, context.config
    store_candidates(context, found, verdict.pairs if config.verify else None)
    dropped = np.flatnonzero(verdict.keeper != np.arange(len(verdict.keeper)))
    band = verdict.band[dropped]
    table = pa.table(
        {
            "uid": _uids(found, dropped),
            "kept_twin": _uids(found, verdict.keeper[dropped]),
            "similarity": _similarity(verdict, dropped, config),
            "band": pa.array(band, mask=band == NO_BAND),
        },
        schema=DUPLICATES,
    )
    frame = engine.from_table(table)
    engine.write(frame, os.fspath(context.folder / "duplicates"), ["uid"])
    clusters = largest_clusters(verdict, found.rows, sets, verified=config.verify)
    engine.write(
        engine.from_table(clusters),
        os.fspath(context.folder / "duplicate_clusters"),
        [],
    )


def _similarity(
    verdict: Verdict, rows: npt.NDArray[Any], config: MinhashConfig
) -> pa.Array:
    values = verdict.jaccard[rows]
    return pa.array(values, mask=np.isnan(values) if config.verify else values < 2)


def _uids(found: Candidates, rows: npt.NDArray[Any]) -> pa.Array:
    return single(found.rows["uid"].take(pa.array(rows.astype(np.int64))))


def _unread(found: Candidates) -> pa.Table:
    """Return the marks of rows that were not compared."""
    other = found.rows.filter(pc.not_equal(found.rows["state"], ""))
    rejected = other["rejected"]
    return _marks(
        other["uid"], keep=pc.invert(rejected), reason=other["state"], rejected=rejected
    )


def _marks_of(verdict: Verdict, found: Candidates, config: MinhashConfig) -> pa.Table:
    dropped = np.flatnonzero(verdict.keeper != np.arange(len(verdict.keeper)))
    reason = "near_duplicate_text" if config.verify else "shared_band_unverified"
    return _marks(
        _uids(found, dropped),
        keep=False,
        reason=reason,
        score=_similarity(verdict, dropped, config),
        kept_twin=_uids(found, verdict.keeper[dropped]),
    )


def _marks_of_hits(hits: pa.Table, found: Candidates) -> pa.Table:
    return _marks(
        _uids(found, hits["row"].to_numpy()),
        keep=False,
        reason="near_duplicate_in_index",
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


def _judged(context: Context, marks: pa.Table) -> Any:
    engine = context.engine
    samples = engine.select(context.samples, {"uid": "uid"})
    joined = engine.join(samples, engine.from_table(marks), "uid", "left")
    threshold = context.config.threshold if context.config.verify else None
    kernel = partial(judge_rows, threshold=threshold)
    return engine.map_batches(joined, kernel, JUDGED)


def judge_rows(
    batches: Iterator[pa.RecordBatch], *, threshold: float | None
) -> Iterator[pa.RecordBatch]:
    """Keep every row without a mark as unique."""
    for batch in batches:
        yield judged(
            batch.column("uid"),
            keep=pc.coalesce(batch.column("keep"), pa.scalar(True)),
            reason=pc.coalesce(batch.column("reason"), pa.scalar("unique")),
            score=batch.column("score"),
            threshold=threshold,
            kept_twin=batch.column("kept_twin"),
            rejected=pc.coalesce(batch.column("rejected"), pa.scalar(False)),
        )
