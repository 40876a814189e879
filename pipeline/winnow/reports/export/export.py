"""Write a run's selection in one of the formats that training code reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from winnow.core.errors import ConfigError, did_you_mean
from winnow.core.extensions import load_part
from winnow.core.inside import is_url
from winnow.core.run_log import EVENTS, logged
from winnow.reports.database import RunDatabase
from winnow.reports.export.exporters import EXPORTERS
from winnow.reports.export.kept_rows import KeptRows, RowsWanted
from winnow.reports.export.whole import written_whole

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

    What the exporter counted beside them stands there too: `reencoded`, pictures that
    became PNG in tars.

    to: the name of an Exporter. A folder of shards of at most `shard_rows` rows, for
    `uids` a file (.npy, or .txt for one uid to a line). with_scores: add, of each step
    that scores or clusters, a column `winnow_STEP`.

    Raises ConfigError for an unknown format, or if `out` exists; RunError if the run is
    not finished; InputError if its input is gone.
    """
    exporter = EXPORTERS.get(to)
    if exporter is None:
        raise ConfigError(f"--to {to}: {did_you_mean(to, EXPORTERS.names())}")
    if with_scores and not exporter.scores:
        raise ConfigError(f"--with-scores: {to} has no columns for them; use parquet")
    if shard_rows < 1:
        raise ConfigError(f"--shard-rows {shard_rows}: a shard has rows")
    if is_url(str(out)):
        raise ConfigError(
            f"--out {out}: an export goes to a folder or file of this machine; name "
            "one, and copy it to the URL afterwards"
        )
    target = Path(out)
    with (
        RunDatabase(run, memory_mb=_MEMORY_MB) as database,
        logged(database.folder.path),
        written_whole(target) as unfinished,
    ):
        rows = KeptRows(database, RowsWanted(scores=with_scores))
        written = load_part(exporter.write)(rows, unfinished, shard_rows)
        count, facts = written if isinstance(written, tuple) else (written, {})
        EVENTS.info("export --to %s: %d rows to %s", to, count, target)
    return {"to": to, "out": str(target), "rows": int(count), **facts}
