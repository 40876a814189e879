"""Rows of a list column as sets: each element becomes one word of a text.

So the kernels for words of a text work on sets of anything (the neighbours of a vertex,
tags, identifiers). An element without white space and backslash is its own word, hence
equal to what datasketch makes of its string in UTF-8.
"""

from __future__ import annotations

import sys
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Superset of `str.isspace`, and the sign that escapes are made with. RE2's \s lacks
# the vertical tab.
_SPECIAL = r"[\\\s\x0b\x{1c}-\x{1f}\x{85}\p{Z}]"


def as_words(lists: pa.Array) -> pa.Array:
    """Return one text (large_string) per list, its elements as words.

    Elements are cast to strings; null elements do not count, a null list is null.
    Different elements stay different: white space and backslashes are escaped, and the
    empty string is `\\e`. Raises TypeError for a column that does not hold lists of
    strings or numbers.
    """
    if not is_list(lists.type):
        raise TypeError(f"sets need a column of lists, not of {lists.type}")
    try:
        # Without the elements that a slice or a null leaves behind.
        values = lists.flatten().cast(pa.large_string())
    except pa.ArrowNotImplementedError as error:
        raise TypeError(f"sets need plain elements, not {lists.type}") from error
    words = pc.if_else(pc.equal(values, ""), r"\e", _escaped(values))
    sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    ends = pa.array(np.append(0, np.cumsum(sizes)), pa.int64())
    null = pc.is_null(lists)
    return _joined(pa.LargeListArray.from_arrays(ends, words, mask=null))


def is_list(kind: pa.DataType) -> bool:
    """Whether a column of this type holds lists."""
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
    )


def _escaped(values: pa.Array) -> pa.Array:
    special = pc.match_substring_regex(values, _SPECIAL)
    if not pc.any(special).as_py():
        return values
    for sign in ("\\", *_white()):
        code = "\\\\" if sign == "\\" else f"\\{ord(sign):x};"
        values = pc.replace_substring(values, sign, code)
    return values


@cache
def _white() -> tuple[str, ...]:
    return tuple(c for c in map(chr, range(sys.maxunicode + 1)) if c.isspace())


def _joined(words: pa.LargeListArray) -> pa.Array:
    """Join each row's words by spaces; null words are left out."""
    if words.values.null_count:
        rows = [
            None if row is None else " ".join(word for word in row if word is not None)
            for row in words.to_pylist()
        ]
        return pa.array(rows, pa.large_string())
    # binary_join knows lists of strings only.
    small = words.cast(pa.list_(pa.string()))
    return pc.binary_join(small, " ").cast(pa.large_string())
