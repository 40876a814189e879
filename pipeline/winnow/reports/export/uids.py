"""The uids that a run keeps: DataComp's subset file, or one uid to a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from winnow.core.errors import ConfigError
from winnow.core.outputs import require_ending
from winnow.formats.outputs import SUBSET, datacomp_subset
from winnow.reports.export.kept_rows import REPEATS, KeptRows


def write_uids(rows: KeptRows, file: Path, shard_rows: int) -> int:
    """Write uids, sorted, each as often as its row was drawn; return how many.

    A NumPy array of dtype "u8,u8", 16 bytes a uid, which is what DataComp's resharder
    searches; or text, if the file ends in .txt. `shard_rows` is not used. Raises
    ConfigError for another ending, and if a uid is no 128-bit number in hexadecimal.
    """
    require_ending(file, (".npy", ".txt"))
    as_text = file.suffix == ".txt"
    return _write_text(rows, file) if as_text else _write_subset(rows, file)


def _write_subset(rows: KeptRows, file: Path) -> int:
    parts = [np.empty(0, SUBSET)]
    for batch in rows.uids():
        uids = batch["uid"].take(_places(batch))
        part = datacomp_subset(uids)
        if part is None:
            raise ConfigError(
                "uids of this run are not 32 hexadecimal digits, as DataComp's format "
                "needs; end --out in .txt for a list of uids, or export parquet"
            )
        parts.append(part)
    # Of 32 lower-case digits each, sorted as text is sorted as numbers.
    subset = np.concatenate(parts)
    with open(file, "wb") as out:
        np.save(out, subset)
    return len(subset)


def _write_text(rows: KeptRows, file: Path) -> int:
    written = 0
    with open(file, "w", encoding="utf-8") as out:
        for batch in rows.uids():
            uids = batch["uid"].take(_places(batch)).to_pylist()
            out.writelines(f"{uid}\n" for uid in uids)
            written += len(uids)
    return written


def _places(batch: pa.RecordBatch) -> pa.Array:
    """Return each row's place as often as the row was drawn."""
    return pa.array(np.repeat(np.arange(len(batch)), batch[REPEATS].to_numpy()))
