"""Rows in order of preference and the buckets that they share, made or read back.

Texts are sketched where they are read, and the sketches stay there. What comes to the
driver is a uid and a place of each row that shares a band (of every row, where an index
is asked), and the members of buckets (see `minhash_buckets`).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.dedup.banding import Buckets
from winnow.algorithms.dedup.verification import NO_PAIRS, Pairs
from winnow.config.steps import MinhashConfig
from winnow.core.engine import Frame, Measure
from winnow.core.progress import doing
from winnow.formats.reader import single
from winnow.steps.contract import Context
from winnow.steps.minhash_buckets import TextSketches, find_buckets
from winnow.steps.minhash_rows import STORED, UidsByPreference, ordered_rows
from winnow.steps.sketching import Digested, Sketching, TextColumn

# Members of buckets, 24 bytes each while they are.
_SORTED = 1_000_000
#: Rows that take no part, and why.
UNREAD = pa.schema(
    [("uid", pa.string()), ("state", pa.string()), ("rejected", pa.bool_())]
)
#: How many rows there are of each origin.
ORIGINS = pa.schema([("origin", pa.string()), ("rows", pa.int64())])
#: How many texts take part of each unit, and how many of them are one shingle.
UNITS = pa.schema(
    [("unit", pa.string()), ("rows", pa.int64()), ("one_shingle", pa.int64())]
)


@dataclass(frozen=True)
class Totals:
    """What is told of all rows: tables of ORIGINS and UNITS, and a frame of UNREAD."""

    origins: pa.Table
    units: pa.Table
    unread: Frame


@dataclass(frozen=True)
class Candidates:
    """Rows, their buckets, similarities known from an earlier run; digests if asked.

    rows: ROWS of those that share a band; of all, where an index is asked.
    """

    rows: pa.Table
    uids: UidsByPreference
    buckets: Buckets
    totals: Totals
    known: Pairs = NO_PAIRS
    reused: bool = False
    sketches: TextSketches | None = None

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which rows take part."""
        empty = pc.equal(self.rows["state"].cast(pa.string()), "")
        return np.asarray(empty.to_numpy(), dtype=np.bool_)

    def without(self, gone: npt.NDArray[Any]) -> Candidates:
        """Return the candidates with some rows taken out of their buckets."""
        stays = np.ones(len(self.rows), dtype=np.bool_)
        stays[gone] = False
        kept = stays[self.buckets.members]
        bucket = np.repeat(
            np.arange(len(self.buckets.band)), np.diff(self.buckets.bounds)
        )
        sizes = np.bincount(bucket[kept], minlength=len(self.buckets.band))
        kept &= (sizes > 1)[bucket]
        buckets = Buckets(
            np.concatenate([[0], np.cumsum(sizes[sizes > 1])]).astype(np.int64),
            self.buckets.members[kept],
            self.buckets.band[sizes > 1],
        )
        return replace(self, buckets=buckets)


def fresh_candidates(
    context: Context, column: TextColumn, settings: Sketching
) -> Candidates:
    """Sketch every row's text and group the rows by their bands."""
    engine, config = context.engine, context.config
    schema = _sketch_schema(context, settings.bands)
    texts = replace(column, extra=_extra(config))
    ends = np.cumsum([0, *context.shard_rows.values()]).tolist()
    kernel = partial(
        sketch_rows,
        texts=texts,
        settings=settings,
        config=config,
        schema=schema,
        first_of=dict(zip(context.shard_rows, ends[:-1], strict=True)),
    )
    doing("sketches of texts")
    sketches = engine.map_batches(context.samples, kernel, schema, order_by=_PLACE)
    doing("rows that share a band")
    given = TextSketches(sketches, settings.bands, context.rows)
    totals = _totals(context, sketches)
    names = ["number", *STORED.names]
    names += ["preference"] if config.keeper != "uid" else []
    details = engine.select(sketches, {name: name for name in names})
    if config.index:
        rows, uids, numbers = _ordered(context, details)
        position = _positions(numbers, ends[-1])
        given = replace(given, position=position)
        buckets = find_buckets(engine, given, context.parts / "bands")
        return Candidates(rows, uids, buckets, totals, sketches=given)
    buckets = find_buckets(engine, given, context.parts / "bands")
    sharing = np.unique(buckets.members)
    chosen = engine.from_table(pa.table({"number": sharing.astype(np.int64)}))
    rows, uids, numbers = _ordered(
        context, engine.join(details, chosen, "number", "semi")
    )
    ranks = np.empty(len(sharing), np.uint32)
    ranks[np.searchsorted(sharing, numbers)] = np.arange(len(numbers))
    buckets = _by_preference(buckets, sharing, ranks)
    return Candidates(rows, uids, buckets, totals)


def _ordered(
    context: Context, details: Frame
) -> tuple[pa.Table, UidsByPreference, npt.NDArray[Any]]:
    """Return rows by preference, their uids and their numbers."""
    config: MinhashConfig = context.config
    preferred = None
    if config.keeper != "uid":
        down = config.keeper == "length" or config.keeper_descending
        preferred = "descending" if down else "ascending"
    return ordered_rows(context.engine, details, context.parts / "rows", preferred)


def _positions(numbers: npt.NDArray[Any], pool_rows: int) -> npt.NDArray[np.int64]:
    """Return the position of each row of the pool by its number; -1 without one."""
    positions = np.full(pool_rows, -1, dtype=np.int64)
    positions[numbers] = np.arange(len(numbers))
    return positions


def _by_preference(
    buckets: Buckets, numbers: npt.NDArray[Any], ranks: npt.NDArray[np.uint32]
) -> Buckets:
    """Return buckets of numbers as buckets of places.

    numbers: ascending, those of all members; ranks: the place of each.
    """
    members = np.empty_like(buckets.members)
    bounds, first = buckets.bounds, 0
    while first < len(bounds) - 1:
        # Whole buckets, as many as are sorted at a time.
        end = int(np.searchsorted(bounds, bounds[first] + _SORTED, "right")) - 1
        end = max(end, first + 1)
        some = slice(bounds[first], bounds[end])
        sizes = np.diff(bounds[first : end + 1])
        keys = np.repeat(np.arange(len(sizes), dtype=np.uint64) << np.uint64(32), sizes)
        number = np.searchsorted(numbers, buckets.members[some])
        keys |= ranks[number].astype(np.uint64)
        keys.sort()
        members[some] = keys.astype(np.uint32)
        first = end
    return buckets._replace(members=members)


def _totals(context: Context, sketches: Frame) -> Totals:
    """Count all rows; write those that take no part, to be read back."""
    engine, most = context.engine, max(context.rows, 1)
    # Counted where they are: few values, so that nothing is gained by moving rows.
    chosen = engine.select(sketches, {"origin": "origin", "number": "number"})
    origins = engine.map_batches(chosen, count_origins, ORIGINS)
    origins = engine.aggregate(origins, "origin", {"rows": ("rows", "sum")})
    names = ("unit", "state", "number", "one_shingle")
    chosen = engine.select(sketches, {name: name for name in names})
    units = engine.map_batches(chosen, count_units, UNITS)
    sums: dict[str, tuple[str, Measure]] = {
        name: (name, "sum") for name in ("rows", "one_shingle")
    }
    units = engine.aggregate(units, "unit", sums)
    columns = {name: name for name in UNREAD.names}
    unread = engine.map_batches(engine.select(sketches, columns), without_part, UNREAD)
    folder = os.fspath(context.folder / "unread")
    engine.write(unread, folder, ["uid"])
    return Totals(
        engine.collect(origins, most).cast(ORIGINS),
        engine.collect(units, most).cast(UNITS),
        engine.scan(folder),
    )


def count_origins(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield how many rows of each batch have which origin."""
    for batch in batches:
        table = (
            pa.Table.from_batches([batch])
            .group_by("origin")
            .aggregate([("number", "count")])
        )
        columns = [single(table["origin"]), single(table["number_count"])]
        yield pa.RecordBatch.from_arrays(columns, schema=ORIGINS)


def count_units(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield how many rows of each batch take part by which unit."""
    for batch in batches:
        part = batch.filter(pc.equal(batch.column("state"), ""))
        sums = [("number", "count"), ("one_shingle", "sum")]
        table = pa.Table.from_batches([part]).group_by("unit").aggregate(sums)
        names = ("unit", "number_count", "one_shingle_sum")
        columns = [
            single(table[name]).cast(field.type)
            for name, field in zip(names, UNITS, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=UNITS)


def without_part(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the rows that take no part."""
    for batch in batches:
        part = batch.filter(pc.not_equal(batch.column("state"), ""))
        columns = [part.column(field.name).cast(field.type) for field in UNREAD]
        yield pa.RecordBatch.from_arrays(columns, schema=UNREAD)


_PLACE = ("source", "row")


def _extra(config: MinhashConfig) -> tuple[str, ...]:
    keeper = () if config.keeper in ("uid", "length") else (config.keeper,)
    return (*keeper, *((config.source,) if config.source else ()))


def _sketch_schema(context: Context, bands: int) -> pa.Schema:
    config: MinhashConfig = context.config
    fields = [("number", pa.int64()), ("uid", pa.string()), ("source", pa.string())]
    fields += [("row", pa.int64()), ("origin", pa.string()), ("state", pa.string())]
    fields += [("rejected", pa.bool_()), ("unit", pa.string())]
    fields += [("one_shingle", pa.bool_())]
    if config.keeper == "length":
        fields.append(("preference", pa.int64()))
    elif config.keeper != "uid":
        fields.append(("preference", context.schema.field(config.keeper).type))
    return pa.schema([*fields, *((f"band_{i}", pa.uint64()) for i in range(bands))])


def sketch_rows(
    batches: Iterator[pa.RecordBatch],
    *,
    texts: TextColumn,
    settings: Sketching,
    config: MinhashConfig,
    schema: pa.Schema,
    first_of: Mapping[str, int],
) -> Iterator[pa.RecordBatch]:
    """Yield each sample's place, state, what orders it, and its band digests.

    `number` is the row's in the whole pool, the same however the pool is divided;
    `first_of` is that of each shard's first row.
    """
    passed: deque[pa.RecordBatch] = deque()
    for uid, text, reason, extra in texts.blocks(_recorded(batches, passed)):
        sketched = settings.digests(text)
        few = _few_shingles(text, settings, config.min_shingles)
        state = pc.if_else(pa.array(few), "too_few_shingles", "")
        state = pc.if_else(pa.array(sketched.empty), "no_text", state)
        references = _popped(passed, len(uid))
        columns = {
            "number": _numbers(references, first_of),
            "uid": uid,
            "source": references["source"],
            "row": references["row"],
            "origin": extra[config.source] if config.source else pa.nulls(len(uid)),
            "state": pc.coalesce(reason, state),
            "rejected": pc.is_valid(reason),
            "unit": units_of(sketched, settings.unit),
            "one_shingle": pa.array(sketched.units <= settings.ngram),
        }
        if config.keeper == "length":
            columns["preference"] = pc.utf8_length(text)
        elif config.keeper != "uid":
            columns["preference"] = extra[config.keeper]
        bands = zip(schema.names[len(columns) :], sketched.digests.T, strict=True)
        columns |= {name: pa.array(digest) for name, digest in bands}
        arrays = [columns[field.name].cast(field.type) for field in schema]
        yield from pa.table(arrays, schema=schema).combine_chunks().to_batches()


def units_of(sketched: Digested, unit: str) -> pa.Array:
    """Return what each text was cut into: word, char, mixed, or element.

    With `unit: auto` that depends on the script of each text (see
    `algorithms.dedup.spaceless_scripts`).
    """
    if unit != "auto":
        return pa.repeat(pa.scalar(unit, pa.string()), len(sketched.units))
    none, all_ = sketched.singles == 0, sketched.singles == sketched.units
    codes = np.where(none, 0, np.where(all_, 1, 2))
    return pa.array(["word", "char", "mixed"], pa.string()).take(pa.array(codes))


def _few_shingles(
    text: pa.Array, settings: Sketching, least: int
) -> npt.NDArray[np.bool_]:
    if least == 1:
        return np.zeros(len(text), dtype=np.bool_)
    few: npt.NDArray[np.bool_] = np.diff(settings.sets(text)[0]) < least
    return few


def _numbers(references: pa.Table, first_of: Mapping[str, int]) -> pa.Array:
    source = single(references["source"]).dictionary_encode()
    names = source.dictionary.to_pylist()
    first = np.array([first_of[name] for name in names], dtype=np.int64)
    return pa.array(first[source.indices.to_numpy()] + references["row"].to_numpy())


def _recorded(
    batches: Iterator[pa.RecordBatch], passed: deque[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        passed.append(batch.select(list(_PLACE)))
        yield batch


def _popped(passed: deque[pa.RecordBatch], rows: int) -> pa.Table:
    taken = []
    while rows:
        batch = passed.popleft()
        taken.append(batch.slice(0, rows))
        if len(batch) > rows:
            passed.appendleft(batch.slice(rows))
        rows -= len(taken[-1])
    return pa.Table.from_batches(taken)
