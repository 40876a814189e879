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
