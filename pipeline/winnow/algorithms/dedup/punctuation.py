"""Punctuation that says nothing, told from signs that carry meaning.

"C# tutorial" is not "C++ tutorial", nor `a < b` the same as `a > b`, -5 as 5 or 1.5 as
15. What stays:

- always: `+ < > = # @ % & ^`, currencies, and all other symbols (category S) beyond
  ASCII;
- `-` and `.` before a number and after no letter or digit: `-5`, `.5`, `-.5`;
- `.`, `,`, `:`, `/` and `*` between two digits: `1.5`, `10:30`, `1/2`;
- `!` before `=`.

All else of general category P, and the other symbols of ASCII, is a space.
"""

from __future__ import annotations

import re
import string
import unicodedata

import numpy as np
import numpy.typing as npt

from winnow.algorithms.dedup.whitespace import SPACE
from winnow.numeric.compiled import compiled

#: Signs of ASCII that stay wherever they stand.
MEANINGFUL = "+<>=#@%&$^"
#: Those that stay or go by what stands beside them.
CONDITIONAL = "-.,:/*!"
_PER_MILLE = "‰‱"

_LETTER_OR_DIGIT = r"[^\W_]"
_LETTER = r"[^\W\d_]"
_GOES = re.compile(
    rf"[,:/*](?!\d)|(?<!\d)[,:/*]|(?<={_LETTER_OR_DIGIT})-|-(?!\.?\d)"
    rf"|\.(?!\d)|(?<={_LETTER})\.|!(?!=)"
)
# What the code preset sets apart: all but letters, digits, _ and white space.
_SIGN = re.compile(r"([^\w\s])")


def is_dropped(character: str) -> bool:
    """Whether a character is punctuation that goes wherever it stands."""
    if character in MEANINGFUL or character in CONDITIONAL or character in _PER_MILLE:
        return False
    if unicodedata.category(character)[0] != "P":
        return character in string.punctuation
    # Full width and small forms mean what the plain sign means.
    return unicodedata.normalize("NFKC", character) not in MEANINGFUL


def drop_conditional_of(text: str) -> str:
    """Return a text with a space for every CONDITIONAL sign that says nothing."""
    return _GOES.sub(" ", text)


def signs_apart(text: str) -> str:
    """Return a text with every sign as a word of its own: `a<b` becomes `a < b`."""
    return _SIGN.sub(r" \1 ", text)


@compiled
def _is_digit(byte: int) -> bool:
    return 0x30 <= byte <= 0x39


@compiled
def _is_letter(byte: int) -> bool:
    return 0x61 <= byte | 0x20 <= 0x7A


@compiled
def _stays(text: npt.NDArray[np.uint8], start: int, end: int, i: int) -> bool:
    """Say whether the conditional sign at `i` says something."""
    before = int(text[i - 1]) if i > start else 0
    after = int(text[i + 1]) if i + 1 < end else 0
    sign = text[i]
    if sign == ord("!"):
        return bool(after == ord("="))
    if sign == ord("-"):
        if _is_digit(before) or _is_letter(before):
            return False
        decimal = after == ord(".") and i + 2 < end and _is_digit(int(text[i + 2]))
        return bool(_is_digit(after) or decimal)
    if sign == ord("."):
        return bool(_is_digit(after) and not _is_letter(before))
    return bool(_is_digit(before) and _is_digit(after))


@compiled
def drop_conditional(text: npt.NDArray[np.uint8], start: int, end: int) -> None:
    """Do to the ASCII `text[start:end]` what `drop_conditional_of` does, in place.

    From left to right: signs that went are spaces, and no more letters or digits than
    they were before.
    """
    for i in range(start, end):
        sign = text[i]
        # * , - . / but not +; ! and :
        conditional = 0x2A <= sign <= 0x2F and sign != 0x2B
        conditional |= sign in (0x21, 0x3A)
        if conditional and not _stays(text, start, end, i):
            text[i] = SPACE
