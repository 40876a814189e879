"""Lists of captions as one caption: the first, all of them as lines, or the longest."""

from __future__ import annotations

import pyarrow as pa

from winnow.core.arrow_types import is_text


def is_list_of_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds lists of strings."""
    lists = (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
    )
    return bool(lists and is_text(kind.value_type))


def one_caption(column: pa.Array, rule: str) -> pa.Array:
    """Return one caption for each list, null for a list without any.

    rule: `first`, `all` (a line for each) or `longest` (in characters; of equal ones
    the first). Nulls in a list are no captions.
    """
    # As bytes: text is not known to be valid here.
    lists = column.cast(pa.list_(pa.binary())).to_pylist()
    given = ([c for c in captions or () if c is not None] for captions in lists)
    chosen = [_chosen(captions, rule) if captions else None for captions in given]
    return pa.array(chosen, pa.binary()).view(pa.string())


def _chosen(captions: list[bytes], rule: str) -> bytes:
    if rule == "all":
        return b"\n".join(captions)
    if rule == "longest":
        return max(captions, key=lambda caption: len(caption.decode(errors="replace")))
    return captions[0]


def caption_sql(column: str, rule: str) -> str:
    """Return the SQL of what `one_caption` gives for a column of lists."""
    given = f"list_filter({column}, lambda t: t IS NOT NULL)"
    if rule == "all":
        joined = f"array_to_string({given}, chr(10))"
        return f"CASE WHEN len({given}) > 0 THEN {joined} END"
    if rule == "longest":
        sizes = f"list_transform({given}, lambda t: length(t))"
        return f"{given}[list_position({sizes}, list_max({sizes}))]"
    return f"{given}[1]"
