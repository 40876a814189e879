"""A lake of 100,000 small tables: a first scan, ten changes, and a second scan.

    python benchmarks/lake_many.py FOLDER [--tables 100000] [--page]

Families of 12 tables with columns of their own, about as many pairs a table as in a
real lake: a base, a copy of its file, its rows in another order, two slices, a
projection, a near miss, and five deliveries of other rows. The ten changes are two
tables added, four rewritten, two removed and two renamed. Prints time, processor time
and peak memory of each scan, and whether the second says what a scan into a new folder
says. Each runs in a process of its own. Without `--page` no page is written.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_FAMILY = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a new folder, or one made before")
    parser.add_argument("--tables", type=int, default=100_000)
    parser.add_argument("--page", action="store_true", help="write the pages, too")
    parser.add_argument("--fresh", action="store_true", help="compare a third scan")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    lake, page = given.folder / "lake", str(given.page).lower()
    if given.one:
        print(json.dumps(scan(lake, given.folder / given.one, page)))
        return
    if not lake.is_dir():
        write(lake, given.tables)
    if not (given.folder / "run" / "edges.parquet").is_file():
        _tell("first scan", _run(given.folder, "run", page))
        _tell("again, unchanged", _run(given.folder, "run", page))
    change(lake)
    _tell("again, 10 changes", _run(given.folder, "run", page))
    if given.fresh:
        shutil.rmtree(given.folder / "fresh", ignore_errors=True)
        _tell("into a new folder", _run(given.folder, "fresh", page))
        for name, left_out in (("edges", "rebuild_sql"), ("tables", "")):
            one, other = (
                pq.read_table(given.folder / run / f"{name}.parquet")
                for run in ("run", "fresh")
            )
            if left_out:
                # Queries name side files of their own run.
                one, other = one.drop([left_out]), other.drop([left_out])
            print(f"  {name}: {'the same' if one == other else 'NOT THE SAME'}")


def _tell(what: str, told: dict) -> None:
    print(
        f"{what}: {told['seconds']:.1f} s, {told['cpu']:.1f} s of processor time, "
        f"{told['peak_gib']:.2f} GiB; {told['tables']:,} tables, {told['relations']}",
        flush=True,
    )
    for row in told["stages"]:
        print(
            f"  {row['stage']:10} {row['edges_in']:>14,} -> {row['edges_out']:>12,}"
            f" {row['seconds']:8.2f} s {row['bytes_read'] / 2**20:9.1f} MiB"
        )


def _run(folder: Path, run: str, page: str) -> dict:
    command = [sys.executable, __file__, str(folder), "--one", run]
    command += ["--page"] if page == "true" else []
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(told.stdout.splitlines()[-1])


def scan(lake: Path, run: Path, page: str) -> dict:
    from winnow import api
    from winnow.config.recipes import load_scan

    start = time.perf_counter()
    config = load_scan(str(lake), "table_lake", [f"output.report={page}"], str(run))
    scanned = api.scan(config)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": time.perf_counter() - start,
        "cpu": used.ru_utime + used.ru_stime,
        "peak_gib": used.ru_maxrss / 2**20,
        "tables": scanned.tables,
        "relations": scanned.relations,
        "stages": scanned.stages,
    }


def write(lake: Path, tables: int) -> None:
    """Write the lake; a folder holds 8 families."""
    for family in range(-(-tables // _FAMILY)):
        folder = lake / f"area{family // 8:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        left = min(_FAMILY, tables - family * _FAMILY)
        for name, table in list(_family(family))[:left]:
            pq.write_table(table, folder / f"f{family:05d}_{name}.parquet")


def _family(family: int):
    rng = np.random.default_rng(family)
    rows = int(rng.integers(20, 120))
    base = _rows(rng, family, rows, 0)
    order = rng.permutation(rows)
    wrong = np.asarray(base[2]).copy()
    wrong[rows // 2] = 0.25
    yield "base", base
    yield "copy", base
    yield "sorted", base.take(order)
    yield "head", base.slice(0, rows // 2)
    yield "some", base.filter(pa.array(rng.random(rows) < 0.4))
    yield "columns", base.select([0, 1])
    yield "near", base.set_column(2, base.column_names[2], pa.array(wrong))
    for delivery in range(1, 6):
        yield f"other{delivery}", _rows(rng, family, rows, delivery)


def _rows(rng: np.random.Generator, family: int, rows: int, delivery: int) -> pa.Table:
    start = delivery * 10_000 if delivery < 5 else 0
    ids = np.sort(rng.choice(5_000, rows, replace=False)) + start
    kinds = np.array(["red", "green", "blue", "white"])
    return pa.table(
        {
            f"id_{family}": ids,
            f"kind_{family}": kinds[rng.integers(0, 4, rows)],
            "amount": rng.normal(size=rows),
            "day": rng.integers(0, 365, rows),
        }
    )


def change(lake: Path) -> None:
    """Change ten tables; another ten each time."""
    turn = len(list(lake.glob("new*")))
    families = [turn * 40 + number for number in range(10)]

    def path(number: int, name: str) -> Path:
        family = families[number]
        return lake / f"area{family // 8:05d}" / f"f{family:05d}_{name}.parquet"

    new = lake / f"new{turn}"
    new.mkdir()
    for number in (0, 1):
        shutil.copy(path(number, "base"), new / f"added{number}.parquet")
    for number in (2, 3, 4, 5):
        table = pq.read_table(path(number, "other1"))
        pq.write_table(table.slice(1), path(number, "other1"))
    for number in (6, 7):
        path(number, "sorted").unlink()
    for number in (8, 9):
        os.rename(path(number, "near"), new / f"renamed{number}.parquet")


if __name__ == "__main__":
    main()
