"""Messages of other libraries, made short."""

from __future__ import annotations

import errno
import os


def cut(text: str, most: int = 240) -> str:
    """Shorten a message in its middle: what it is about stands first, causes last."""
    if len(text) <= most:
        return text
    return f"{text[: most // 3]} … {text[-(most - most // 3) :]}"


def in_words(error: BaseException, most: int = 240) -> str:
    """Return what an error says, on one line.

    Raises OSError for a fault of this machine, such as a full disk: that is no finding
    about a table, and must not be written down or remembered as one.
    """
    for number in _OF_MACHINE:
        said = os.strerror(number)
        if getattr(error, "errno", None) == number or said in str(error):
            raise OSError(number, said) from error
    lines = str(error).splitlines()
    # DuckDB adds advice and all settings to what is wrong with a CSV file.
    for end, line in enumerate(lines):
        if line.startswith(_ADVICE):
            lines = lines[:end]
            break
    shown = (cut(x, _SHOWN) if x.startswith("Original Line") else x for x in lines)
    return cut(" ".join(" ".join(shown).split()) or repr(error), most)


#: Also by their words: DuckDB has no numbers.
_OF_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)
_ADVICE = ("Possible ", "  file = ")
#: Characters of a faulty line that are shown.
_SHOWN = 60
