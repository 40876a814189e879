"""What counts as the same text: normalisation rules, and rows as bytes for kernels.

The rules, in the order in which they are applied:

- `nfc`: Unicode canonical composition (UAX #15, form NFC); steps always ask for it;
- `nfkc`: Unicode compatibility composition (form NFKC);
- `fold`: no diacritics, vowel points and invisible characters (see `folding`);
- `case`: full case folding (`str.casefold`), and composition once more;
- `code`: every sign is a word of its own, so that `a<b` is `a < b` and none is lost;
- `punctuation`: a space for punctuation, but for signs that carry meaning (see
  `punctuation`); emoji and other symbols are content and stay;
- `digits`: `0` for every decimal digit (category Nd);
- `whitespace`: one space for every run of whitespace (`str.isspace`), none at the ends.

ASCII rows are normalised by a table of 256 bytes inside the kernels; other rows go
through Python's Unicode database once, and only where a rule can change them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.algorithms.dedup.folding import folded, may_recompose
from winnow.algorithms.dedup.punctuation import (
    drop_conditional_of,
    is_dropped,
    signs_apart,
)
from winnow.algorithms.dedup.shingling import is_ascii
from winnow.algorithms.dedup.whitespace import SPACE
from winnow.numeric.compiled import compiled

RULES = ("nfc", "nfkc", "fold", "case", "code", "punctuation", "digits", "whitespace")

# Places in a row's text are 32-bit numbers in the kernels.
_LONGEST = 2**31 - 256

Texts: TypeAlias = pa.Array | pa.ChunkedArray | Sequence[str | None]


def checked_rules(rules: Iterable[str]) -> tuple[str, ...]:
    """Return `rules` in the order of application.

    Raises ValueError for an unknown one, and for `code` beside `punctuation`.
    """
    wanted = {rules} if isinstance(rules, str) else set(rules)
    unknown = sorted(wanted - set(RULES))
    if unknown:
        raise ValueError(f"unknown normalisation {unknown}; known: {', '.join(RULES)}")
    if {"code", "punctuation"} <= wanted:
        raise ValueError(
            "code keeps the signs that punctuation drops; name one of them"
        )
    return tuple(rule for rule in RULES if rule in wanted)


def normalised(text: str, rules: Iterable[str]) -> str:
    """Return `text` after `rules`: what the kernels compute, one string at a time."""
    applied = checked_rules(rules)
    text = _beyond_ascii(text, applied)
    return " ".join(text.split()) if "whitespace" in applied else text


def _beyond_ascii(text: str, rules: tuple[str, ...]) -> str:
    text = _by_character(text, rules)
    if "punctuation" in rules:
        text = drop_conditional_of(text)
    return signs_apart(text) if "code" in rules else text


def _by_character(text: str, rules: tuple[str, ...]) -> str:
    """Return `text` after the rules that mind no neighbours."""
    form: Literal["NFC", "NFKC"] = "NFKC" if "nfkc" in rules else "NFC"
    composes = form == "NFKC" or "nfc" in rules
    if composes:
        text = unicodedata.normalize(form, text)
    if "fold" in rules:
        text = folded(text)
    if "case" in rules:
        text = text.casefold()
        if composes:
            text = unicodedata.normalize(form, text)
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
        self[code] = code
        if self.punctuation and is_dropped(character):
            self[code] = SPACE
        elif self.digits and unicodedata.category(character) == "Nd":
            self[code] = ord("0")
        return self[code]


_substitutes = cache(_Substitutes)


def byte_table(rules: tuple[str, ...]) -> npt.NDArray[np.uint8]:
    """Return what each byte becomes, `(256,)`; empty where every byte stays itself.

    Whitespace, and signs that go by what stands beside them, are left to the kernels.
    """
    ascii_ = _by_character("".join(map(chr, range(128))), rules)
    table = np.arange(256, dtype=np.uint8)
    table[:128] = np.frombuffer(ascii_.encode(), dtype=np.uint8)
    return table if (table != np.arange(256)).any() else table[:0]


class TextBytes(NamedTuple):
    """Texts as bytes, row i at `start[i] : end[i]` of `data` followed by `extra`."""

    data: npt.NDArray[np.uint8]
    extra: npt.NDArray[np.uint8]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]


def rows_of(texts: Texts, rules: tuple[str, ...]) -> list[TextBytes]:
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


def _addressed(chunk: pa.Array) -> TextBytes:
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
    return TextBytes(_read_only(b"" if data is None else data), _NONE, start, end)


def _read_only(data: Any) -> npt.NDArray[np.uint8]:
    """Return bytes as an array that is not written to, whatever holds them.

    Numba compiles a kernel once for arrays that may be written and once more for those
    that may not. Which ones Arrow hands out says how a column was made, and nothing of
    what is done with it.
    """
    array = np.frombuffer(data, dtype=np.uint8)
    array.flags.writeable = False
    return array


#: What lies beside rows of which none was changed.
_NONE = _read_only(b"")


def _beside(rows: TextBytes, rules: tuple[str, ...]) -> TextBytes:
    candidates = np.flatnonzero(_changeable(rows, set(rules) - {"whitespace"}))
    changed: list[int] = []
    pieces: list[bytes] = []
    for i in candidates:
        before = rows.data[rows.start[i] : rows.end[i]].tobytes()
        after = _beyond_ascii(before.decode("utf-8", "replace"), rules).encode()
        if after != before:
            changed.append(int(i))
            pieces.append(after)
    if not changed:
        return rows
    lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
    if int(lengths.max()) > _LONGEST:
        raise ValueError(f"a text has more than {_LONGEST:,} bytes; split it")
    start, end = rows.start.copy(), rows.end.copy()
    end[changed] = len(rows.data) + np.cumsum(lengths)
    start[changed] = end[changed] - lengths
    return TextBytes(rows.data, _read_only(b"".join(pieces)), start, end)


def _changeable(rows: TextBytes, rules: set[str]) -> npt.NDArray[np.bool_]:
    """Return which rows the rules may change beyond what kernels do to ASCII."""
    if not rules:
        return np.zeros(len(rows.start), dtype=np.bool_)
    if "code" in rules:
        return np.ones(len(rows.start), dtype=np.bool_)
    beyond: npt.NDArray[np.bool_]
    beyond = _beyond(rows.data, rows.start, rows.end, rules == {"nfc"})
    return beyond


@compiled
def _beyond(
    data: npt.NDArray[np.uint8],
    start: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
    composes_only: bool,
) -> npt.NDArray[np.bool_]:
    beyond = np.zeros(len(start), dtype=np.bool_)
    for i in range(len(start)):
        beyond[i] = not is_ascii(data, start[i], end[i])
        if beyond[i] and composes_only:
            beyond[i] = may_recompose(data, start[i], end[i])
    return beyond
