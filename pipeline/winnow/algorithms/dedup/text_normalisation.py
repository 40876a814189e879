"""What counts as the same text: normalisation rules, and rows as bytes for kernels.

The rules, in the order in which they are applied:

- `nfkc`: Unicode compatibility composition (UAX #15, form NFKC);
- `case`: full case folding (`str.casefold`), and NFKC once more where both are asked;
- `punctuation`: a space for every punctuation character (general category P) and for
  the symbols of ASCII; emoji and other symbols are content and stay;
- `digits`: `0` for every decimal digit (category Nd);
- `whitespace`: one space for every run of whitespace (`str.isspace`), none at the ends.

ASCII rows are normalised by a table of 256 bytes inside the kernels; other rows go
through Python's Unicode database once, and only where a rule can change them.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.algorithms.dedup.shingling import is_ascii
from winnow.algorithms.dedup.whitespace import SPACE
from winnow.numeric.compiled import compiled

RULES = ("nfkc", "case", "punctuation", "digits", "whitespace")

# Places in a row's text are 32-bit numbers in the kernels.
_LONGEST = 2**31 - 256

Texts: TypeAlias = pa.Array | pa.ChunkedArray | Sequence[str | None]


def checked_rules(rules: Iterable[str]) -> tuple[str, ...]:
    """Return `rules` in the order of application; ValueError for an unknown one."""
    wanted = {rules} if isinstance(rules, str) else set(rules)
    unknown = sorted(wanted - set(RULES))
    if unknown:
        raise ValueError(f"unknown normalisation {unknown}; known: {', '.join(RULES)}")
    return tuple(rule for rule in RULES if rule in wanted)


def normalised(text: str, rules: Iterable[str]) -> str:
    """Return `text` after `rules`: what the kernels compute, one string at a time."""
    applied = checked_rules(rules)
    text = _beyond_ascii(text, applied)
    return " ".join(text.split()) if "whitespace" in applied else text


def _beyond_ascii(text: str, rules: tuple[str, ...]) -> str:
    if "nfkc" in rules:
        text = unicodedata.normalize("NFKC", text)
    if "case" in rules:
        text = text.casefold()
        if "nfkc" in rules:
            text = unicodedata.normalize("NFKC", text)
    if "punctuation" in rules or "digits" in rules:
        text = text.translate(_substitutes("punctuation" in rules, "digits" in rules))
    return text


class _Substitutes(dict[int, int]):
    """Code point to code point, looked up in the Unicode database once each."""

    def __init__(self, punctuation: bool, digits: bool) -> None:
        super().__init__()
        self.punctuation, self.digits = punctuation, digits

    def __missing__(self, code: int) -> int:
        character = chr(code)
        category = unicodedata.category(character)
        self[code] = code
        if self.punctuation and (category[0] == "P" or character in string.punctuation):
            self[code] = SPACE
        elif self.digits and category == "Nd":
            self[code] = ord("0")
        return self[code]


_substitutes = cache(_Substitutes)


def byte_table(rules: tuple[str, ...]) -> npt.NDArray[np.uint8]:
    """Return what each byte becomes, `(256,)`; empty where every byte stays itself.

    Whitespace is left to the kernels.
    """
    ascii_ = _beyond_ascii("".join(map(chr, range(128))), rules)
    table = np.arange(256, dtype=np.uint8)
    table[:128] = np.frombuffer(ascii_.encode(), dtype=np.uint8)
    return table if (table != np.arange(256)).any() else table[:0]


class Rows(NamedTuple):
    """Texts as bytes, row i at `start[i] : end[i]` of `data` followed by `extra`."""

    data: npt.NDArray[np.uint8]
    extra: npt.NDArray[np.uint8]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]


def rows_of(texts: Texts, rules: tuple[str, ...]) -> list[Rows]:
    """Return the rows of each chunk of `texts`, their bytes shared with Arrow.

    Null rows come out empty. Rows that a rule may change beyond ASCII lie in `extra`,
    normalised but for ASCII and whitespace; invalid UTF-8 in them is replaced by
    U+FFFD. Raises TypeError for a column that is not text, ValueError for a text of
    more than 2 GiB.
    """
    if not isinstance(texts, pa.Array | pa.ChunkedArray):
        texts = pa.array(texts, pa.large_string())
    chunks = texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]
    return [_beside(_addressed(chunk), rules) for chunk in chunks]


def _addressed(chunk: pa.Array) -> Rows:
    kind = chunk.type
    if pa.types.is_dictionary(kind) or kind in {pa.string_view(), pa.binary_view()}:
        chunk = chunk.cast(pa.large_string())
    large = chunk.type in {pa.large_string(), pa.large_binary()}
    if not large and chunk.type not in {pa.string(), pa.binary(), pa.null()}:
        raise TypeError(f"near-duplicates need a column of text, not of {kind}")
    if pa.types.is_null(kind):
        chunk = chunk.cast(pa.string())
    _, offsets, data = chunk.buffers()
    width: Any = np.int64 if large else np.int32
    bounds = np.zeros(len(chunk) + 1, dtype=np.int64)
    if len(chunk):
        bounds[:] = np.frombuffer(
            offsets,
            dtype=width,
            count=len(chunk) + 1,
            offset=chunk.offset * width().nbytes,
        )
    start, end = bounds[:-1], bounds[1:].copy()
    if chunk.null_count:
        # Arrow lets a null row own bytes.
        null = chunk.is_null().to_numpy(zero_copy_only=False)
        end[null] = start[null]
    if len(chunk) and int((end - start).max()) > _LONGEST:
        raise ValueError(f"a text has more than {_LONGEST:,} bytes; split it")
    empty = np.zeros(0, dtype=np.uint8)
    shared = empty if data is None else np.frombuffer(data, dtype=np.uint8)
    return Rows(shared, empty, start, end)


def _beside(rows: Rows, rules: tuple[str, ...]) -> Rows:
    if not set(rules) - {"whitespace"}:
        return rows
    changed = np.flatnonzero(_beyond(rows.data, rows.start, rows.end))
    if not len(changed):
        return rows
    pieces = [
        _beyond_ascii(_decoded(rows.data[rows.start[i] : rows.end[i]]), rules).encode()
        for i in changed
    ]
    lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
    start, end = rows.start.copy(), rows.end.copy()
    end[changed] = len(rows.data) + np.cumsum(lengths)
    start[changed] = end[changed] - lengths
    extra = np.frombuffer(b"".join(pieces), dtype=np.uint8)
    return Rows(rows.data, extra, start, end)


def _decoded(row: npt.NDArray[np.uint8]) -> str:
    return row.tobytes().decode("utf-8", "replace")


@compiled
def _beyond(
    data: npt.NDArray[np.uint8],
    start: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(start), dtype=np.bool_)
    for i in range(len(start)):
        found[i] = not is_ascii(data, start[i], end[i])
    return found
