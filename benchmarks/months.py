"""A pool that grows: its halves, one after the other by an index, beside one run.

    python benchmarks/months.py POOL MODEL

POOL: a folder of Parquet shards with `uid`, `image` and `text`; MODEL: `local-dir:…`.
The first half of the shards is run and indexed, the second run against the index, and
both run at once with the half as what `semantic.keeper` goes by first. Prints how many
rows are decided alike.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import winnow
from winnow.flows.vector_index import build

EPSILON = 0.05


def main() -> None:
    pool, model = Path(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        halves = split(pool, work)
        whole = decided(recipe(halves, work / "whole", model))
        first = decided(recipe(halves[:1], work / "first", model), work / "whole")
        build(str(work / "first"), work / "index")
        second = recipe(halves[1:], work / "second", model)
        second["semantic"]["index"] = str(work / "index")
        grown = first | decided(second, work / "whole")
        alike = sum(grown[uid] == keep for uid, keep in whole.items())
        print(
            f"{len(whole):,} rows, {sum(whole.values()):,} kept in one run, "
            f"{sum(grown.values()):,} month by month; {alike:,} decided alike"
        )
        assert grown == whole


def split(pool: Path, work: Path) -> list[Path]:
    """Write both halves of the shards with a column `month`."""
    shards = sorted(pool.glob("*.parquet"))
    halves = []
    half = len(shards) // 2
    for month, files in enumerate((shards[:half], shards[half:])):
        halves.append(work / f"month-{month}")
        halves[-1].mkdir()
        for file in files:
            table = pq.read_table(file)
            numbers = pa.array([month] * len(table))
            pq.write_table(
                table.append_column("month", numbers), halves[-1] / file.name
            )
    return halves


def recipe(paths: list[Path], out: Path, model: str) -> dict[str, Any]:
    return {
        "input": {"path": [str(path) for path in paths]},
        "model": {"name": model, "precision": "float32"},
        "output": {"path": str(out), "report": False},
        "steps": ["embed", "cluster", "semantic", "apply"],
        "embed": {"modalities": ["image"]},
        "semantic": {"epsilon": EPSILON, "keeper": ["month asc", "bytes desc"]},
    }


def decided(given: dict[str, Any], source: Path | None = None) -> dict[str, bool]:
    out = Path(given["output"]["path"])
    winnow.run(given, from_runs=[] if source is None else [source])
    ledger = pq.read_table(out / "ledger/step=semantic")
    return dict(zip(ledger["uid"].to_pylist(), ledger["keep"].to_pylist(), strict=True))


if __name__ == "__main__":
    main()
