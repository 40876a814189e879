"""Differences of form in Unicode text: what NFC changes, and what `fold` takes away.

`fold` drops the diacritics of Latin and Greek letters, Arabic vowel marks and the
stretching tatweel, Hebrew points, soft hyphens, and characters without width
(joiners, the byte order mark, directions of writing). Marks that are letters of their
script stay: Cyrillic й and ё, Japanese voicing, vowel signs of Indian and Thai scripts.
"""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import numpy.typing as npt

from winnow.numeric.compiled import compiled

# A base letter in Latin (with its extensions) or Greek, and the marks upon it.
_MARKED = re.compile(
    "([A-Za-z\u00c0-\u024f\u1e00-\u1eff\u0370-\u03ff\u1f00-\u1fff])"
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)
_POINTS = re.compile(
    # Arabic marks and tatweel; Hebrew points and accents.
    "[\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8"
    "\u06ea-\u06ed\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
    # Soft hyphen, zero width, directions.
    "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]"
)

#: Ranges of three-byte characters that NFC changes neither alone nor beside another.
STABLE = (
    (0x2010, 0x2027),  # dashes, quotation marks
    (0x3001, 0x3029),  # CJK punctuation
    (0x3041, 0x3096),  # hiragana
    (0x30A1, 0x30FA),  # katakana
    (0x3400, 0x9FFF),  # ideographs
    (0xAC00, 0xD7A3),  # Hangul syllables
    (0xFF01, 0xFF9D),  # full and half width forms
)
_FIRST = np.array([first for first, _ in STABLE], dtype=np.int64)
_LAST = np.array([last for _, last in STABLE], dtype=np.int64)


def folded(text: str) -> str:
    """Return a text without diacritics, points and invisible characters, as NFC."""
    text = unicodedata.normalize("NFD", _POINTS.sub("", text))
    return unicodedata.normalize("NFC", _POINTS.sub("", _MARKED.sub(r"\1", text)))


@compiled
def may_recompose(text: npt.NDArray[np.uint8], start: int, end: int) -> bool:
    """Say whether NFC may change the UTF-8 `text[start:end]`; no means no.

    Below U+0300 nothing changes (UAX #15), nor within STABLE.
    """
    i = start
    while i < end:
        lead = int(text[i])
        if lead < 0xCC:
            i += 1
            continue
        if lead < 0xE0 or lead >= 0xF0 or i + 3 > end:
            return True
        code = (lead & 0x0F) << 12
        code |= (int(text[i + 1]) & 0x3F) << 6 | int(text[i + 2]) & 0x3F
        stable = False
        for j in range(len(_FIRST)):
            stable |= _FIRST[j] <= code <= _LAST[j]
        if not stable:
            return True
        i += 3
    return False
