"""Spans of texts that stand elsewhere too: reported, cut out, or a reason to drop.

Texts are read by reference into one scratch file, in the order of uids, and mapped: the
driver's memory holds a number and a uid for each row, and what the search for spans
states. The ledger's score is the part of a text's bytes that lies in such spans; the
artifact `spans` says which, and where else they stand.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from winnow.core.errors import InputError
from winnow.core.progress import doing, one_pass
from winnow.formats.reader import single
from winnow.steps.contract import (
    JUDGED,
    Context,
    Outcome,
    decisions_of,
    judge_marked,
    rejects_of,
)

Places = npt.NDArray[np.int64]

#: Bytes `start` … `end` of a text that stand in `twin` too, from `twin_start`; `copies`
#: is how often they stand anywhere.
SPANS = pa.schema(
    [
        ("uid", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("twin", pa.string()),
        ("twin_start", pa.int64()),
        ("copies", pa.int64()),
    ]
)
#: Texts without their spans, of rows that had some.
CUT = pa.schema([("uid", pa.string()), ("text", pa.large_string())])
_MARKS = pa.schema(
    [
        ("uid", pa.string()),
        ("keep", pa.bool_()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("kept_twin", pa.string()),
        ("rejected", pa.bool_()),
    ]
)
_REFERENCES_AT_ONCE = 65_536
_CUT_ROWS = 10_000


@dataclass(frozen=True)
class Corpus:
    """Texts one after the other: text i is `text[bounds[i] : bounds[i + 1]]`."""

    uids: pa.Array
    text: npt.NDArray[np.uint8]
    bounds: Places
    #: Why a row could not be read; null for the others.
    faults: pa.Array


class Spans(NamedTuple):
    """Spans in the order of the corpus, as places in all of it; `first` may be -1."""

    start: Places
    end: Places
    first: Places
    copies: Places


def run_on_spans(context: Context, find: Callable[[Corpus], Spans]) -> Outcome:
    """Find spans, write them, and decide: what `substring` and `lines` share."""
    engine, config = context.engine, context.config
    doing("reading the texts")
    corpus = read_corpus(context)
    doing(f"repeats in {int(corpus.bounds[-1]):,} bytes")
    spans = _whole_characters(corpus, find(corpus))
    rows = np.searchsorted(corpus.bounds, spans.start, side="right") - 1
    table = _table(corpus, spans, rows)
    engine.write(
        engine.from_table(table), os.fspath(context.folder / "spans"), ["uid", "start"]
    )
    left = _cut(context, corpus, spans, rows) if config.action == "cut" else None
    marks = _marks(corpus, spans, rows, config, left)
    frame = engine.map_batches(
        engine.join(
            engine.select(context.samples, {"uid": "uid"}),
            engine.from_table(marks),
            "uid",
            "left",
        ),
        partial(
            judge_marked,
            unmarked="nothing_repeated",
            threshold=config.drop_share if config.action == "drop" else None,
        ),
        JUDGED,
    )
    return Outcome(
        decisions_of(engine, frame),
        rejects_of(engine, frame),
        artifacts={"spans": "spans", **({"cut": "cut"} if left is not None else {})},
        facts={
            "spans": len(table),
            "bytes": int(corpus.bounds[-1]),
            "bytes_in_spans": int((spans.end - spans.start).sum()),
            "texts_with_spans": len(np.unique(rows)),
        },
        outputs={"cut": "cut"} if left is not None else {},
    )


def read_corpus(context: Context) -> Corpus:
    """Read all texts into a scratch file, in the order of uids."""
    columns = {name: name for name in ("uid", "source", "row")}
    engine = context.engine
    table = engine.collect(engine.select(context.samples, columns), context.rows)
    table = table.sort_by("uid")
    # Read in the order of the shards, placed in the order of the uids.
    order = pc.sort_indices(
        table, sort_keys=[("source", "ascending"), ("row", "ascending")]
    )
    lengths = np.zeros(len(table), np.int64)
    faults: list[str | None] = [None] * len(table)
    context.parts.mkdir(parents=True, exist_ok=True)
    as_read = context.parts / "as_read.bin"
    positions = order.to_numpy()
    done = 0
    with open(as_read, "wb") as sink, one_pass() as this:
        for part in context.reader.read(_references(table.take(order)), ("text",)):
            for text, fault in zip(
                part.column("text").cast(pa.large_string()).to_pylist(),
                part.column("reason").to_pylist(),
                strict=True,
            ):
                content = (text or "").encode()
                sink.write(content)
                lengths[positions[done]] = len(content)
                faults[positions[done]] = fault
                done += 1
            this.reached(done)
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    text = _reordered(as_read, context.parts / "texts.bin", bounds, positions)
    return Corpus(single(table["uid"]), text, bounds, pa.array(faults, pa.string()))


def _references(table: pa.Table) -> Iterator[pa.RecordBatch]:
    for batch in table.to_batches(max_chunksize=_REFERENCES_AT_ONCE):
        yield batch.cast(
            pa.schema(
                [("uid", pa.string()), ("source", pa.string()), ("row", pa.int64())]
            )
        )


def _reordered(
    as_read: Any, target: Any, bounds: Places, positions: Places
) -> npt.NDArray[np.uint8]:
    size = int(bounds[-1])
    if not size:
        return np.zeros(0, np.uint8)
    read = np.memmap(as_read, np.uint8, mode="r")
    out = np.memmap(target, np.uint8, mode="w+", shape=(size,))
    offset = 0
    for row in positions:
        length = int(bounds[row + 1] - bounds[row])
        out[bounds[row] : bounds[row + 1]] = read[offset : offset + length]
        offset += length
    del read
    as_read.unlink()
    return np.asarray(out)


def _whole_characters(corpus: Corpus, spans: Spans) -> Spans:
    """Return the spans without bytes of characters that they hold in part."""
    start, end = spans.start.copy(), spans.end.copy()
    size = len(corpus.text)
    for _ in range(3):
        inside = start < size
        inside[inside] = (corpus.text[start[inside]] & 0xC0) == 0x80
        start[inside & (start < end)] += 1
        cut = end < size
        cut[cut] = (corpus.text[end[cut]] & 0xC0) == 0x80
        end[cut & (end > start)] -= 1
    moved = start - spans.start
    first = np.where(spans.first < 0, -1, spans.first + moved)
    some = end > start
    return Spans(start[some], end[some], first[some], spans.copies[some])


def _table(corpus: Corpus, spans: Spans, rows: Places) -> pa.Table:
    twin = np.searchsorted(corpus.bounds, spans.first, side="right") - 1
    known = spans.first >= 0
    base = corpus.bounds[rows]
    masked = pa.array(np.where(known, twin, 0), mask=~known)
    return pa.table(
        {
            "uid": corpus.uids.take(pa.array(rows)),
            "start": spans.start - base,
            "end": spans.end - base,
            "twin": corpus.uids.take(masked),
            "twin_start": pa.array(
                spans.first - corpus.bounds[np.maximum(twin, 0)], mask=~known
            ),
            "copies": spans.copies,
        },
        schema=SPANS,
    )


def _cut(
    context: Context, corpus: Corpus, spans: Spans, rows: Places
) -> dict[int, bool]:
    """Write the texts without their spans; return for each row if any is left."""
    folder = context.folder / "cut"
    folder.mkdir(parents=True)
    left: dict[int, bool] = {}
    edges = np.flatnonzero(np.diff(rows, prepend=-1))
    bounds = [*edges.tolist(), len(rows)]
    for number, first in enumerate(range(0, max(len(edges), 1), _CUT_ROWS)):
        texts: list[str] = []
        uids: list[int] = []
        for i in range(first, min(len(edges), first + _CUT_ROWS)):
            row = int(rows[bounds[i]])
            kept, copied_to = [], int(corpus.bounds[row])
            for span in range(bounds[i], bounds[i + 1]):
                kept.append(corpus.text[copied_to : spans.start[span]].tobytes())
                copied_to = int(spans.end[span])
            kept.append(corpus.text[copied_to : corpus.bounds[row + 1]].tobytes())
            text = b"".join(kept).decode()
            left[row] = bool(text.strip())
            texts.append(text)
            uids.append(row)
        names = corpus.uids.take(pa.array(uids, pa.int64()))
        table = pa.table([names, pa.array(texts, pa.large_string())], schema=CUT)
        pq.write_table(table, folder / f"{number:05d}.parquet")
    return left


def _marks(
    corpus: Corpus,
    spans: Spans,
    rows: Places,
    config: Any,
    left: dict[int, bool] | None,
) -> pa.Table:
    """Return what becomes of rows with spans, and of those that cannot be read."""
    affected, first = np.unique(rows, return_index=True)
    inside = np.bincount(
        rows, (spans.end - spans.start), minlength=len(corpus.uids)
    ).astype(np.int64)[affected]
    size = np.diff(corpus.bounds)[affected]
    share = inside / size
    keep = np.ones(len(affected), np.bool_)
    reason = np.full(len(affected), "repeated_passages", object)
    if config.action == "drop":
        keep = share < config.drop_share
    if left is not None:
        keep = np.array([left[int(row)] for row in affected], np.bool_)
        reason[:] = "passages_cut"
        reason[~keep] = "nothing_left"
    twin = np.searchsorted(corpus.bounds, spans.first[first], side="right") - 1
    known = ~keep & (spans.first[first] >= 0)
    twins = corpus.uids.take(pa.array(np.where(known, twin, 0), mask=~known))
    unread = np.flatnonzero(corpus.faults.is_valid().to_numpy(zero_copy_only=False))
    readable = ~np.isin(affected, unread)
    marked = [
        corpus.uids.take(pa.array(affected)),
        pa.array(keep),
        pa.array(reason.tolist(), pa.string()),
        pa.array(share),
        twins,
        pa.repeat(pa.scalar(False), len(affected)),
    ]
    told = pa.table(marked, schema=_MARKS).filter(pa.array(readable))
    return pa.concat_tables([told, _unread_marks(corpus, unread)])


def _unread_marks(corpus: Corpus, unread: Places) -> pa.Table:
    """Return the marks of rows that cannot be read, with the reason of each."""
    columns = [
        corpus.uids.take(pa.array(unread)),
        pa.repeat(pa.scalar(False), len(unread)),
        corpus.faults.take(pa.array(unread)),
        pa.nulls(len(unread), pa.float64()),
        pa.nulls(len(unread), pa.string()),
        pa.repeat(pa.scalar(True), len(unread)),
    ]
    return pa.table(columns, schema=_MARKS)


def refuse_too_large(step: str, corpus: Corpus, most: int) -> None:
    """Raise InputError for more bytes of text than the recipe allows."""
    size = int(corpus.bounds[-1])
    if size > most:
        raise InputError(
            f"{step}: {size:,} bytes of text, more than {step}.max_bytes ({most:,}); "
            "raise it if the machine has the memory and the disk, or split the pool"
        )
