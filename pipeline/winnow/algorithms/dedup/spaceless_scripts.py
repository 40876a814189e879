"""Texts whose script puts no spaces between words, cut into units of one character.

With `unit: auto` a unit is a word where words are divided by white space and a single
code point where they are not (Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan and
their relatives; Korean and Vietnamese have spaces). A text may mix both: the units of
"2024年の Python" are 2024, 年, の and Python. A space between two characters of
such scripts, say of a line that was wrapped, is left out.

Source: Unicode 16, scripts by UAX #24; those of line breaking class SA and ID of
UAX #14, which may break a line without a space (Hangul, class H2 and H3, has spaces).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from winnow.algorithms.dedup.whitespace import SPACE
from winnow.numeric.compiled import compiled

Bytes = npt.NDArray[np.uint8]

#: First and last code points of scripts without spaces, ascending.
RANGES = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19FF),  # Tai Le, New Tai Lue, Khmer symbols
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x2E80, 0x2FFF),  # radicals
    (0x3001, 0x312F),  # CJK punctuation, kana, bopomofo
    (0x31A0, 0x4DBF),  # bopomofo, strokes, kana, compatibility, ideographs
    (0x4E00, 0xA4CF),  # ideographs, Yi
    (0xA980, 0xA9FF),  # Javanese, Myanmar
    (0xAA60, 0xAADF),  # Myanmar, Tai Viet
    (0xF900, 0xFAFF),  # compatibility ideographs
    (0xFE30, 0xFE4F),  # compatibility forms
    (0xFF01, 0xFF9F),  # full width forms, half width kana
    (0x1B000, 0x1B16F),  # kana
    (0x20000, 0x3FFFF),  # ideographs
)
# In compiled code, a global array of constants.
_FIRST = np.array([first for first, _ in RANGES], dtype=np.int64)
_LAST = np.array([last for _, last in RANGES], dtype=np.int64)


@compiled
def spaceless_bytes(text: Bytes, start: int, end: int) -> int:
    """Return the bytes of the character at `start` if its script has no spaces, or 0.

    Bytes that are no UTF-8 belong to no script.
    """
    lead = int(text[start])
    size = 4 if lead >= 0xF0 else 3
    if lead < 0xE0 or start + size > end:
        return 0
    code = lead & (0x07 if size == 4 else 0x0F)
    for i in range(start + 1, start + size):
        if (text[i] & 0xC0) != 0x80:
            return 0
        code = code << 6 | int(text[i]) & 0x3F
    for i in range(len(_FIRST)):
        if code <= _LAST[i]:
            return size if code >= _FIRST[i] else 0
    return 0


@compiled
def _any_high_lead(text: Bytes, start: int, end: int) -> bool:
    seen = False
    for i in range(start, end):
        seen |= text[i] >= 0xE0
    return seen


@compiled
def mixed_units(
    text: Bytes,
    start: int,
    end: int,
    starts: npt.NDArray[np.int32],
    ends: npt.NDArray[np.int32],
) -> tuple[int, int, int]:
    """Cut `text[start:end]`, words joined by one space each, into words and characters.

    Moves the text together where a space goes. Notes the units' starts and ends, and
    returns the text's end, the number of units and that of single characters. With no
    single character nothing is changed, and the number of units is 0: words are what
    they were.
    """
    if not _any_high_lead(text, start, end):
        return end, 0, 0
    written, units, singles = start, 0, 0
    in_word = after_single = False
    i = start
    while i < end:
        size = spaceless_bytes(text, i, end)
        if size:
            starts[units], ends[units] = written, written + size
            units, singles = units + 1, singles + 1
            in_word, after_single = False, True
        elif text[i] == SPACE:
            in_word = False
            if after_single and i + 1 < end and spaceless_bytes(text, i + 1, end):
                i += 1
                continue
            size, after_single = 1, False
        else:
            size, after_single = 1, False
            if not in_word:
                starts[units] = written
                units += 1
            in_word = True
            ends[units - 1] = written + 1
        for _ in range(size):
            text[written] = text[i]
            written, i = written + 1, i + 1
    if singles == 0:
        return end, 0, 0
    return written, units, singles


@compiled
def unit_spans(
    starts: npt.NDArray[np.int32],
    ends: npt.NDArray[np.int32],
    count: tuple[int, int],
    offsets: npt.NDArray[np.int32],
    lengths: npt.NDArray[np.int32],
    shingles: int,
) -> int:
    """Write the shingles of units from `offsets[shingles]`; return the end.

    `count` is (units, units per shingle); fewer units than that make one shingle.
    """
    # Signed and unsigned numbers together are floats to the compiler.
    units, ngram = np.int64(count[0]), np.int64(min(count[0], count[1]))
    last = np.int64(shingles)
    for i in range(units - ngram + 1 if units else 0):
        offsets[last] = starts[i]
        lengths[last] = ends[i + ngram - 1] - starts[i]
        last += 1
    return int(last)
