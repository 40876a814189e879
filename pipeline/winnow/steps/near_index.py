"""The index joined to the kernels: add rows, ask what is near, drop what is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import fsspec
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
from winnow.core.errors import InputError
from winnow.core.hashing import digest, fingerprint
from winnow.formats.reader import SampleReader, single
from winnow.indexes.near_index import SEGMENT_BYTES, NearIndex, segment_rows
from winnow.indexes.text_segment import TEXTS, TextSegment
from winnow.steps.candidate_sets import CandidateSets, contents_of
from winnow.steps.contract import Context
from winnow.steps.minhash_buckets import collect_digests
from winnow.steps.minhash_candidates import Candidates
from winnow.steps.sketching import BLOCK_ROWS, Sketching

# Rows of a bucket of the index that one entering row is compared with.
_MOST_IN_BUCKET = 64
_PAIRS_AT_ONCE = 1 << 16

HITS = pa.schema(
    [
        ("row", pa.int64()),
        ("uid", pa.string()),
        ("similarity", pa.float64()),
        ("same_text", pa.bool_()),
    ]
)


def index_version(folder: str) -> str:
    """Return the fingerprint of an index; raises ConfigError if there is none."""
    return NearIndex(folder).version


def settings_of(index: NearIndex) -> Sketching:
    """Return the sketching that an index was built with."""
    return sketching_of(index.settings)


def sketching_of(values: dict[str, Any]) -> Sketching:
    """Return the sketching that an index's settings stand for."""
    return Sketching(**{**values, "normalise": tuple(values["normalise"])})


def content_name(text: str) -> str:
    """Return the name of a row without a uid: what a run calls a text-only sample."""
    return digest(b"1" + text.encode()).hex()


def shard_key(name: str, rows: int, size: int) -> str:
    """Return what a shard is known by: its name, rows and bytes."""
    return fingerprint(f"{name}:{rows}:{size}")


def sorted_digests(
    values: dict[str, Any], texts: pa.Array
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
    """Return the sorted digests of texts under an index's settings, for a repair."""
    return sorted_bands(sketching_of(values).digests(texts).digests)


@dataclass(frozen=True)
class Addition:
    """What is being added: where from, and whether a column names the rows."""

    sources: tuple[str, ...]
    shards: tuple[str, ...]
    named: bool
    #: What a name does that the index has with another text.
    same_name: Literal["add", "error"] = "add"


def add_rows(
    index: NearIndex, addition: Addition, blocks: Iterator[tuple[pa.Array, pa.Array]]
) -> dict[str, int]:
    """Add blocks of (uid, text); return counts.

    added; already_there: same name and same text; same_name_other_text: of the added
    ones, those whose name another text has; without_text. Raises InputError for one of
    the latter kind where `addition.same_name` says so.
    """
    settings = settings_of(index)
    number = index.begin_addition(
        addition.sources, addition.shards, named=addition.named
    )
    counts = dict.fromkeys(
        ("added", "already_there", "same_name_other_text", "without_text"), 0
    )
    most = segment_rows(settings.bands)
    held: list[pa.RecordBatch] = []
    digests: list[npt.NDArray[np.uint64]] = []
    rows = size = 0

    def write() -> None:
        table = pa.Table.from_batches(held)
        _write(index, addition, table, np.concatenate(digests), counts)

    for uid, text in blocks:
        sketched = settings.digests(text)
        batch = pa.RecordBatch.from_arrays(
            [
                uid.cast(pa.large_string()),
                text.cast(pa.large_string()),
                pa.array(contents_of(text)),
                pa.repeat(pa.scalar(number, pa.int32()), len(uid)),
            ],
            schema=TEXTS,
        )
        counts["without_text"] += int(sketched.empty.sum())
        held.append(batch.filter(pa.array(~sketched.empty)))
        digests.append(sketched.digests[~sketched.empty])
        rows, size = rows + len(held[-1]), size + held[-1].nbytes
        if rows + BLOCK_ROWS > most or size >= SEGMENT_BYTES:
            write()
            held, digests, rows, size = [], [], 0, 0
    if rows:
        write()
    index.end_addition()
    return counts


def _write(
    index: NearIndex,
    addition: Addition,
    table: pa.Table,
    digests: npt.NDArray[np.uint64],
    counts: dict[str, int],
) -> None:
    # Of equal names and texts the first one counts, in the index or here.
    order = pc.sort_indices(table["uid"])
    names = table["uid"].take(order).to_pylist()
    contents = table["content"].take(order).to_pylist()
    known = index.known(single(table["uid"]))
    fresh = np.ones(len(names), dtype=np.bool_)
    for i, (name, content) in enumerate(zip(names, contents, strict=True)):
        others = known.setdefault(name, set())
        fresh[i] = content not in others
        if fresh[i] and others:
            counts["same_name_other_text"] += 1
            if addition.same_name == "error":
                raise InputError(
                    f"index: '{name}' names another text in {index.path} already; give "
                    "names that tell the rows apart (--uid), or let it be a second row "
                    "with --same-name add"
                )
        others.add(content)
    chosen = order.filter(pa.array(fresh))
    counts["added"] += len(chosen)
    counts["already_there"] += len(table) - len(chosen)
    if len(chosen):
        (texts,) = table.take(chosen).combine_chunks().to_batches()
        index.add(texts, *sorted_bands(digests[chosen.to_numpy()]))


def near(
    index: NearIndex, text: str, k: int, min_jaccard: float, besides: Any = None
) -> list[dict[str, Any]]:
    """Return the k most similar indexed rows of at least `min_jaccard`, best first.

    Similarities are exact; ties by uid. `probability` is that with which a row of this
    similarity shares a band and so is found; `source` is what the row came in with.
    `besides` names a row to leave out, as (segment's name, row).
    """
    settings = settings_of(index)
    sketched = settings.digests(pa.array([text], pa.large_string()))
    if sketched.empty[0]:
        return []
    answers: list[dict[str, Any]] = []
    for segment in index.segments:
        rows, bands = sharing_rows(segment.digests, segment.rows, sketched.digests[0])
        standing = segment.standing(rows)
        rows, bands = rows[standing], bands[standing]
        for first in range(0, len(rows), _PAIRS_AT_ONCE):
            block = rows[first : first + _PAIRS_AT_ONCE]
            similarity = _similarity_to(segment, block, text, settings)
            for i in np.flatnonzero(similarity >= min_jaccard):
                row, value = int(block[i]), float(similarity[i])
                answers.append(
                    {
                        "uid": segment.table.column("uid")[row].as_py(),
                        "jaccard": value,
                        "shared_bands": int(bands[first + i]),
                        "row": (segment, row),
                    }
                )
    answers = [a for a in answers if (a["row"][0].name, a["row"][1]) != besides]
    answers.sort(key=lambda answer: (-answer["jaccard"], answer["uid"]))
    return [_told(answer, index, settings) for answer in answers[:k]]


def found_with(index: NearIndex, similarity: float) -> float:
    """Return the probability that a row of this similarity shares a band."""
    settings = settings_of(index)
    return collision_probability(similarity, settings.bands, settings.rows)


def _told(
    answer: dict[str, Any], index: NearIndex, settings: Sketching
) -> dict[str, Any]:
    segment, row = answer.pop("row")
    chance = collision_probability(answer["jaccard"], settings.bands, settings.rows)
    addition = index.addition(segment.table.column("addition")[row].as_py())
    return {
        **answer,
        "probability": chance,
        "source": ", ".join(addition["sources"]),
        "text": segment.table.column("text")[row].as_py(),
    }


def _similarity_to(
    segment: TextSegment, rows: npt.NDArray[np.uint32], text: str, settings: Sketching
) -> npt.NDArray[np.float64]:
    texts = segment.table.column("text").take(pa.array(rows))
    both = pa.concat_arrays([pa.array([text], pa.large_string()), texts])
    bounds, hashes = settings.sets(both)
    left = np.arange(1, len(both), dtype=np.uint32)
    out: npt.NDArray[np.float64]
    out = jaccard(bounds, hashes, left, np.zeros(len(left), dtype=np.uint32))
    return out


def hits_in_index(
    context: Context, settings: Sketching, candidates: Candidates, sets: CandidateSets
) -> pa.Table:
    """Return HITS: rows within the threshold of an indexed text, and the nearest one.

    A row is not its own duplicate: an indexed row of the same text is the row itself if
    a column names both and the names are equal, or if it came from the same shard and
    has no other name than its content. So a run whose rows have joined the index may
    be repeated. `row` is a position in `candidates.rows`. Raises ConfigError if the
    index was built with other settings.
    """
    config: MinhashConfig = context.config
    assert config.index is not None
    index = NearIndex(config.index)
    index.require(asdict(settings))
    itself = _identity(index, context, candidates, sets)
    best: dict[int, tuple[float, str, bool]] = {}
    pairs = _proposed(index, settings, candidates, context.engine)
    for segment, keys in zip(index.segments, pairs, strict=True):
        for first in range(0, len(keys), _PAIRS_AT_ONCE):
            block = keys[first : first + _PAIRS_AT_ONCE]
            rows = (block >> np.uint64(32)).astype(np.int64)
            others = (block & np.uint64(2**32 - 1)).astype(np.int64)
            similarity = _across(segment, rows, others, settings, sets)
            near_enough = np.flatnonzero(similarity >= config.threshold)
            rows, others = rows[near_enough], others[near_enough]
            same, is_itself = itself(segment, rows, others)
            names = segment.table.column("uid").take(pa.array(others)).to_pylist()
            for i in np.flatnonzero(~is_itself):
                value = -float(similarity[near_enough[i]])
                hit = (value, names[i], bool(same[i]))
                best[int(rows[i])] = min(hit, best.get(int(rows[i]), hit))
    ordered = sorted(best)
    return pa.table(
        {
            "row": ordered,
            "uid": [best[row][1] for row in ordered],
            "similarity": [-best[row][0] for row in ordered],
            "same_text": [best[row][2] for row in ordered],
        },
        schema=HITS,
    )


Booleans = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]


def _identity(
    index: NearIndex, context: Context, candidates: Candidates, sets: CandidateSets
) -> Callable[[TextSegment, Rows, Rows], tuple[Booleans, Booleans]]:
    """Return the function (segment, rows, indexed rows) → (same text, same row)."""
    keys = _shard_keys(context.reader, context.shard_rows)
    sources = single(candidates.rows["source"])

    def itself(
        segment: TextSegment, rows: Rows, others: Rows
    ) -> tuple[Booleans, Booleans]:
        wanted = pa.array(others)
        contents = segment.table.column("content").take(wanted).to_numpy()
        same = sets.contents(rows) == contents
        names = segment.table.column("uid").take(wanted).cast(pa.string())
        named_alike = pc.equal(names, candidates.uids.of(rows)).to_numpy(
            zero_copy_only=False
        )
        numbers = segment.table.column("addition").take(wanted).to_pylist()
        is_itself = np.zeros(len(rows), dtype=np.bool_)
        for i in np.flatnonzero(same):
            addition = index.additions[numbers[i]]
            is_itself[i] = (
                named_alike[i]
                if addition["named"]
                else keys[sources[int(rows[i])].as_py()] in addition["shards"]
            )
        return same, is_itself

    return itself


def _shard_keys(reader: SampleReader, shard_rows: Mapping[str, int]) -> dict[str, str]:
    sizes = {}
    for name, path in reader.paths.items():
        fs, inner = fsspec.url_to_fs(path)
        sizes[name] = int(fs.info(inner)["size"])
    return {name: shard_key(name, shard_rows[name], sizes[name]) for name in sizes}


def _proposed(
    index: NearIndex, settings: Sketching, candidates: Candidates, engine: Engine
) -> list[npt.NDArray[np.uint64]]:
    """Return, for each segment, the keys (row << 32 | indexed row) to compare."""
    assert candidates.sketches is not None
    present = np.flatnonzero(candidates.present)
    keys = [np.zeros(0, dtype=np.uint64) for _ in index.segments]
    for band in range(settings.bands):
        queries = collect_digests(engine, candidates.sketches, range(band, band + 1))[
            present, 0
        ]
        for number, segment in enumerate(index.segments):
            query, other = pairs_in_band(
                segment.digests[band], segment.rows[band], queries, _MOST_IN_BUCKET
            )
            standing = segment.standing(other)
            row = present[query[standing]].astype(np.uint64)
            pairs = row << np.uint64(32) | other[standing]
            keys[number] = np.union1d(keys[number], pairs)
    return keys


def _across(
    segment: TextSegment,
    rows: Rows,
    others: Rows,
    settings: Sketching,
    sets: CandidateSets,
) -> npt.NDArray[np.float64]:
    """Return the exact similarity of entering rows and indexed rows."""
    entering, left = np.unique(rows, return_inverse=True)
    indexed, right = np.unique(others, return_inverse=True)
    entering_bounds, entering_hashes = sets.sets_of(entering)
    texts = segment.table.column("text").take(pa.array(indexed))
    bounds, hashes = settings.sets(texts)
    out: npt.NDArray[np.float64]
    out = jaccard(
        np.concatenate([entering_bounds, bounds[1:] + entering_bounds[-1]]),
        np.concatenate([entering_hashes, hashes]),
        left.astype(np.uint32),
        (right + len(entering)).astype(np.uint32),
    )
    return out
