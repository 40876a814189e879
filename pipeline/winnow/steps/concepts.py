"""Which concepts a caption has: entries of a list, or n-grams of the pool."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from winnow.config.balance_steps import BalanceConfig
from winnow.core.errors import ConfigError, InputError
from winnow.formats.reader import SampleReader
from winnow.steps.contract import Context

#: Rows, each once for every concept that it has; or once with why it was not read.
FOUND = pa.schema(
    [
        ("uid", pa.string()),
        ("cluster", pa.int32()),
        ("reason", pa.string()),
        ("valid", pa.bool_()),
    ]
)
_COUNTED = pa.schema([("ngram", pa.string()), ("rows", pa.int64())])
#: Concepts, and n-grams that are counted before the rare ones go.
MOST = 5_000_000
_WORD = re.compile(r"\w+")
#: Different n-grams that a worker counts before it hands them on.
_HELD = 1_000_000


def words_of(text: str) -> list[str]:
    """Return a caption's words, without case."""
    return _WORD.findall(text.casefold())


def read_concepts(path: str) -> list[str]:
    """Return the concepts of a file, one to a line, without case, each once.

    Raises InputError if the file cannot be read or holds none.
    """
    try:
        text = Path(path).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"balance.concepts: {path} is no readable file of UTF-8 text, one concept "
            "to a line (nor 'ngrams' or 'clusters')"
        ) from error
    lines = [" ".join(line.casefold().split()) for line in text.splitlines()]
    concepts = [line for line in dict.fromkeys(lines) if words_of(line)]
    if not concepts:
        raise InputError(f"balance.concepts: {path} holds no concept")
    return concepts


def ngrams_of_pool(context: Context) -> list[str]:
    """Return the n-grams that at least `min_rows` captions have, sorted.

    Raises ConfigError if no caption has such a one.
    """
    engine, config = context.engine, context.config
    kernel = partial(count_ngrams, reader=context.reader, most=config.ngram)
    parts = engine.map_batches(
        context.samples, kernel, _COUNTED, order_by=("source", "row")
    )
    summed = engine.aggregate(parts, "ngram", {"rows": ("rows", "sum")})
    frequent = partial(at_least, rows=config.min_rows)
    table = engine.collect(engine.map_batches(summed, frequent, _COUNTED), MOST)
    if not len(table):
        raise ConfigError(
            f"{context.step}: no n-gram stands in {config.min_rows} captions; lower "
            "min_rows"
        )
    return sorted(table["ngram"].to_pylist())


def count_ngrams(
    batches: Iterator[pa.RecordBatch], *, reader: SampleReader, most: int
) -> Iterator[pa.RecordBatch]:
    """Yield in how many captions each n-gram stands; one may be yielded repeatedly."""
    counts: Counter[str] = Counter()
    for part in reader.read(batches, ("text",)):
        for caption in part.column("text").to_pylist():
            words = words_of(caption or "")
            counts.update(
                {
                    " ".join(words[start : start + n])
                    for n in range(1, most + 1)
                    for start in range(len(words) - n + 1)
                }
            )
        if len(counts) > _HELD:
            yield _counted(counts)
            counts = Counter()
    yield _counted(counts)


def _counted(counts: Counter[str]) -> pa.RecordBatch:
    columns = [pa.array(list(counts), pa.string()), pa.array(list(counts.values()))]
    return pa.RecordBatch.from_arrays(
        [column.cast(f.type) for column, f in zip(columns, _COUNTED, strict=True)],
        schema=_COUNTED,
    )


def at_least(
    batches: Iterator[pa.RecordBatch], *, rows: int
) -> Iterator[pa.RecordBatch]:
    """Keep what stands in so many rows."""
    for batch in batches:
        yield batch.filter(pc.greater_equal(batch.column("rows"), rows))


def find_concepts(
    batches: Iterator[pa.RecordBatch],
    *,
    reader: SampleReader,
    concepts: Sequence[str],
    config: BalanceConfig,
) -> Iterator[pa.RecordBatch]:
    """Yield FOUND: each caption once for every concept in it.

    Aho and Corasick 1975: all concepts are looked for in one pass over a caption. Whole
    words are found as concepts between spaces, captions being words between spaces.
    """
    from ahocorasick_rs import AhoCorasick

    whole = config.whole_words
    patterns = [f" {' '.join(words_of(c))} " if whole else c for c in concepts]
    automaton = AhoCorasick(patterns)
    for part in reader.read(batches, ("text",)):
        uids: list[str] = []
        numbers: list[int] = []
        good = pc.is_null(part.column("reason"))
        read = part.filter(good)
        for uid, caption in zip(
            read.column("uid").to_pylist(), read.column("text").to_pylist(), strict=True
        ):
            text = f" {' '.join(words_of(caption or ''))} "
            if not whole:
                text = " ".join((caption or "").casefold().split())
            matches = automaton.find_matches_as_indexes(text, overlapping=True)
            for concept in sorted({match[0] for match in matches}):
                uids.append(uid)
                numbers.append(concept)
        yield _found(pa.array(uids, pa.string()), np.array(numbers, np.int32))
        bad = part.filter(pc.invert(good))
        columns = [bad.column("uid"), pa.nulls(len(bad), pa.int32())]
        columns += [bad.column("reason"), pa.repeat(pa.scalar(False), len(bad))]
        yield pa.RecordBatch.from_arrays(columns, schema=FOUND)


def _found(
    uids: pa.Array, concepts: np.ndarray[tuple[int], np.dtype[np.int32]]
) -> pa.RecordBatch:
    columns = [uids, pa.array(concepts), pa.nulls(len(uids), pa.string())]
    columns.append(pa.repeat(pa.scalar(True), len(uids)))
    return pa.RecordBatch.from_arrays(columns, schema=FOUND)
