"""The formats that a pool's shards may have, and which of them a file has.

A new format is one file beside this one (a `ShardFormat`, see `shard_protocol`) and one
entry of `POOL_FORMATS`; nothing else names formats.
"""

from __future__ import annotations

from winnow.formats.jsonl_shards import JsonLinesFormat
from winnow.formats.parquet_shards import ParquetFormat
from winnow.formats.shard_protocol import ShardFormat

#: The first is that of files whose names say nothing.
POOL_FORMATS: tuple[ShardFormat, ...] = (ParquetFormat(), JsonLinesFormat())


def known_format(path: str) -> ShardFormat | None:
    """Return the format that a file's ending names, in any case; None: none of them."""
    name = path.lower()
    return next((kind for kind in POOL_FORMATS if name.endswith(kind.endings)), None)


def format_of(path: str) -> ShardFormat:
    """Return the format of a shard, by its name; Parquet unless it says otherwise."""
    return known_format(path) or POOL_FORMATS[0]


def usual_endings() -> str:
    """Return the formats and their endings, as an error names them."""
    return "; ".join(f"{f.name} ({', '.join(f.endings)})" for f in POOL_FORMATS)
