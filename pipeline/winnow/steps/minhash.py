"""Near-duplicate text: MinHash bands propose, exact Jaccard similarity decides.

What only depends on the texts (which rows share a band, how similar they are) is
stored, so that a run with another threshold, mode or guard reads no text twice.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.dedup.verification import Verification, decide
from winnow.config.steps import MinhashConfig
from winnow.core.engine import Frame
from winnow.core.errors import ConfigError, InputError
from winnow.core.free_memory import give_back_memory
from winnow.core.progress import doing
from winnow.steps.candidate_sets import CandidateSets
from winnow.steps.components import component_labels
from winnow.steps.contract import (
    Context,
    Contract,
    Outcome,
    Reuse,
    decisions_of,
    rejects_of,
)
from winnow.steps.minhash_candidates import Candidates, fresh_candidates
from winnow.steps.minhash_clusters import (
    largest_clusters,
    refuse_large_clusters,
    refuse_large_hits,
)
from winnow.steps.minhash_marks import dropped_rows, judged_frame, marks_of_hits
from winnow.steps.minhash_memory import store_candidates, stored_candidates
from winnow.steps.near_index import hits_in_index, index_version
from winnow.steps.sketching import TextColumn, require_text, sketching

_log = logging.getLogger(__name__)

Numbers = npt.NDArray[np.uint32]

#: Of every row that was dropped: for whom, how similar, a band that both share, and
#: what its shingles are made of (words, characters, or both mixed).
_DUPLICATES = {
    "uid": "uid",
    "kept_twin": "kept_twin",
    "similarity": "score",
    "band": "band",
    "unit": "unit",
}


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


class _Judged(NamedTuple):
    """What becomes of rows that go or are not read, and what the manifest says.

    marked: frames with marks of rows that go, last those that go for one of the pool.
    unread: a frame of UNREAD.
    """

    marked: Sequence[Frame]
    unread: Frame
    facts: dict[str, Any]


def run(context: Context) -> Outcome:
    """Decide all rows at once, on the driver: uids and candidate pairs, no texts.

    Raises InputError if a cluster takes more of a source than the guard allows.
    """
    # By another function, so that the candidates are let go of before all rows pass.
    judged = _judged(context)
    give_back_memory()
    engine = context.engine
    duplicates = engine.select(judged.marked[-1], _DUPLICATES)
    engine.write(duplicates, os.fspath(context.folder / "duplicates"), ["uid"])
    frame = judged_frame(context, judged.marked, judged.unread)
    return Outcome(
        decisions=decisions_of(engine, frame),
        rejects=rejects_of(engine, frame),
        artifacts={name: name for name in ("duplicates", "duplicate_clusters")},
        facts=judged.facts,
    )


def _judged(context: Context) -> _Judged:
    # 1. Which rows share a band; 2. what an index holds already; 3. which pairs are
    # duplicates, smallest row first; 4. the guard; 5. artifacts and marks.
    config: MinhashConfig = context.config
    column = _text_column(context)
    _require_order(context)
    settings = sketching(config, config.threshold)
    candidates = stored_candidates(context) or fresh_candidates(
        context, column, settings
    )
    # What ordering the rows took, in pieces that the C library keeps.
    give_back_memory()
    sets = CandidateSets(candidates.rows, column, settings, context.parts)
    marked = []
    if config.index:
        doing("what the index holds")
        hits = hits_in_index(context, settings, candidates, sets)
        refuse_large_hits(hits, candidates, sets, config)
        marked.append(context.engine.from_table(marks_of_hits(hits, candidates)))
        candidates = candidates.without(hits["row"].to_numpy())
    doing("comparing pairs")
    verdict = _decided(context, candidates, sets)
    refuse_large_clusters(verdict, candidates, sets, config)
    marked.append(dropped_rows(context, candidates, verdict, sets))
    _store(context, candidates, verdict, sets)
    removed = verdict.keeper != np.arange(len(verdict.keeper))
    facts = {
        "bands": settings.bands,
        "rows_per_band": settings.rows,
        "sketches_reused": candidates.reused,
        "pairs_compared": sets.compared,
        "near_duplicates": int(removed.sum()),
        **_units_told(context.step, candidates.totals.units),
    }
    return _Judged(marked, candidates.totals.unread, facts)


def _units_told(step: str, units: pa.Table) -> dict[str, Any]:
    """Return how many texts were cut into what; warn where most are one shingle."""
    texts, whole = (int(pc.sum(units[n]).as_py() or 0) for n in ("rows", "one_shingle"))
    if 2 * whole > texts:
        _log.warning(
            "%s: %d of %d texts are a single shingle, so that only equal ones are "
            "duplicates; set %s.ngram lower, or unit to char or auto",
            step,
            whole,
            texts,
            step,
        )
    counts = zip(units["unit"].to_pylist(), units["rows"].to_pylist(), strict=True)
    return {"texts_by_unit": dict(sorted(counts)), "texts_of_one_shingle": whole}


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


def _decided(
    context: Context, candidates: Candidates, sets: CandidateSets
) -> Verification:
    """Return the verdict, with the similarity of every row to its keeper."""
    rows, config = len(candidates.rows), context.config

    def joined(nodes: int, *ends: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        folder = context.parts / "components"
        return component_labels(context.engine, nodes, (ends[0], ends[1]), folder)

    def compared(left: Numbers, right: Numbers) -> npt.NDArray[np.float64]:
        similarities = sets.similarity(left, right)
        give_back_memory()
        return similarities

    if not config.verify:
        return decide(
            candidates.buckets,
            rows,
            lambda left, right: np.ones(len(left)),
            1.0,
            semantics=config.mode,
            components=joined,
        )
    verdict = decide(
        candidates.buckets,
        rows,
        compared,
        config.threshold,
        semantics=config.mode,
        known=candidates.known,
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
    context: Context,
    candidates: Candidates,
    verdict: Verification,
    sets: CandidateSets,
) -> None:
    """Write what the report shows, and what a later threshold may use."""
    engine, config = context.engine, context.config
    store_candidates(context, candidates, verdict.pairs if config.verify else None)
    clusters = largest_clusters(verdict, candidates.uids, sets, verified=config.verify)
    engine.write(
        engine.from_table(clusters),
        os.fspath(context.folder / "duplicate_clusters"),
        [],
    )
