"""Memory of text_dedup as rows grow: the peak of each step, and what a row costs.

    python benchmarks/soak/text_memory.py --rows 1000000 4000000 --work FOLDER
    python benchmarks/soak/text_memory.py … --group-mb 64   # engine.group_mb; 256

Short generated texts of which one in seven are edited copies of others, in Parquet
shards of 250,000 rows. Each size runs in a process of its own. The peak of a step is
its own (`steps.parquet`); `ru_maxrss` says no more, since each step begins it anew.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_SHARD_ROWS = 250_000
_WORDS, _VOCABULARY = 14, 60_000


def texts(rows: int, seed: int) -> list[str]:
    """Return texts of 14 words; every seventh is another with one word changed."""
    rng = np.random.default_rng(seed)
    words = rng.zipf(1.3, (rows, _WORDS)) % _VOCABULARY
    # So that no two are alike by chance.
    words[:, :4] = rng.integers(0, _VOCABULARY, (rows, 4))
    copies = np.flatnonzero(np.arange(rows) % 7 == 6)
    words[copies] = words[copies - 3]
    words[copies, _WORDS - 1] = rng.integers(0, _VOCABULARY, len(copies))
    named = np.char.add("w", words.astype("U5"))
    return [" ".join(row) for row in named.tolist()]


def make_pool(folder: Path, rows: int) -> None:
    """Write the shards of a pool, if they are not there."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True)
    for number, first in enumerate(range(0, rows, _SHARD_ROWS)):
        count = min(_SHARD_ROWS, rows - first)
        names = np.random.default_rng(number).integers(0, 2**63, count)
        uids = [f"{n:016x}{first + i:016x}" for i, n in enumerate(names.tolist())]
        table = pa.table({"uid": uids, "text": texts(count, number)})
        pq.write_table(table, folder / f"{number:05d}.parquet", row_group_size=50_000)


def deduplicate(work: Path, rows: int, group_mb: int) -> dict[str, Any]:
    """Run `text_dedup` here; return seconds and peaks in MiB."""
    import winnow

    pool = work / f"texts-{rows}"
    begun = time.process_time(), time.perf_counter()
    settings = {
        "input.path": str(pool),
        "output.path": str(work / f"run-{rows}"),
        "output.report": False,
        "engine.group_mb": group_mb,
    }
    result = winnow.run("text_dedup", settings)
    return {
        "rows": rows,
        "kept": result.kept,
        "cpu_seconds": round(time.process_time() - begun[0]),
        "seconds": round(time.perf_counter() - begun[1]),
        "peak_mib": round(max(m.peak_rss_mb for m in result.steps)),
        "steps": {m.step: round(m.peak_rss_mb) for m in result.steps},
    }


def tell(measured: Sequence[dict[str, Any]]) -> None:
    """Print what was measured, and the bytes that one more row takes."""
    for one in measured:
        steps = ", ".join(f"{name} {mib:,}" for name, mib in one["steps"].items())
        print(
            f"{one['rows']:>10,} rows: peak {one['peak_mib']:,} MiB ({steps}), "
            f"{one['kept']:,} kept, {one['cpu_seconds']:,} CPU s"
        )
    for one, next_one in pairwise(measured):
        rows = next_one["rows"] - one["rows"]
        more = (next_one["peak_mib"] - one["peak_mib"]) * 2**20
        print(f"from {one['rows']:,} rows on, one more: {more / rows:.0f} bytes")


def main() -> None:
    """Measure every size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 4_000_000])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--group-mb", type=int, default=256)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(deduplicate(asked.work, asked.one, asked.group_mb)))
        return
    measured = []
    for rows in asked.rows:
        make_pool(asked.work / f"texts-{rows}", rows)
        command = [sys.executable, __file__, "--one", str(rows)]
        command += ["--work", str(asked.work), "--group-mb", str(asked.group_mb)]
        ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        measured.append(json.loads(ended.stdout.splitlines()[-1]))
        print(json.dumps(measured[-1]), flush=True)
    tell(measured)


if __name__ == "__main__":
    main()
