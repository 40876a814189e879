"""What img2dataset writes beside its tars: NNNNN.parquet, a row for every download."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.formats.file_access import filesystem, state_of_file

_COLUMNS = ("key", "status", "error_message")


@dataclass(frozen=True)
class FailedRows:
    """The downloads that failed, by key, with their reasons; which state that is of."""

    keys: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    state: str = ""


def failed_rows(tar: str) -> FailedRows:
    """Return which downloads of a tar failed; none without img2dataset's list."""
    path = f"{tar.removesuffix('.tar')}.parquet"
    state = state_of_file(path)
    if not state:
        return FailedRows()
    fs, inner = filesystem(path)
    try:
        with fs.open(inner, "rb") as file:
            names = pq.read_schema(file).names
            if not {"key", "status"} <= set(names):
                return FailedRows(state=state)
            table = pq.read_table(file, columns=[n for n in _COLUMNS if n in names])
    except (OSError, pa.ArrowException):
        return FailedRows(state=state)
    rows = [row for row in table.to_pylist() if row["status"] != "success"]
    return FailedRows(
        [str(row["key"]) for row in rows],
        [
            f"not_downloaded: {str(row.get('error_message') or row['status'])[:200]}"
            for row in rows
        ],
        state,
    )


def is_companion(file: str, stems: set[str]) -> bool:
    """Whether a file stands beside a tar of one of these stems, as img2dataset's do."""
    name = file.removesuffix(".parquet").removesuffix("_stats.json")
    return name != file and name in stems
