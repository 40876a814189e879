"""Which encodings of text a file of records may have."""

from __future__ import annotations

import codecs

_ASCII = bytes(range(128))


def single_byte(encoding: str) -> str:
    """Return the usual name of an encoding that keeps ASCII and line ends as they are.

    Raises ValueError for one that is not known, or whose letters take several bytes:
    only UTF-8 may, as none of them is an ASCII letter there.
    """
    try:
        name = codecs.lookup(encoding).name
        letters = [bytes([b]).decode(name, "replace") for b in range(128, 256)]
        pairs = [bytes([b, b]).decode(name, "replace") for b in range(128, 256)]
        plain = _ASCII.decode(name) == _ASCII.decode("ascii")
    except (LookupError, UnicodeError, ValueError) as error:
        raise ValueError(f"there is no encoding '{encoding}'") from error
    single = all(pair == 2 * one for one, pair in zip(letters, pairs, strict=True))
    if name == "utf-8" or (plain and single):
        return name
    raise ValueError(
        f"in {name} a letter takes several bytes; write UTF-8 first: iconv -f "
        f"{encoding} -t UTF-8"
    )
