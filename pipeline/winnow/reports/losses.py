"""What a run lost: shards left out, rows quarantined, steps that took nearly all."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from winnow.core.marker import Marker
from winnow.core.run_folder import RunFolder
from winnow.core.saved_files import read_manifest

#: A step that keeps no more than this share of its rows is told of.
_NEARLY_NONE = 0.02
#: Reasons and shards that are named.
_NAMED = 3


def tell_losses(path: str | Path) -> list[str]:
    """Return lines on what a finished run lost; none if nothing was.

    path: the run's folder. Counted are rows; reasons are named without what is
    particular to one row. Example of a line: "3 rows are in quarantine:
    2 image_truncated, 1 image_empty".
    """
    folder = RunFolder(path)
    markers = folder.markers()
    lines = _shards_left_out(folder)
    quarantined: Counter[str] = Counter()
    for marker in markers:
        if marker.quarantined:
            quarantined += quarantine_reasons(folder.artifacts(marker.step))
    if quarantined:
        rows = sum(marker.quarantined for marker in markers)
        lines.append(f"{_rows(rows)} in quarantine: {named(quarantined)}")
    lines += [line for marker in markers for line in _took_nearly_all(folder, marker)]
    return lines


def quarantine_reasons(artifacts: Path) -> Counter[str]:
    """Return how many rows a step rejected for each reason.

    artifacts: the step's folder.
    """
    return _counted(artifacts / "rejects", None)


def named(reasons: Counter[str]) -> str:
    """Return the most frequent reasons with their numbers, and how many more."""
    parts = [f"{count:,} {reason}" for reason, count in reasons.most_common(_NAMED)]
    more = len(reasons) - _NAMED
    return ", ".join(parts) + (f", and {more} more reasons" if more > 0 else "")


def _shards_left_out(folder: RunFolder) -> list[str]:
    file = folder.file("manifest.json")
    pool = read_manifest(file).get("input", {}) if file.is_file() else {}
    bad = [shard["path"] for shard in pool.get("unreadable_files", [])]
    if not bad:
        return []
    more = f" and {len(bad) - _NAMED:,} more" if len(bad) > _NAMED else ""
    shards = "1 shard was" if len(bad) == 1 else f"{len(bad):,} shards were"
    return [f"{shards} left out as unreadable: {', '.join(bad[:_NAMED])}{more}"]


def _took_nearly_all(folder: RunFolder, marker: Marker) -> list[str]:
    if not marker.decides or marker.dropped <= (1 - _NEARLY_NONE) * marker.rows_in:
        return []
    reasons = _counted(folder.ledger(marker.step), False)
    return [
        f"{marker.step} kept {marker.kept:,} of {marker.rows_in:,} rows; dropped: "
        f"{named(reasons)}"
    ]


def _counted(table: Path, keep: bool | None) -> Counter[str]:
    """Count the reasons of a stored table, of the rows with this `keep`."""
    counts: Counter[str] = Counter()
    columns = ["reason"] if keep is None else ["reason", "keep"]
    for file in table.glob("*.parquet"):
        # Not by a dataset, for which Arrow imports pandas.
        with pq.ParquetFile(file) as shard:
            for batch in shard.iter_batches(columns=columns):
                reasons = batch.column("reason")
                if keep is not None:
                    reasons = reasons.filter(pc.equal(batch.column("keep"), keep))
                for pair in pc.value_counts(reasons).to_pylist():
                    kind = str(pair["values"]).partition(":")[0]
                    counts[kind] += pair["counts"]
    return counts


def _rows(count: int) -> str:
    return "1 row is" if count == 1 else f"{count:,} rows are"
