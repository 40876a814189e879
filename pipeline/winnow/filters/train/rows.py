"""Rows of trusted pools as pairs, and why a row is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from winnow.config.filter_train import PairPool, read_uids
from winnow.filters.train.order import plain
from winnow.formats.reader import SampleReader, single, utf8
from winnow.formats.shard_protocol import Unreadable

Captions = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """One image and its right captions; where it stands."""

    uid: str
    captions: Captions
    pool: int
    source: str
    row: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that is not used, and why."""

    uid: str | None
    pool: int
    source: str
    row: int
    reason: str


def usable(
    pool: PairPool,
    number: int,
    reader: SampleReader,
    left_out: list[LeftOut],
    seen: set[str],
) -> list[Pair]:
    """Return the pairs of a pool; note every other row and its reason."""
    without = read_uids(pool.without, "without") if pool.without else frozenset()
    pairs: list[Pair] = []
    for pair, fault in _rows(pool, number, reader):
        doubts = {
            "left_out_by_file": pair.uid in without,
            "duplicate_uid": pair.uid in seen,
        }
        reason = fault or next((why for why, true in doubts.items() if true), "")
        if reason:
            left_out.append(
                LeftOut(pair.uid or None, number, pair.source, pair.row, reason)
            )
        else:
            seen.add(pair.uid)
            pairs.append(pair)
    return _of_rare_captions(pairs, pool.max_caption_repeats, left_out)


def _rows(
    pool: PairPool, number: int, reader: SampleReader
) -> Iterator[tuple[Pair, str]]:
    """Yield every row as a pair, with a reason where it is none."""
    names = [pool.columns.uid, pool.columns.text]
    for source, path in reader.paths.items():
        rows = np.arange(reader.format.footer(path).rows, dtype=np.int64)
        for start, table in reader.rows(source, rows, names):
            if isinstance(table, Unreadable):
                for row in range(start, start + table.rows):
                    yield Pair("", (), number, source, row), table.reason
                continue
            uids, _ = utf8(single(table[names[0]]).cast(pa.string()))
            texts = _captions(single(table[names[1]]))
            for offset, (uid, captions) in enumerate(
                zip(uids.to_pylist(), texts, strict=True)
            ):
                pair = Pair(uid or "", captions or (), number, source, start + offset)
                yield pair, _fault(uid, captions)


def _fault(uid: str | None, captions: Captions | None) -> str:
    if not uid:
        return "uid_missing"
    if captions is None:
        return "text_not_utf8"
    return "" if captions else "caption_missing"


def _captions(column: pa.Array) -> list[Captions | None]:
    """Return the captions of each row that say something; None: some are no UTF-8."""
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        texts, bad = utf8(column)
        return [
            None if wrong else _sayings([text])
            for text, wrong in zip(texts.to_pylist(), bad.to_pylist(), strict=True)
        ]
    lengths = [0 if n is None else n for n in column.value_lengths().to_pylist()]
    texts, bad = utf8(column.flatten())
    flat, wrong, start = texts.to_pylist(), bad.to_pylist(), 0
    captions: list[Captions | None] = []
    for length in lengths:
        end = start + length
        captions.append(None if any(wrong[start:end]) else _sayings(flat[start:end]))
        start = end
    return captions


def _sayings(texts: Sequence[str | None]) -> Captions:
    return tuple(dict.fromkeys(text for text in texts if text and text.strip()))


def _of_rare_captions(
    pairs: list[Pair], most: int | None, left_out: list[LeftOut]
) -> list[Pair]:
    """Leave out captions that more than `most` rows of the pool have."""
    if most is None:
        return pairs
    counts = Counter(c for pair in pairs for c in {plain(c) for c in pair.captions})
    kept = []
    for pair in pairs:
        rare = tuple(c for c in pair.captions if counts[plain(c)] <= most)
        if rare:
            kept.append(Pair(pair.uid, rare, pair.pool, pair.source, pair.row))
        else:
            left_out.append(
                LeftOut(pair.uid, pair.pool, pair.source, pair.row, "caption_repeated")
            )
    return kept
