"""The first step of every run: name each row, once.

Every row of every shard gets a uid (its own, or a hash of its content and of which copy
of it this is), the key that fixes its place in every drawing of samples, and its
reference. Rows without a usable uid and further rows of a uid are rejected here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from winnow.config.run import InputConfig
from winnow.core.arrow_types import is_uuid, uuid_texts
from winnow.core.engine import Engine, Frame
from winnow.core.errors import InputError
from winnow.core.hashing import DIGEST_BYTES, digest, keys
from winnow.core.progress import one_pass
from winnow.core.schemas import REJECTS, SAMPLES
from winnow.formats.reader import SampleReader, is_binary, utf8
from winnow.steps.contract import Context, Contract, Outcome

_CHUNK = 65_536

_INDEXED = pa.schema(
    [
        *SAMPLES,
        ("place", pa.string()),
        ("reason", pa.string()),
        ("valid", pa.bool_()),
    ]
)
_RANKED = pa.schema([("uid", pa.string()), ("place", pa.string())])
_COPIES = pa.schema(
    [("place", pa.string()), ("uid", pa.string()), ("key", pa.uint64())]
)
#: Before a ranked place: its content's digest, and a space.
_DIGEST_LETTERS = 2 * DIGEST_BYTES + 1


def contract(config: InputConfig) -> Contract:
    """Return what indexing reads: the uid column, or what it hashes."""
    columns = config.columns
    hashed = {"image": columns.image, "text": columns.text}
    modalities = (
        frozenset(name for name, column in hashed.items() if column)
        if columns.uid is None
        else frozenset()
    )
    return Contract(modalities, provides=frozenset({"samples"}), decides=False)


def run(context: Context) -> Outcome:
    """Write the samples of the pool, sorted by uid."""
    engine, config = context.engine, context.config
    shards = _shards(context)
    kernel = partial(
        index_rows,
        reader=context.reader,
        uid_column=config.columns.uid,
        modalities=tuple(sorted(contract(config).modalities)),
    )
    with one_pass():
        indexed = engine.map_batches(engine.from_table(shards), kernel, _INDEXED)
    named = engine.where(indexed, "valid", True)
    rejects = engine.select(
        engine.where(indexed, "valid", False), {"uid": "place", "reason": "reason"}
    )
    repeated = _repeated(context, named)
    if repeated is not None and config.columns.uid is None:
        named = _with_copies(engine, named, _ranked(context, repeated))
    elif repeated is not None:
        further = _further_rows(context, repeated)
        named = engine.join(named, further, "place", "anti")
        rejects = engine.union(
            [rejects, engine.map_batches(further, reject_places, REJECTS)]
        )
    samples = engine.select(named, {name: name for name in SAMPLES.names})
    engine.write(samples, os.fspath(context.folder / "samples"), ["uid"])
    # A rejected row has no uid of its own, so it is known by its place.
    rejected = engine.join(
        engine.select(indexed, {"uid": "place", "source": "source", "row": "row"}),
        rejects,
        "uid",
        "semi",
    )
    engine.write(rejected, os.fspath(context.folder / "rejected"), ["uid"])
    return Outcome(
        rejects=rejects, artifacts={"samples": "samples", "rejected": "rejected"}
    )


def _shards(context: Context) -> pa.Table:
    return pa.table(
        {
            "source": pa.array(list(context.shard_rows), pa.string()),
            "rows": pa.array(list(context.shard_rows.values()), pa.int64()),
        }
    )


def index_rows(
    batches: Iterator[pa.RecordBatch],
    *,
    reader: SampleReader,
    uid_column: str | None,
    modalities: tuple[str, ...],
) -> Iterator[pa.RecordBatch]:
    """Yield one _INDEXED row for each row of each (source, rows)."""
    for batch in batches:
        for shard in batch.to_pylist():
            extra = (uid_column,) if uid_column else ()
            places = references(shard["source"], shard["rows"])
            row = 0
            for part in reader.read(places, modalities, extra):
                yield _indexed(part, shard["source"], row, uid_column)
                row += len(part)


def references(source: str, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield references to all rows of a shard, as yet without uids."""
    for start in range(0, rows, _CHUNK):
        numbers = np.arange(start, min(rows, start + _CHUNK))
        size = len(numbers)
        yield pa.RecordBatch.from_pydict(
            {
                "uid": pa.nulls(size, pa.string()),
                "source": pa.array([source] * size, pa.string()),
                "row": pa.array(numbers),
            }
        )


def _indexed(
    part: pa.RecordBatch, source: str, first: int, uid_column: str | None
) -> pa.RecordBatch:
    numbers = np.arange(first, first + len(part))
    if uid_column is None:
        uids = pa.array(_content_uids(part), pa.string())
    else:
        uids = pa.array(uid_strings(part.column(f"extra.{uid_column}")), pa.string())
    missing = pc.fill_null(pc.equal(uids, ""), True)
    text = pa.array(numbers).cast(pa.string())
    places = pc.binary_join_element_wise(pa.scalar(source), text, "#")
    names = pc.if_else(missing, places, uids)
    named = pc.if_else(missing, pa.scalar("uid_missing"), pa.scalar(None, pa.string()))
    reason = pc.coalesce(part.column("reason"), named)
    return pa.RecordBatch.from_arrays(
        [
            names,
            pa.array(keys(names.to_pylist())),
            pa.array([source] * len(part), pa.string()),
            pa.array(numbers),
            places,
            reason,
            pc.is_null(reason),
        ],
        schema=_INDEXED,
    )


def _content_uids(part: pa.RecordBatch) -> list[str]:
    columns = [
        part.column(n).to_pylist() for n in ("image", "text") if n in part.schema.names
    ]
    return [
        digest(*(_framed(v) for v in row)).hex() for row in zip(*columns, strict=True)
    ]


def _contents(part: pa.RecordBatch) -> list[str]:
    """Return the digests of all that a row holds."""
    columns = [_values(part.column(n)) for n in part.schema.names if n != "uid"]
    return [
        digest(*(_framed(v) for v in row)).hex() for row in zip(*columns, strict=True)
    ]


def _values(column: pa.Array) -> list[Any]:
    # Text is not known to be valid UTF-8 here.
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    values: list[Any] = (column.cast(pa.binary()) if text else column).to_pylist()
    return values


def _framed(value: Any) -> bytes:
    if value is None:
        return b"0"
    if isinstance(value, bytes):
        return b"1" + value
    return b"1" + (value if isinstance(value, str) else repr(value)).encode()


def uid_strings(column: pa.Array) -> list[str | None]:
    """Return uids as strings; bytes as hexadecimal digits, UUIDs with their dashes."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if is_uuid(column.type):
        return uuid_texts(column)
    if is_binary(column.type):
        return [None if v is None else v.hex() for v in column.to_pylist()]
    strings: list[str | None] = utf8(column)[0].to_pylist()
    return strings


def _repeated(context: Context, named: Frame) -> Frame | None:
    """Return the rows whose uid stands in several; None if there are none."""
    engine = context.engine
    counts = engine.aggregate(named, "uid", {"rows": ("row", "count")})
    repeated = engine.map_batches(
        counts, repeated_uids, pa.schema([("uid", pa.string())])
    )
    if engine.count(repeated) == 0:
        return None
    config = context.config
    if config.columns.uid is not None and config.on_duplicate_uid == "error":
        example = engine.collect(repeated, context.rows)["uid"][0]
        raise InputError(
            f"input: the uid '{example}' stands in several rows; set "
            "input.on_duplicate_uid=quarantine to keep one row of each"
        )
    return engine.join(named, repeated, "uid", "semi")


def _ranked(context: Context, rows: Frame) -> Frame:
    """Return (uid, ranked place): of rows with one uid the smallest comes first.

    The smallest content digest, so that the order does not depend on shards or rows;
    wholly equal rows fall back to the place.
    """
    reader = context.reader
    given = {"image": reader.image, "text": reader.text}
    kernel = partial(
        rank_places,
        reader=reader,
        modalities=tuple(name for name, column in given.items() if column),
        others=tuple(n for n in context.schema.names if n not in given.values()),
    )
    return context.engine.map_batches(rows, kernel, _RANKED, order_by=("source", "row"))


def _further_rows(context: Context, repeated: Frame) -> Frame:
    """Return (uid, place) of all rows but the first of each uid."""
    engine, ranked = context.engine, _ranked(context, repeated)
    first = engine.aggregate(ranked, "uid", {"first": ("place", "min")})
    both = engine.join(ranked, first, "uid", "inner")
    return engine.map_batches(both, later_places, _RANKED)


def _with_copies(engine: Engine, named: Frame, ranked: Frame) -> Frame:
    """Return the samples, further rows of one content under names of their own."""
    copies = engine.map_batches(
        ranked, name_copies, _COPIES, order_by=("uid", "place"), together="uid"
    )
    firsts = engine.join(named, copies, "place", "anti")
    places = {name: name for name in ("place", "source", "row")}
    renamed = engine.join(engine.select(named, places), copies, "place", "inner")
    columns = {name: name for name in SAMPLES.names}
    return engine.union([engine.select(frame, columns) for frame in (firsts, renamed)])


def repeated_uids(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Keep the uids of more than one row."""
    for batch in batches:
        yield batch.filter(pc.greater(batch.column("rows"), 1)).select(["uid"])


def rank_places(
    batches: Iterator[pa.RecordBatch],
    *,
    reader: SampleReader,
    modalities: tuple[str, ...],
    others: tuple[str, ...],
) -> Iterator[pa.RecordBatch]:
    """Yield (uid, 'content digest source#row'): the smallest place stays."""
    for batch in batches:
        row = 0
        for part in reader.read(iter([batch]), modalities, others):
            places = batch.column("place").slice(row, len(part)).to_pylist()
            row += len(part)
            contents = _contents(part)
            ranked = [f"{c} {p}" for c, p in zip(contents, places, strict=True)]
            yield pa.RecordBatch.from_arrays(
                [part.column("uid").cast(pa.string()), pa.array(ranked, pa.string())],
                schema=_RANKED,
            )


def name_copies(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Name all rows of a uid but the first by the uid and which copy they are.

    Rows come sorted by uid and ranked place, all of a uid to one call.
    """
    last, number = None, 0
    for batch in batches:
        places, names = [], []
        rows = zip(*(batch.column(n).to_pylist() for n in _RANKED.names), strict=True)
        for uid, ranked in rows:
            last, number = uid, number + 1 if uid == last else 0
            if number:
                places.append(ranked[_DIGEST_LETTERS:])
                names.append(digest(uid.encode(), str(number).encode()).hex())
        columns = [pa.array(places, pa.string()), pa.array(names, pa.string())]
        yield pa.RecordBatch.from_arrays(
            [*columns, pa.array(keys(names), pa.uint64())], schema=_COPIES
        )


def later_places(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Keep all but the first place of each uid, without its digest."""
    for batch in batches:
        later = batch.filter(pc.not_equal(batch.column("place"), batch.column("first")))
        places = pc.utf8_slice_codeunits(
            later.column("place").cast(pa.string()), _DIGEST_LETTERS
        )
        yield pa.RecordBatch.from_arrays(
            [later.column("uid").cast(pa.string()), places], schema=_RANKED
        )


def reject_places(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Name each row by its place and say whose uid it repeats."""
    for batch in batches:
        reasons = [f"duplicate_uid: {uid}" for uid in batch.column("uid").to_pylist()]
        yield pa.RecordBatch.from_arrays(
            [batch.column("place").cast(pa.string()), pa.array(reasons, pa.string())],
            schema=REJECTS,
        )
