"""Messages of other libraries, made short."""

from __future__ import annotations


def cut(text: str, most: int = 240) -> str:
    """Shorten a message in its middle: what it is about stands first, causes last."""
    if len(text) <= most:
        return text
    return f"{text[: most // 3]} … {text[-(most - most // 3) :]}"


def in_words(error: BaseException, most: int = 240) -> str:
    """Return what an error says, on one line."""
    lines = str(error).splitlines()
    # DuckDB adds advice and all settings to what is wrong with a CSV file.
    for end, line in enumerate(lines):
        if line.startswith(_ADVICE):
            lines = lines[:end]
            break
    shown = (cut(x, _SHOWN) if x.startswith("Original Line") else x for x in lines)
    return cut(" ".join(" ".join(shown).split()) or repr(error), most)


_ADVICE = ("Possible ", "  file = ")
#: Characters of a faulty line that are shown.
_SHOWN = 60
