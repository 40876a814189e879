"""Texts that share a passage with a test set: 13 words, or 50 characters, in a row.

Test sets are JSON Lines or Parquet, read once on the driver, which holds 16 bytes for
each of their passages; the corpus streams past them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.filter.overlap import (
    Kind,
    PassageIndex,
    passage_index,
    shared_passages,
)
from winnow.config.text_steps import ItemSet, OverlapConfig
from winnow.core.errors import InputError
from winnow.core.hashing import fingerprint
from winnow.formats.column_names import column_hint
from winnow.formats.reader import SampleReader, single, utf8
from winnow.formats.shard_discovery import Shard, common_root, find_pool, read_footers
from winnow.steps.contract import (
    JUDGED,
    Context,
    Contract,
    Outcome,
    decisions_of,
    judged,
    rejects_of,
)
from winnow.steps.index import references, uid_strings

#: For each text and criterion: the first test item that it shares a passage with, as
#: SET:ITEM, and the part of the text's passages that test items have.
_OVERLAPS = pa.schema(
    [
        ("uid", pa.string()),
        ("words_item", pa.string()),
        ("words_share", pa.float64()),
        ("characters_item", pa.string()),
        ("characters_share", pa.float64()),
        ("fault", pa.string()),
    ]
)


@dataclass(frozen=True)
class Criterion:
    """One way to share a passage, with the index of what the test sets hold."""

    kind: Kind
    length: int
    index: PassageIndex

    @property
    def reason(self) -> str:
        """What the ledger says of a hit."""
        return f"shares_{self.length}_{self.kind}"


def contract(config: OverlapConfig) -> Contract:
    """Return what is read, and what the test sets are."""
    states = [
        [(shard.name, shard.fingerprint) for shard in _opened(given)[0]]
        for given in config.against
    ]
    return Contract(frozenset({"text"}), version=fingerprint(repr(states)))


def run(context: Context) -> Outcome:
    """Compare every text with every test item, by each criterion that is on."""
    engine, config = context.engine, context.config
    names, blocks, counts = _items(config)
    lengths: dict[Kind, int | None] = {
        "words": config.words,
        "characters": config.characters,
    }
    criteria = [
        Criterion(kind, length, passage_index(blocks, kind, length))
        for kind, length in lengths.items()
        if length is not None
    ]
    overlaps = engine.map_batches(
        context.samples,
        partial(find_overlaps, reader=context.reader, criteria=criteria, names=names),
        _OVERLAPS,
        order_by=("source", "row"),
    )
    target = os.fspath(context.folder / "overlaps")
    engine.write(overlaps, target, ["uid"])
    judging = partial(judge_overlaps, reasons={c.kind: c.reason for c in criteria})
    frame = engine.map_batches(engine.scan(target), judging, JUDGED)
    return Outcome(
        decisions_of(engine, frame),
        rejects_of(engine, frame),
        artifacts={"overlaps": "overlaps"},
        facts={
            "items": counts,
            "passages": {c.reason: len(c.index.hashes) for c in criteria},
        },
    )


def find_overlaps(
    batches: Iterator[pa.RecordBatch],
    *,
    reader: SampleReader,
    criteria: list[Criterion],
    names: list[str],
) -> Iterator[pa.RecordBatch]:
    """Yield, for each text, the items that it shares a passage with."""
    every = pa.array(names, pa.string())
    for part in reader.read(batches, ("text",)):
        texts = part.column("text").cast(pa.large_string())
        columns: dict[str, Any] = {
            field.name: pa.nulls(len(part), field.type) for field in _OVERLAPS
        }
        columns["uid"] = part.column("uid").cast(pa.string())
        columns["fault"] = part.column("reason").cast(pa.string())
        for criterion in criteria:
            share, owner = shared_passages(
                texts, criterion.kind, criterion.length, criterion.index
            )
            rows = pa.array(np.maximum(owner, 0), mask=owner < 0)
            columns[f"{criterion.kind}_item"] = every.take(rows)
            columns[f"{criterion.kind}_share"] = pa.array(share)
        yield pa.RecordBatch.from_arrays(list(columns.values()), schema=_OVERLAPS)


def judge_overlaps(
    batches: Iterator[pa.RecordBatch], *, reasons: dict[Kind, str]
) -> Iterator[pa.RecordBatch]:
    """Drop what shares a passage; the first criterion that hits gives the reason."""
    for batch in batches:
        fault = batch.column("fault")
        reason: Any = pa.nulls(len(batch), pa.string())
        item: Any = pa.nulls(len(batch), pa.string())
        share: Any = pa.nulls(len(batch), pa.float64())
        for kind, name in reasons.items():
            hit = pc.and_(pc.is_valid(batch.column(f"{kind}_item")), pc.is_null(reason))
            item = pc.if_else(hit, batch.column(f"{kind}_item"), item)
            share = pc.if_else(hit, batch.column(f"{kind}_share"), share)
            reason = pc.if_else(hit, name, reason)
        rejected = pc.is_valid(fault)
        yield judged(
            batch.column("uid"),
            keep=pc.and_(pc.is_null(reason), pc.invert(rejected)),
            reason=pc.coalesce(fault, reason, pa.scalar("shares_nothing")),
            score=share,
            kept_twin=item,
            rejected=rejected,
        )


def _opened(given: ItemSet) -> tuple[list[Shard], SampleReader]:
    """Return a test set's shards and what reads them."""
    try:
        pool = find_pool(given.path)
        shards, schema, _ = read_footers(pool.paths, kind=pool.kind)
    except InputError as error:
        raise InputError(f"overlap.against, set '{given.title}': {error}") from error
    paths = {shard.name: shard.path for shard in shards}
    root = common_root(pool.paths)
    return shards, SampleReader(root, paths, schema=schema, kind=pool.kind)


def _items(config: OverlapConfig) -> tuple[list[str], list[pa.Array], dict[str, int]]:
    """Return the items' names, their texts in blocks, and how many a set has."""
    names: list[str] = []
    blocks: list[pa.Array] = []
    counts: dict[str, int] = {}
    for given in config.against:
        shards, reader = _opened(given)
        assert reader.schema is not None
        columns = _columns(given, reader.schema)
        extra = [*columns, *([given.uid] if given.uid else [])]
        before = len(names)
        for shard in shards:
            row = 0
            for part in reader.read(references(shard.name, shard.rows), (), extra):
                if given.uid:
                    uids = uid_strings(part.column(f"extra.{given.uid}"))
                else:
                    uids = [f"{shard.name}#{row + i}" for i in range(len(part))]
                row += len(part)
                for column in columns:
                    text = utf8(single(pa.chunked_array([part[f"extra.{column}"]])))[0]
                    blocks.append(text.cast(pa.large_string()))
                    names += [f"{given.title}:{uid}" for uid in uids]
        counts[given.title] = (len(names) - before) // len(columns)
    return names, blocks, counts


def _columns(given: ItemSet, schema: pa.Schema) -> tuple[str, ...]:
    """Return the columns that hold text: those named, or all of strings."""
    for column in (*given.columns, *([given.uid] if given.uid else [])):
        if column not in schema.names:
            hint = column_hint(column, schema)
            raise InputError(
                f"overlap.against, set '{given.title}': there is no column "
                f"'{column}'; {hint}"
            )
    strings = tuple(
        field.name
        for field in schema
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    )
    columns = given.columns or tuple(name for name in strings if name != given.uid)
    if not columns or not set(columns) <= set(strings):
        raise InputError(
            f"overlap.against, set '{given.title}': columns: name columns of strings; "
            f"there are {', '.join(strings) or 'none'}"
        )
    return columns
