"""Clusters of near-duplicates: the largest ones for the report, and the guard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.algorithms.dedup.verification import Verification
from winnow.config.steps import MinhashConfig
from winnow.core.errors import InputError
from winnow.formats.reader import single
from winnow.steps.candidate_sets import CandidateSets
from winnow.steps.minhash_candidates import Candidates
from winnow.steps.minhash_rows import UidsByPreference

#: Clusters that are described with their texts.
LARGEST = 20
_TEXT_CHARS = 200

#: `size` counts the keeper; the least similar row is the one farthest from it.
CLUSTERS = pa.schema(
    [
        ("keeper", pa.string()),
        ("size", pa.int64()),
        ("least_similar", pa.string()),
        ("similarity", pa.float64()),
        ("keeper_text", pa.string()),
        ("least_similar_text", pa.string()),
    ]
)


def _removed(verdict: Verification) -> npt.NDArray[np.int64]:
    return np.flatnonzero(verdict.keeper != np.arange(len(verdict.keeper)))


def _least_similar(verdict: Verification, members: npt.NDArray[np.int64]) -> int:
    similarity = verdict.jaccard[members]
    # NaN, where pairs were not compared at all, sorts last.
    return int(members[np.lexsort((members, similarity))[0]])


def largest_clusters(
    verdict: Verification,
    uids: UidsByPreference,
    sets: CandidateSets,
    *,
    verified: bool,
) -> pa.Table:
    """Return the LARGEST clusters, largest first, as CLUSTERS."""
    dropped = _removed(verdict)
    keepers, counts = np.unique(verdict.keeper[dropped], return_counts=True)
    largest = np.lexsort((keepers, -counts))[:LARGEST]
    chosen = keepers[largest]
    least = np.array(
        [
            _least_similar(verdict, dropped[verdict.keeper[dropped] == k])
            for k in chosen
        ],
        dtype=np.int64,
    )
    texts = [text[:_TEXT_CHARS] for text in sets.texts(np.append(chosen, least))]
    similarity = verdict.jaccard[least]
    return pa.table(
        {
            "keeper": uids.of(chosen),
            "size": counts[largest] + 1,
            "least_similar": uids.of(least),
            "similarity": pa.array(
                similarity, mask=np.isnan(similarity) | (not verified)
            ),
            "keeper_text": texts[: len(chosen)],
            "least_similar_text": texts[len(chosen) :],
        },
        schema=CLUSTERS,
    )


def refuse_large_clusters(
    verdict: Verification,
    candidates: Candidates,
    sets: CandidateSets,
    config: MinhashConfig,
) -> None:
    """Raise InputError if a cluster removes more than `max_share` of one source."""
    if config.allow_large_clusters:
        return
    dropped = _removed(verdict)
    large = _too_large(verdict.keeper[dropped], dropped, candidates, config)
    if large is None:
        return
    members = dropped[verdict.keeper[dropped] == large.cluster]
    least = _least_similar(verdict, members)
    pair = np.array([large.cluster, least])
    similarity = sets.similarity(pair[1:].astype("u4"), pair[:1].astype("u4"))[0]
    kept, gone = (text[:_TEXT_CHARS] for text in sets.texts(pair))
    first, uid = candidates.uids.of(pair).to_pylist()
    raise InputError(
        f"minhash: one cluster of {len(members) + 1:,} near-duplicates would remove "
        f"{large.words}; its keeper is '{first}'. Least similar to it is '{uid}' with "
        f"a Jaccard similarity of {similarity:.3f}: {kept!r} against {gone!r}. {_WAYS}"
    )


def refuse_large_hits(
    hits: pa.Table, candidates: Candidates, sets: CandidateSets, config: MinhashConfig
) -> None:
    """Raise InputError if one text of the index removes that much of a source."""
    if config.allow_large_clusters or not len(hits):
        return
    twins = single(hits["uid"]).dictionary_encode()
    cluster = twins.indices.to_numpy().astype(np.int64)
    large = _too_large(cluster, hits["row"].to_numpy(), candidates, config)
    if large is None:
        return
    its_hits = hits.filter(pa.array(cluster == large.cluster)).sort_by("similarity")
    least, similarity = its_hits["row"][0].as_py(), its_hits["similarity"][0].as_py()
    (gone,) = sets.texts(np.array([least]))
    (uid,) = candidates.uids.of(np.array([least])).to_pylist()
    raise InputError(
        f"minhash: '{its_hits['uid'][0]}' of the index would remove {large.words}. "
        f"Least similar to it is '{uid}' with a Jaccard similarity of "
        f"{similarity:.3f}: {gone[:_TEXT_CHARS]!r}. {_WAYS}"
    )


_WAYS = (
    "If these are duplicates, set minhash.allow_large_clusters=true or raise "
    "max_share; if not, raise minhash.threshold, or set mode=representatives and "
    "verify=true"
)


@dataclass(frozen=True)
class _Large:
    """A cluster that takes too much of a source, and how much in words."""

    cluster: int
    words: str


def _too_large(
    cluster: npt.NDArray[Any],
    dropped: npt.NDArray[np.int64],
    candidates: Candidates,
    config: MinhashConfig,
) -> _Large | None:
    """Return the worst of the dropped rows' clusters, if it is too large."""
    origin = single(candidates.rows["origin"])
    codes = origin.indices.to_numpy()
    counted = candidates.totals.origins.to_pylist()
    every = {row["origin"] or "": row["rows"] for row in counted}
    names = origin.dictionary.to_pylist()
    totals = np.array([every[name] for name in names], np.int64)
    sources = max(len(totals), 1)
    groups = cluster.astype(np.int64) * sources + codes[dropped]
    groups, counts = np.unique(groups, return_counts=True)
    share = counts / np.maximum(totals[groups % sources], 1)
    large = (share > config.max_share) & (counts >= config.guard_from)
    if not large.any():
        return None
    worst = int(np.argmax(np.where(large, share, -1.0)))
    source = origin.dictionary[int(groups[worst] % sources)].as_py()
    where = f"the source '{source}'" if config.source else "the pool"
    return _Large(
        int(groups[worst] // sources),
        f"{int(counts[worst]):,} rows, {share[worst]:.1%} of {where}, more than "
        f"minhash.max_share ({config.max_share:g})",
    )
