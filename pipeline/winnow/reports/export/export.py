"""Write a run's selection in one of the formats that training code reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from winnow.core.errors import ConfigError, did_you_mean
from winnow.reports.database import RunDatabase
from winnow.reports.export.clip_retrieval import write_clip_retrieval
from winnow.reports.export.kept_rows import KeptRows, Wanted
from winnow.reports.export.tables import write_hf, write_parquet
from winnow.reports.export.uids import write_uids
from winnow.reports.export.webdataset import write_webdataset
from winnow.reports.export.whole import written_whole

_SHARDS: dict[str, Callable[[KeptRows, Path, int], int]] = {
    "webdataset": write_webdataset,
    "hf": write_hf,
    "parquet": write_parquet,
    "clip-retrieval": write_clip_retrieval,
}
FORMATS = ("webdataset", "hf", "parquet", "uids", "clip-retrieval")
SHARD_ROWS = 10_000
_MEMORY_MB = 1024


def export(
    run: str | Path,
    to: str,
    out: str | Path,
    *,
    with_scores: bool = False,
    shard_rows: int = SHARD_ROWS,
) -> dict[str, Any]:
    """Write what a run keeps to `out`, whole or not at all; return format and rows.

    to: one of FORMATS. A folder of shards of at most `shard_rows` rows, for `uids` a
    file (.npy, or .txt for one uid to a line). with_scores: add, of each step that
    scores or clusters, a column `winnow_STEP`.

    Raises ConfigError for an unknown format, or if `out` exists; RunError if the run is
    not finished; InputError if its input is gone.
    """
    if to not in FORMATS:
        raise ConfigError(f"--to {to}: {did_you_mean(to, FORMATS)}")
    if to == "uids" and with_scores:
        raise ConfigError("--with-scores: a list of uids has no columns; use parquet")
    if shard_rows < 1:
        raise ConfigError(f"--shard-rows {shard_rows}: a shard has rows")
    target = Path(out)
    with (
        RunDatabase(run, memory_mb=_MEMORY_MB) as database,
        written_whole(target) as place,
    ):
        rows = KeptRows(database, Wanted(scores=with_scores))
        if to == "uids":
            written = write_uids(rows, place, as_text=target.suffix == ".txt")
        else:
            written = _SHARDS[to](rows, place, shard_rows)
    return {"to": to, "out": str(target), "rows": written}
