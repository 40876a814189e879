"""Text from data as a terminal or a spreadsheet may show it: none of it is obeyed."""

from __future__ import annotations

#: Signs without a shape of their own that emojis and scripts are joined with.
_JOINERS = "\u200c\u200d"
_BLANKS = "\u00a0\u2007\u202f\u3000"
#: What a cell begins with that a spreadsheet computes (OWASP, "CSV injection").
_COMPUTED = ("=", "+", "-", "@", "\t", "\r")


def plain(text: str) -> str:
    r"""Return a text with every sign that a terminal would obey written out.

    Escapes, other control signs and marks that turn the direction of writing become
    `\x1b`, `\u202e`; line feeds and tabs stay. Example: `plain("a\x1b[2J")` is
    `a\x1b[2J` in eight signs.
    """
    if text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(sign: str) -> str:
    if sign.isprintable() or sign in "\n\t" or sign in _JOINERS or sign in _BLANKS:
        return sign
    return sign.encode("unicode_escape").decode("ascii")


def as_cell(text: str) -> str:
    """Return a text that a spreadsheet shows and does not compute: after an apostrophe.

    Only what would be computed gets one. Example: `as_cell("=1+1")` is `'=1+1`.
    """
    return f"'{text}" if text.lstrip("'").startswith(_COMPUTED) else text


def of_cell(text: str) -> str:
    """Return the text that `as_cell` was given."""
    guarded = text.startswith("'") and text.lstrip("'").startswith(_COMPUTED)
    return text[1:] if guarded else text
