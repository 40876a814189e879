"""Every format that a run's selection is written in, said once.

Other packages add theirs by entry points of the group `winnow.exporters`, each of which
names an `Exporter`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from winnow.core.extensions import Registry


@dataclass(frozen=True)
class Exporter:
    """One format.

    name: what `--to` calls it.
    write: a function of (rows, path, shard_rows) that writes a folder or a file at
    `path` and returns how many rows it holds, alone or with a dict of what else it
    counted, itself or by name (`module:function`).
    rows are `reports.export.kept_rows.KeptRows`; a folder has shards of at most
    shard_rows rows. A file's path ends as the name does that it will have.
    scores: whether it has room for columns of scores.
    """

    name: str
    write: Any
    scores: bool = True


_HERE = "winnow.reports.export"
EXPORTERS: Registry[Exporter] = Registry(
    "winnow.exporters",
    Exporter,
    (
        Exporter("webdataset", f"{_HERE}.webdataset:write_webdataset"),
        Exporter("hf", f"{_HERE}.tables:write_hf"),
        Exporter("parquet", f"{_HERE}.tables:write_parquet"),
        Exporter("uids", f"{_HERE}.uids:write_uids", scores=False),
        Exporter("clip-retrieval", f"{_HERE}.clip_retrieval:write_clip_retrieval"),
    ),
)
