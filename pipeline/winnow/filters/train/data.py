"""Trusted pools as pairs: what is trained on, what is held out, what is left out.

Uids and captions of the pools are held in memory, images are not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.config.filter_train import PairPool, read_uids
from winnow.core.errors import ConfigError, InputError
from winnow.core.hashing import digest, keys
from winnow.filters.train.order import plain, wrong_order
from winnow.filters.train.rows import Captions, LeftOut, Pair, usable
from winnow.formats.image_states import image_states
from winnow.formats.reader import SampleReader
from winnow.formats.shard_discovery import (
    Shard,
    common_root,
    find_pool,
    pool_folders,
    read_footers,
    require_column,
)


@dataclass(frozen=True)
class Pools:
    """All usable pairs, sorted by uid; readers of their images; what is left out."""

    pairs: list[Pair]
    held_out: frozenset[str]
    readers: list[SampleReader]
    left_out: list[LeftOut]
    rows: int
    fingerprint: str = ""
    #: Of each pool: of its shards, and of the image files that its rows name.
    states: tuple[str, ...] = ()
    #: Uids that neither train nor measure, for a caption that is held out.
    spare: frozenset[str] = frozenset()

    def without(self, rejected: dict[str, str]) -> Pools:
        """Return the pools less the pairs whose image cannot be used."""
        gone = [
            LeftOut(p.uid, p.pool, p.source, p.row, rejected[p.uid])
            for p in self.pairs
            if p.uid in rejected and p.uid not in self.spare
        ]
        pairs = [pair for pair in self.pairs if pair.uid not in rejected]
        return replace(self, pairs=pairs, left_out=[*self.left_out, *gone])

    def training(self) -> list[int]:
        """Return the places of the pairs to train on."""
        other = self.held_out | self.spare
        return [i for i, p in enumerate(self.pairs) if p.uid not in other]

    def measured(self) -> list[int]:
        """Return the places of the pairs that are held out."""
        return [i for i, p in enumerate(self.pairs) if p.uid in self.held_out]


def open_pools(pools: Sequence[PairPool], seed: int) -> Pools:
    """Read uids and captions, and decide what each pair is for.

    Raises InputError if shards or columns are missing, or if nothing is left to train
    on.
    """
    readers: list[SampleReader] = []
    pairs: list[Pair] = []
    left_out: list[LeftOut] = []
    held: set[str] = set()
    marks: list[str] = []
    seen: set[str] = set()
    rows = 0
    for number, pool in enumerate(pools):
        reader, mark, count = _reader(pool, number)
        readers.append(reader)
        marks.append(mark)
        rows += count
        pool_pairs = usable(pool, number, reader, left_out, seen)
        held |= _held_out(pool, number, pool_pairs, seed)
        pairs += pool_pairs
    spare = _repeats_held_out(pairs, held)
    left_out += [
        LeftOut(pair.uid, pair.pool, pair.source, pair.row, "caption_held_out")
        for pair in pairs
        if pair.uid in spare
    ]
    pairs.sort(key=lambda pair: pair.uid)
    opened = Pools(
        pairs,
        frozenset(held),
        readers,
        left_out,
        rows,
        fingerprint=_mark(pairs, marks),
        states=tuple(marks),
        spare=spare,
    )
    if len(opened.training()) < 2:
        raise InputError(
            f"data: {len(opened.training())} of {rows} rows are left to train on "
            f"({_reasons(left_out)}; {len(held)} held out); give more rows, or hold "
            "out less"
        )
    return opened


def with_wrong_captions(
    pairs: Sequence[Pair], rows: Sequence[int], fraction: float, seed: int
) -> list[Captions]:
    """Return the captions of `rows`, a share of them those of another of its pool."""
    captions = [pairs[row].captions for row in rows]
    for pool in sorted({pairs[row].pool for row in rows}):
        places = [i for i, row in enumerate(rows) if pairs[row].pool == pool]
        uids = [pairs[rows[i]].uid for i in places]
        for row, other in wrong_order(uids, fraction, seed).items():
            captions[places[row]] = pairs[rows[places[other]]].captions
    return captions


def _reader(pool: PairPool, number: int) -> tuple[SampleReader, str, int]:
    located = find_pool(pool.path)
    shards, schema, _ = read_footers(located.paths, kind=located.kind)
    for key in ("uid", "image", "text"):
        require_column(schema, getattr(pool.columns, key), f"{key} (of data[{number}])")
    paths = {shard.name: shard.path for shard in shards}
    root = common_root(list(paths.values()))
    folders, image = pool_folders(pool.path), pool.columns.image
    reader = SampleReader(
        root, paths, image, schema=schema, folders=folders, kind=located.kind
    )
    return reader, _state(reader, shards), sum(shard.rows for shard in shards)


def _state(reader: SampleReader, shards: Sequence[Shard]) -> str:
    """Return a fingerprint of shards, and of the image files that their rows name."""
    looks = (image_states(reader, shard.name, shard.rows) for shard in shards)
    parts = [look.tobytes() for look in looks if look is not None]
    marks = [f"{shard.name}:{shard.fingerprint}" for shard in shards]
    return digest("\n".join(marks).encode(), *parts).hex()


def _held_out(
    pool: PairPool, number: int, pairs: list[Pair], seed: int
) -> frozenset[str]:
    """Return the uids that a pool holds out; rows with equal captions go together."""
    if pool.hold_out.uids:
        key = f"data[{number}].hold_out.uids"
        wanted = read_uids(pool.hold_out.uids, key)
        held_out = frozenset(pair.uid for pair in pairs if pair.uid in wanted)
        if wanted and not held_out:
            raise ConfigError(
                f"{key}: none of the {len(wanted)} uids of {pool.hold_out.uids} is in "
                f"{', '.join(pool.path)}"
            )
        return held_out
    goal = round(pool.hold_out.fraction * len(pairs))
    groups = _groups(pairs)
    # A group goes by the hash of its smallest uid, wherever its rows stand.
    names = sorted(groups)
    held: set[str] = set()
    for rank in np.argsort(keys(names, f"hold out:{seed}"), kind="stable").tolist():
        group = groups[names[rank]]
        if len(held) + len(group) <= goal:
            held.update(group)
    return frozenset(held)


def _groups(pairs: list[Pair]) -> dict[str, list[str]]:
    """Return uids that share captions, also through others, by their smallest uid."""
    parent = {pair.uid: pair.uid for pair in pairs}

    def root(uid: str) -> str:
        while parent[uid] != uid:
            parent[uid] = parent[parent[uid]]
            uid = parent[uid]
        return uid

    first: dict[str, str] = {}
    for pair in pairs:
        for caption in pair.captions:
            one, other = (
                root(first.setdefault(plain(caption), pair.uid)),
                root(pair.uid),
            )
            parent[max(one, other)] = min(one, other)
    groups: dict[str, list[str]] = {}
    for pair in pairs:
        groups.setdefault(root(pair.uid), []).append(pair.uid)
    return groups


def _repeats_held_out(pairs: list[Pair], held: set[str]) -> frozenset[str]:
    """Return the uids to train on that say what a row held out says."""
    known = {plain(c) for pair in pairs if pair.uid in held for c in pair.captions}
    return frozenset(
        pair.uid
        for pair in pairs
        if pair.uid not in held and any(plain(c) in known for c in pair.captions)
    )


def _mark(pairs: list[Pair], marks: list[str]) -> str:
    state: list[Any] = [*(mark.encode() for mark in marks), b""]
    for pair in pairs:
        state.append("\x1f".join((pair.uid, *pair.captions)).encode())
    return digest(*state).hex()


def _reasons(left_out: list[LeftOut]) -> str:
    counts = Counter(row.reason for row in left_out)
    told = ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items()))
    return told or "none left out"


def counted(left_out: Sequence[LeftOut]) -> dict[str, int]:
    """Return how many rows each reason took, the detail behind a colon left off."""
    counts = Counter(row.reason.partition(":")[0] for row in left_out)
    return dict(sorted(counts.items()))


def read_images(
    pairs: Sequence[Pair], reader: SampleReader
) -> Iterator[tuple[int, bytes | None, str | None]]:
    """Yield (place among `pairs`, image bytes, reason) of pairs of one pool."""
    stored_rows = sorted(
        (pair.source, pair.row, index) for index, pair in enumerate(pairs)
    )
    order: npt.NDArray[np.int64] = np.array(
        [index for *_, index in stored_rows], np.int64
    )
    batch = pa.RecordBatch.from_pydict(
        {
            "uid": pa.array(
                [pairs[index].uid for index in order.tolist()], pa.string()
            ),
            "source": pa.array([source for source, *_ in stored_rows], pa.string()),
            "row": pa.array([row for _, row, _ in stored_rows], pa.int64()),
        }
    )
    position = 0
    for read in reader.read(iter([batch]), ["image"]):
        images, reasons = read.column("image"), read.column("reason").to_pylist()
        for inner in range(len(read)):
            yield int(order[position]), images[inner].as_py(), reasons[inner]
            position += 1
