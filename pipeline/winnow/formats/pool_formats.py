"""The formats that a pool's shards may have, and which of them a file has.

A new format is one file beside this one (a `ShardFormat`, see `shard_protocol`) and one
entry of `POOL_FORMATS`; nothing else names formats. Other packages add theirs by entry
points of the group `winnow.formats`, each of which names an instance.
"""

from __future__ import annotations

from winnow.core.errors import ConfigError, did_you_mean
from winnow.core.extensions import Registry
from winnow.formats.coco_captions import CocoFormat
from winnow.formats.csv_shards import CsvFormat, TsvFormat
from winnow.formats.hf_disk import HfDiskFormat
from winnow.formats.image_folders import ImageFolderFormat
from winnow.formats.jsonl_shards import JsonLinesFormat
from winnow.formats.lake_tables import DeltaFormat, IcebergFormat
from winnow.formats.parquet_shards import ParquetFormat
from winnow.formats.shard_protocol import ShardFormat
from winnow.formats.tar_shards import WebDatasetFormat

PARQUET = ParquetFormat()

#: In the order in which they are asked whether a folder is theirs.
POOL_FORMATS: Registry[ShardFormat] = Registry(
    "winnow.formats",
    ShardFormat,
    (
        DeltaFormat(),
        IcebergFormat(),
        HfDiskFormat(),
        WebDatasetFormat(),
        PARQUET,
        JsonLinesFormat(),
        CsvFormat(),
        TsvFormat(),
        CocoFormat(),
        ImageFolderFormat(),
    ),
)

#: The `input.format` that leaves the choice to `input.path`.
AUTO = "auto"


def all_formats() -> list[ShardFormat]:
    """Return all formats, Winnow's own first."""
    kinds = (POOL_FORMATS.get(name) for name in POOL_FORMATS.names())
    return [kind for kind in kinds if kind is not None]


def named_format(name: str) -> ShardFormat | None:
    """Return the format that `input.format` names; None: `auto`.

    Raises ConfigError for a name that no format has.
    """
    if name == AUTO:
        return None
    kind = POOL_FORMATS.get(name)
    if kind is None:
        names = [AUTO, *POOL_FORMATS.names()]
        raise ConfigError(
            f"input.format: unknown '{name}'; {did_you_mean(name, names)}"
        )
    return kind


def known_format(path: str) -> ShardFormat | None:
    """Return the format that a file's ending names, in any case; None: none of them."""
    name = path.lower()
    ends = (kind for kind in all_formats() if kind.endings)
    return next((kind for kind in ends if name.endswith(kind.endings)), None)


def format_of(path: str) -> ShardFormat:
    """Return the format of a shard, by its name; Parquet unless it says otherwise."""
    return known_format(path) or PARQUET


def usual_endings() -> str:
    """Return the formats and their endings, as an error names them."""
    listed = (kind for kind in all_formats() if kind.endings)
    return "; ".join(f"{kind.title} ({', '.join(kind.endings)})" for kind in listed)
