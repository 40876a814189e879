"""What columns are called before a user: some of them are of our own making."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from winnow.core.errors import did_you_mean
from winnow.formats.jsonl_fields import LINE
from winnow.formats.tar_columns import MEMBERS

#: Columns of our own making, and what the quarantine calls them.
_CARRIERS = {LINE: "line", MEMBERS: "members"}


def shown_name(column: str) -> str:
    """Return what a column of a raw row is called in the quarantine."""
    return _CARRIERS.get(column, column)


def column_hint(column: str, columns: pa.Schema | Iterable[str]) -> str:
    """Return a hint that names the nearest column of the shards, or lists them.

    Example: `column_hint("txt", ["uid", "text"])` is `did you mean 'text'?`.
    """
    names = columns.names if isinstance(columns, pa.Schema) else columns
    return did_you_mean(column, (name for name in names if name not in _CARRIERS))


#: What pools call the columns of a meaning, the likeliest first.
_USUAL = {
    "uid": ("uid", "id", "__key__", "key", "sample_id"),
    "image": ("image", "jpg", "jpeg", "png", "webp", "img", "picture", "image_path"),
    "text": (
        *("text", "caption", "captions", "txt", "content", "document"),
        *("prompt", "description", "title", "alt_text", "alt"),
    ),
}


def guessed(meaning: str, columns: Iterable[str]) -> str | None:
    """Return the column that is called as `uid`, `image` or `text` are; None: none is.

    Example: `guessed("text", ["url", "TEXT"])` is `TEXT`.
    """
    lower = {name.lower(): name for name in columns}
    return next((lower[name] for name in _USUAL[meaning] if name in lower), None)
