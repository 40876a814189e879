"""Messages of other libraries, made short."""

from __future__ import annotations


def cut(text: str, most: int = 240) -> str:
    """Shorten a message in its middle: what it is about stands first, causes last."""
    if len(text) <= most:
        return text
    return f"{text[: most // 3]} … {text[-(most - most // 3) :]}"


def in_words(error: BaseException, most: int = 240) -> str:
    """Return what an error says, on one line."""
    return cut(" ".join(str(error).split()) or repr(error), most)
