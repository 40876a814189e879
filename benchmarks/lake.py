"""A lake's containments through `winnow lake scan`, against comparing all pairs.

    python benchmarks/lake.py [--tables 500 1000 2500 5000] [--scale 0.01] [--lake DIR]

Generated lakes: families of 50 tables with keyed rows; five families have one schema.
40 of a family are other deliveries of it, which nothing contains: 20 of other ids,
which bounds tell apart, 20 with values drawn from the base's and amounts within its
bounds, which takes sketches. 10 are a base, what was made of it (projections, filters,
a shuffled copy) and a near miss that differs in one row. pyarrow, polars and DuckDB
write in turn. At `--scale 1` 5,000 tables hold about 26 GiB. `--lake` adds a folder of
real tables.

Every task runs in a process of its own, so that its peak memory is its own. The brute
force reads every table once and compares the rows of every pair whose column names are
contained, by hash joins on the values (polars); its answers must be the scan's.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

#: Rows of a base table at scale 1: log-uniform between these.
_ROWS = (20_000, 2_000_000)
_FAMILY = 50
#: Deliveries of each kind in a family.
_DELIVERIES = 20
#: Families that share a schema meet in the schema graph.
_SHARING = 5
_WORDS = np.array([f"{a}{b}" for a in ("north", "south", "east") for b in range(40)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tables", type=int, nargs="*", default=[500, 1000, 2500, 5000]
    )
    parser.add_argument("--scale", type=float, default=0.01)
    parser.add_argument("--lake", type=Path, help="a folder of real tables")
    parser.add_argument("--ignore", default="rownames", help="column of --lake")
    parser.add_argument("--brute", type=int, default=500, help="largest lake for it")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        task, folder, rest = given.one
        print(json.dumps(_TASKS[task](Path(folder), rest)))
        return
    work = given.work or Path(tempfile.mkdtemp(prefix="winnow-lake-"))
    print(f"{len(os.sched_getaffinity(0))} cores, scale {given.scale}")
    if given.lake:
        _compare(given.lake, given.ignore, brute=True)
    for tables in given.tables:
        folder = work / f"lake-{tables}-{given.scale}"
        _run("generate", folder, f"{tables}:{given.scale}")
        _compare(folder, "", brute=tables <= given.brute)
    if not given.work:
        shutil.rmtree(work)


def _compare(folder: Path, ignore: str, brute: bool) -> None:
    scanned = _run("scan", folder, ignore)
    _tell(folder, scanned)
    if brute:
        found = _run("brute", folder, ignore)
        same = sorted(map(tuple, found["edges"])) == sorted(
            map(tuple, scanned["edges"])
        )
        print(
            f"  all pairs: {found['seconds']:.1f} s ({found['cpu']:.1f} s of CPU), "
            f"{found['peak_gib']:.2f} GiB, "
            f"{found['pairs']:,} pairs compared; "
            f"{found['seconds'] / scanned['seconds']:.1f} times the scan, in CPU "
            f"{found['cpu'] / scanned['cpu']:.1f}; "
            f"{'the same' if same else 'NOT THE SAME'} {len(found['edges']):,} edges"
        )


def _tell(folder: Path, found: dict) -> None:
    read = sum(stage["bytes_read"] for stage in found["stages"])
    print(
        f"{folder.name}: {found['tables']:,} tables, {found['rows']:,} rows, "
        f"{found['bytes'] / 2**20:,.0f} MiB; scan {found['seconds']:.1f} s "
        f"({found['cpu']:.1f} s of CPU), "
        f"{found['peak_gib']:.2f} GiB, {read / 2**20:,.0f} MiB read; "
        f"{found['untouched']:.0%} of the bytes never sketched"
    )
    for stage in found["stages"]:
        print(
            f"  {stage['stage']:10} {stage['edges_in']:>9,} -> "
            f"{stage['edges_out']:>9,} edges  {stage['seconds']:7.2f} s  "
            f"{stage['bytes_read'] / 2**20:9,.1f} MiB"
        )


def _run(task: str, folder: Path, rest: str) -> dict:
    command = [sys.executable, __file__, "--one", task, str(folder), rest]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(found.stdout.splitlines()[-1])


def _cpu(who: int) -> float:
    """CPU seconds so far, which other work on the machine changes less than time."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def generate(folder: Path, how: str) -> dict:
    """Write a lake of `tables:scale`, unless it is there."""
    if folder.is_dir():
        return {}
    tables, scale = int(how.split(":", maxsplit=1)[0]), float(how.split(":")[1])
    beside = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(beside, ignore_errors=True)
    for family in range(tables // _FAMILY):
        place = beside / f"family{family:04d}"
        place.mkdir(parents=True)
        _write_family(place, family, scale)
    beside.rename(folder)
    return {}


def _write_family(place: Path, family: int, scale: float) -> None:
    rng = np.random.default_rng(family)
    low, high = np.log(_ROWS[0] * scale), np.log(_ROWS[1] * scale)
    rows = int(np.exp(rng.uniform(low, high)))
    schema = family // _SHARING
    base = _base(rng, rows, schema, family)
    names = base.column_names
    half = base.filter(pa.array(rng.random(rows) < 0.5))
    changed = half.set_column(
        1, names[1], pa.array(np.append(np.asarray(half[1])[:-1], 1e9))
    )
    made = {
        "base": base,
        "copy": base.take(pa.array(rng.permutation(rows))),
        "half": half,
        "group1": base.filter(pa.array(np.asarray(base[2]) == 1)),
        "narrow": base.select(names[:3]),
        "narrow_half": half.select(names[:4]),
        "near_miss": changed,
        "amounts": half.select(names[:2]),
        "words": base.select([names[0], names[3]]).slice(0, rows // 3),
        "head": base.slice(0, rows // 10 + 1),
    }
    for turn in range(_DELIVERIES):
        start = (turn + 1) * 1_000_000 + family
        made[f"month{turn:02d}"] = _base(rng, rows // 2 + 1, schema, start)
        made[f"redrawn{turn:02d}"] = _redrawn(rng, base)
    for number, (name, table) in enumerate(made.items()):
        _WRITERS[(family + number) % len(_WRITERS)](table, place / f"{name}.parquet")


def _base(rng: np.random.Generator, rows: int, schema: int, start: int) -> pa.Table:
    """Keyed rows; 0 to 7 further columns, as the schema's number says."""
    columns = {
        "id": np.arange(rows, dtype=np.int64) + start * 10_000_000,
        "amount": np.round(rng.gamma(2, 50, rows), 2),
        "group": rng.integers(0, 8, rows, dtype=np.int32),
        "word": pa.array(_WORDS[rng.integers(0, len(_WORDS), rows)]),
    }
    for extra in range(schema % 8):
        if extra % 2:
            columns[f"x{extra}"] = rng.normal(size=rows)
        else:
            columns[f"x{extra}"] = rng.integers(0, 1000 * (extra + 1), rows)
    return pa.table({f"{name}_{schema}": values for name, values in columns.items()})


def _redrawn(rng: np.random.Generator, base: pa.Table) -> pa.Table:
    """Rows of the base whose amounts are others, all of them within its bounds."""
    chosen = base.take(pa.array(rng.integers(0, len(base), len(base) // 2 + 1)))
    amount = np.asarray(base[1])
    other = np.round(rng.uniform(amount.min(), amount.max(), len(chosen)), 3)
    return chosen.set_column(1, base.column_names[1], pa.array(other))


def _by_pyarrow(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path)


def _by_polars(table: pa.Table, path: Path) -> None:
    import polars as pl

    pl.from_arrow(table).write_parquet(path)


def _by_duckdb(table: pa.Table, path: Path) -> None:
    import duckdb

    with duckdb.connect() as connection:
        connection.register("made", table)
        connection.execute(f"COPY made TO '{path}' (FORMAT parquet)")


_WRITERS = (_by_pyarrow, _by_polars, _by_duckdb)


def scan(folder: Path, ignore: str) -> dict:
    out = Path(tempfile.mkdtemp(prefix="winnow-lake-run-"))
    command = [sys.executable, "-m", "winnow", "lake", "scan", str(folder)]
    command += ["--out", str(out), "--json", "--set", f"ignore_columns=[{ignore}]"]
    command += ["--set", "output.report=false"]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    cpu = _cpu(resource.RUSAGE_CHILDREN)
    edges = pq.read_table(out / "edges.parquet")
    tables = pq.read_table(out / "tables.parquet")
    stages = pq.read_table(out / "stages.parquet").to_pylist()
    proven = [
        [edge["child"], edge["parent"]]
        for edge in edges.select(["child", "parent", "relation"]).to_pylist()
        if edge["relation"] in ("contained", "duplicate")
    ]
    size = sum(tables["bytes"].to_pylist())
    # What samples and contents read of a table was sketched, and is sketched once; the
    # search for rebuild queries reads more.
    sketched = next(s["bytes_read"] for s in stages if s["stage"] == "sketch")
    shutil.rmtree(out)
    return {
        "tables": len(tables),
        "rows": sum(rows or 0 for rows in tables["rows"].to_pylist()),
        "bytes": size,
        "seconds": seconds,
        "cpu": cpu,
        "peak_gib": peak,
        "stages": stages,
        "edges": proven,
        "untouched": 1 - sketched / size,
    }


def compare_all_pairs(folder: Path, ignore: str) -> dict:
    """Compare the distinct rows of every pair whose column names are contained."""
    import polars as pl

    start = time.perf_counter()
    frames: dict[str, pl.DataFrame] = {}
    for file in sorted(folder.rglob("*.parquet")):
        table = pq.read_table(file)
        if ignore in table.column_names:
            table = table.drop_columns([ignore])
        try:
            frames[file.relative_to(folder).as_posix()] = _by_value(table)
        except (pl.exceptions.PolarsError, pa.ArrowInvalid):
            continue  # Invalid UTF-8, which polars refuses.
    names = {name: frozenset(frame.columns) for name, frame in frames.items()}
    edges, pairs = [], 0
    for child, columns in names.items():
        for parent, others in names.items():
            if child == parent or not columns or not columns <= others:
                continue
            pairs += 1
            if _contained(frames[child], frames[parent]):
                edges.append([child, parent])
    seconds = time.perf_counter() - start
    return {
        "edges": edges,
        "pairs": pairs,
        "seconds": seconds,
        "cpu": _cpu(resource.RUSAGE_SELF),
        "peak_gib": _peak(),
    }


def _by_value(table: pa.Table):
    """Return the distinct rows, numbers as float64 (the lakes hold none beyond 2⁵³)."""
    import polars as pl
    import polars.selectors as cs

    frame = pl.from_arrow(table)
    return frame.with_columns(cs.numeric().cast(pl.Float64)).unique()


def _contained(child, parent) -> bool:
    columns = child.columns
    other = parent.select(columns)
    if child.schema != other.schema:
        return False
    return child.join(other, on=columns, how="anti", nulls_equal=True).is_empty()


_TASKS = {"generate": generate, "scan": scan, "brute": compare_all_pairs}


if __name__ == "__main__":
    main()
