"""A lake's verdicts judged by DuckDB, then planned, applied and restored.

    python benchmarks/lake_corpora.py LAKE WORK [--pairs 20000] [--seconds 300]

Scans a copy of LAKE below WORK. Every pair that the scan decided is judged without it:
Parquet, CSV and JSON Lines are read by DuckDB's own readers (CSV as text), Delta tables
by delta-rs; the child's rows EXCEPT the parent's over the shared columns, null-safe,
say whether it is contained. Columns of which only one side is text are compared as text
where that is CSV, or by value where all values are numbers. Pairs that DuckDB cannot
judge are counted with the reason. Then the plan is made and applied, all is restored,
and every file of the copy must be the one that it was, byte by byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

_SMALL = 32 * 2**20
#: Rows of a child that are looked up before all are.
_FIRST = 20
_JUDGED = ("duplicate", "contained", "partial", "refuted")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lake", type=Path)
    parser.add_argument("work", type=Path, help="a new folder")
    parser.add_argument("--pairs", type=int, default=20_000, help="judged at most")
    parser.add_argument("--seconds", type=float, default=1e9, help="judged at most")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    given = parser.parse_args()
    lake, run = given.work / "lake", given.work / "run"
    if not lake.is_dir():
        shutil.copytree(given.lake, lake, symlinks=True)
    before = digests(lake)
    settings = [part for one in given.settings for part in ("--set", one)]
    scan = ["scan", str(lake), "--out", str(run), "--set", "output.report=false"]
    scanned = winnow(*scan, *settings)
    tables = pl.read_parquet(run / "tables.parquet")
    print(
        f"{given.lake.name}: {len(before):,} files, {len(tables):,} tables, "
        f"{tables['reason'].is_not_null().sum()} not read or in part; "
        f"{scanned['relations']}"
    )
    print(f"  {Counter(tables['format'].to_list())}")
    judge(run, given.pairs, given.seconds)
    planned = winnow("plan", str(run))
    applied = winnow("apply", str(run))
    print(
        f"  planned {planned['deleted']}, moved {len(applied['moved'])}, "
        f"stayed {[one['reason'] for one in applied['kept']]}"
    )
    gone = set(before) - set(digests(lake))
    restored = winnow("restore", str(run))
    print(
        f"  {len(gone)} files away; restored {len(restored['restored'])}, every file "
        f"{'as it was' if digests(lake) == before else 'NOT AS IT WAS'}"
    )


def winnow(*arguments: str) -> dict:
    command = [sys.executable, "-m", "winnow", "lake", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"CRASH of {arguments}: {done.returncode}\n{done.stderr[-3000:]}")
        raise SystemExit(1)
    return json.loads(done.stdout)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def judge(run: Path, most: int, seconds: float) -> None:
    """Compare the scan's verdicts with DuckDB's; containments first."""
    tables = {r["table"]: r for r in pl.read_parquet(run / "tables.parquet").to_dicts()}
    edges = pl.read_parquet(run / "edges.parquet")
    edges = edges.filter(pl.col("relation").is_in(_JUDGED))
    held = edges["relation"].is_in(["duplicate", "contained"])
    rest = edges.filter(~held).sample(fraction=1.0, shuffle=True, seed=0)
    chosen = pl.concat([edges.filter(held), rest]).head(most)
    reader = Reader(tables)
    outcome: Counter[str] = Counter()
    end = time.monotonic() + seconds
    for edge in chosen.to_dicts():
        if time.monotonic() > end:
            break
        said = edge["relation"] in ("duplicate", "contained")
        try:
            found = reader.contained(edge)
        except Exception as error:
            outcome[f"not judged: {type(error).__name__} {str(error)[:70]!r}"] += 1
            continue
        outcome["agree" if found == said else "DISAGREE"] += 1
        if found != said:
            print(f"  DISAGREE {edge['child']} in {edge['parent']}: {edge['reason']}")
    print(f"  {len(edges):,} pairs, {outcome.total():,} looked at: {dict(outcome)}")


class Reader:
    """Tables as DuckDB has them, leaf columns as text and as they are."""

    def __init__(self, tables: dict[str, dict]) -> None:
        self._tables = tables
        self._sql = duckdb.connect()
        self._sql.execute("SET TimeZone = 'UTC'")
        self._known: dict[str, str] = {}
        self._kinds: dict[tuple[str, str], tuple[str, bool]] = {}
        self._leaves: dict[tuple[str, str], str] = {}
        self._names: dict[str, list[str]] = {}

    def contained(self, edge: dict) -> bool:
        one, other = self._view(edge["child"]), self._view(edge["parent"])
        pairs = [self._columns(one, other, name) for name in edge["shared_columns"]]
        if self._lacks_first(one, other, pairs):
            return False
        child = ", ".join(pair[0] for pair in pairs)
        parent = ", ".join(pair[1] for pair in pairs)
        query = f"SELECT {child} FROM {one} EXCEPT SELECT {parent} FROM {other}"
        return self._count(f"({query})") == 0

    def _lacks_first(self, one: str, other: str, pairs: list[tuple[str, str]]) -> bool:
        """Whether the parent lacks one of the child's first rows: most often so."""
        child = ", ".join(f"{pair[0]} AS c{i}" for i, pair in enumerate(pairs))
        parent = ", ".join(f"{pair[1]} AS p{i}" for i, pair in enumerate(pairs))
        same = " AND ".join(
            f"c{i} IS NOT DISTINCT FROM p{i}" for i in range(len(pairs))
        )
        first = f"(SELECT {child} FROM {one} LIMIT {_FIRST})"
        held = f"(SELECT {parent} FROM {other})"
        return self._count(f"{first} ANTI JOIN {held} ON {same}") > 0

    def _count(self, source: str) -> int:
        return self._sql.execute(f"SELECT count(*) FROM {source}").fetchall()[0][0]

    def _columns(self, one: str, other: str, name: str) -> tuple[str, str]:
        for view in (one, other):
            if (view, name) not in self._leaves:
                self._leaves[view, name] = self._leaf(view, name)
        leaves = [self._leaves[view, name] for view in (one, other)]
        known = [self._kind(*key) for key in zip((one, other), leaves, strict=True)]
        kinds = [kind for kind, _ in known]
        if kinds == ["VARCHAR", "VARCHAR"]:
            # By value where both are numbers, as they are written else.
            numbers = [f"TRY_CAST({leaf} AS DOUBLE)" for leaf in leaves]
            both = all(number for _, number in known)
            return (numbers[0], numbers[1]) if both else (leaves[0], leaves[1])
        if "VARCHAR" in kinds:
            side = kinds.index("VARCHAR")
            leaves[side] = f"CAST({leaves[side]} AS {kinds[1 - side]})"
        return leaves[0], leaves[1]

    def _kind(self, view: str, leaf: str) -> tuple[str, bool]:
        """Return a column's type, and whether it is text all of which are numbers."""
        if (view, leaf) not in self._kinds:
            self._look_at(view, [leaf])
        return self._kinds[view, leaf]

    def _look_at(self, view: str, leaves: list[str]) -> None:
        """Find the kinds of several columns by two queries."""
        if not leaves:
            return
        types = self._sql.sql(f"SELECT {', '.join(leaves)} FROM {view} LIMIT 0").types
        kinds = dict(zip(leaves, map(str, types), strict=True))
        texts = [leaf for leaf, kind in kinds.items() if kind == "VARCHAR"]
        odd = [
            f"bool_or(TRY_CAST({t} AS DOUBLE) IS NULL AND {t} IS NOT NULL)"
            for t in texts
        ]
        query = f"SELECT {', '.join(odd or ['1'])} FROM {view}"
        told = self._sql.execute(query).fetchall()[0]
        numbers = {text for text, some in zip(texts, told, strict=False) if not some}
        for leaf, kind in kinds.items():
            self._kinds[view, leaf] = kind, leaf in numbers

    def _leaf(self, view: str, dotted: str) -> str:
        """Return the expression of a leaf column: a column, or a field of a struct."""
        columns = self._names[view]
        if dotted in columns:
            return _name(dotted)
        tops = [c for c in columns if dotted.startswith(f"{c}.")]
        if not tops:
            raise ValueError("DuckDB finds other column names")
        top = max(tops, key=len)
        expression, rest = _name(top), dotted[len(top) + 1 :]
        for name in rest.split("."):
            expression = f"struct_extract({expression}, '{name}')"
        return expression

    def _view(self, name: str) -> str:
        if name not in self._known:
            view = f"t{len(self._known)}"
            table = self._tables[name]
            source = self._source(table)
            # Small tables are read once for all their pairs.
            kept = "TABLE" if table["bytes"] < _SMALL else "VIEW"
            self._sql.execute(f"CREATE {kept} {view} AS SELECT * FROM {source}")
            columns = self._sql.sql(f"SELECT * FROM {view} LIMIT 0").columns
            self._known[name], self._names[view] = view, columns
            self._look_at(view, [_name(column) for column in columns])
        return self._known[name]

    def _source(self, table: dict) -> str:
        path = table["location"].replace("'", "''")
        if table["format"] == "delta":
            import deltalake

            delta = deltalake.DeltaTable(table["location"])
            try:
                read = delta.to_pyarrow_table()
            except deltalake.exceptions.DeltaProtocolError:
                # That reader knows fewer features than the library's engine.
                query = deltalake.QueryBuilder().register("t", delta)
                read = query.execute("SELECT * FROM t")
            name = f"delta{len(self._known)}"
            self._sql.register(name, pa.table(read))
            return name
        if table["format"] == "csv":
            first = Path(table["location"]).suffix
            delimiter = ", delim='\\t'" if first == ".tsv" else ""
            return f"read_csv('{path}', all_varchar=true, header=true{delimiter})"
        if table["format"] == "jsonl":
            return f"read_ndjson('{path}', sample_size=-1)"
        if table["format"] in ("parquet", "parquet_folder"):
            return self._parquet(table, path)
        raise ValueError(f"no reader of {table['format']} here")

    def _parquet(self, table: dict, path: str) -> str:
        names = {column["name"] for column in table["columns"]}
        if table["format"] == "parquet_folder":
            source = f"read_parquet('{path}/**/*.parquet', hive_partitioning="
            # What a file itself says of a column counts.
            stored = self._sql.sql(f"FROM {source}false)").columns
            return f"{source}{not names <= set(stored)})"
        if any(".metadata" in name for name in names):
            # A variant: Arrow reads it as it is stored.
            name = f"arrow{len(self._known)}"
            self._sql.register(name, pq.read_table(table["location"]))
            return name
        return f"read_parquet('{path}')"


def _name(dotted: str) -> str:
    return '"' + dotted.replace('"', '""') + '"'


if __name__ == "__main__":
    main()
