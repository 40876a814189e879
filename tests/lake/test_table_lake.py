"""A lake's scan as a whole: again, interrupted, after changes, beside other files."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
from pyarrow import csv
from winnow import api
from winnow.cli.main import main
from winnow.config.lake import LakeConfig
from winnow.config.recipes import load_lake
from winnow.core.errors import InputError, RunError
from winnow.core.integrity import checksum
from winnow.core.marker import Marker
from winnow.core.progress import Silent
from winnow.lake.files.catalogue import LakeSource, discover
from winnow.lake.lake_result import LakeResult


def settings(lake: Path | str, run: Path, *overrides: str) -> LakeConfig:
    input_path = f"input.path={json.dumps(str(lake))}"
    return load_lake("table_lake", [input_path, *overrides], str(run))


def scan(lake: Path | str, run: Path, *overrides: str) -> LakeResult:
    return api.scan(settings(lake, run, *overrides))


def edges(run: Path) -> list[dict[str, Any]]:
    """Edges as they are but for the run's own place in the queries."""
    result = pq.read_table(run / "edges.parquet").to_pylist()
    for edge in result:
        edge["rebuild_sql"] = (edge["rebuild_sql"] or "").replace(str(run), "RUN")
    return result


def contained(run: Path) -> set[tuple[str, str]]:
    return {
        (
            edge["child"].removesuffix(".parquet"),
            edge["parent"].removesuffix(".parquet"),
        )
        for edge in edges(run)
        if edge["relation"] in ("contained", "duplicate")
    }


def bytes_read(run: Path) -> dict[str, int]:
    stages = pq.read_table(run / "stages.parquet").to_pylist()
    return {stage["stage"]: stage["bytes_read"] for stage in stages}


def numbers(rows: int, start: int = 0) -> pa.Table:
    ids = range(start, start + rows)
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "kind": [i % 7 for i in ids],
            "name": [f"name {i * 37 % 1000}" for i in ids],
        }
    )


def write(folder: Path, tables: dict[str, pa.Table]) -> Path:
    for name, table in tables.items():
        path = folder / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
    return folder


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    whole = numbers(3000)
    shuffled = whole.take(pa.array([7 * i % 3000 for i in range(3000)]))
    other = pa.table({"key": range(50), "value": [i / 3 for i in range(50)]})
    return write(
        tmp_path / "lake",
        {
            "whole": whole,
            "copy": shuffled,
            "deep/some": whole.slice(5, 2000).select(["name", "id"]),
            "near": whole.slice(0, 1500).set_column(
                1, "kind", pa.array([99] + [i % 7 for i in range(1, 1500)])
            ),
            "other": other,
            "first": other.slice(0, 20),
        },
    )


#: A map whose fields have names that Arrow does not give them.
NAMED = pa.map_(pa.field("k", pa.string(), nullable=False), pa.field("n", pa.int8()))
ALL = {
    ("copy", "whole"),
    ("whole", "copy"),
    ("deep/some", "whole"),
    ("deep/some", "copy"),
    ("first", "other"),
}


def test_a_scan_finds_proves_and_counts(lake: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    scanned = scan(lake, run)
    assert contained(run) == ALL
    by_pair = {(edge["child"], edge["parent"]): edge for edge in edges(run)}
    assert by_pair["copy.parquet", "whole.parquet"]["relation"] == "duplicate"
    near = by_pair["near.parquet", "whole.parquet"]
    assert (near["relation"], near["refuted_by"]) == ("refuted", "min_max")
    assert json.loads(near["witness"]) == {"kind": 99}
    assert sum(scanned.relations.values()) == len(by_pair)
    assert scanned.relations["duplicate"] == 2
    assert (run / "manifest.json").is_file()
    assert not (run / ".work").exists()


def test_a_second_scan_of_the_same_lake_reads_nothing(
    lake: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    scan(lake, run)
    before = edges(run)
    for path in lake.rglob("*.parquet"):
        spoil(path)
    scan(lake, run)
    assert edges(run) == before
    assert set(bytes_read(run).values()) == {0}


def test_a_pair_that_footers_rule_out_is_counted_if_asked_for(
    lake: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    scan(lake, run, "partial.read_all=true")
    assert contained(run) == ALL
    by_pair = {(edge["child"], edge["parent"]): edge for edge in edges(run)}
    near = by_pair["near.parquet", "whole.parquet"]
    assert (near["relation"], near["refuted_by"]) == ("partial", "min_max")
    assert near["containment"] == 1499 / 1500
    assert json.loads(near["witness"]) == {"id": 0, "kind": 99, "name": "name 0"}


def spoil(path: Path) -> None:
    """Make a file useless without a sign of it in its size and time."""
    stat = path.stat()
    path.write_bytes(b"\0" * stat.st_size)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_tables_apart_from_what_changed_are_not_opened(
    lake: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    scan(lake, run)
    for name in ("whole", "near", "copy", "deep/some"):
        spoil(lake / f"{name}.parquet")
    other = pa.table({"key": range(40), "value": [i / 3 for i in range(40)]})
    write(lake, {"first": other, "second": other.slice(3, 4)})
    scan(lake, run)
    assert contained(run) == ALL | {("second", "other"), ("second", "first")}


def test_a_changed_setting_works_out_what_depends_on_it(
    lake: Path, tmp_path: Path
) -> None:
    run, fresh = tmp_path / "run", tmp_path / "fresh"
    scan(lake, run)
    changed = ["ignore_columns=[kind]", "partial.min_containment=0.5"]
    scan(lake, run, *changed)
    scan(lake, fresh, *changed)
    assert edges(run) == edges(fresh)
    assert ("near", "whole") in contained(run)


class Interrupted(Silent):
    """Stops a scan once a stage is done."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def finished(self, marker: Marker, *, again: bool) -> None:
        if marker.step == self.stage:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stage", ["catalogue", "sketch", "content", "witness"])
def test_an_interrupted_scan_goes_on_where_it_was(
    lake: Path, tmp_path: Path, stage: str
) -> None:
    run, fresh = tmp_path / "run", tmp_path / "fresh"
    config = settings(lake, run, "content.sample_rows=100")
    with pytest.raises(KeyboardInterrupt):
        api.scan(config, progress=Interrupted(stage))
    assert not (run / "edges.parquet").exists()
    api.scan(config)
    scan(lake, fresh, "content.sample_rows=100")
    assert edges(run) == edges(fresh)
    if stage != "catalogue":
        assert bytes_read(run)["sketch"] == 0 < bytes_read(fresh)["sketch"]


def test_pairs_that_are_taken_over_leave_no_trace_in_the_files(
    lake: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    scan(lake, run)
    before = (run / "edges.parquet").read_bytes()
    rebuilt = pq.read_table(run / "stages.parquet").to_pylist()[-1]
    scan(lake, run)
    assert (run / "edges.parquet").read_bytes() == before
    again = pq.read_table(run / "stages.parquet").to_pylist()[-1]
    for name in ("stage", "edges_in", "edges_out"):
        assert again[name] == rebuilt[name]


def test_an_interrupted_scan_leaves_the_earlier_result(
    lake: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    scan(lake, run)
    before = edges(run)
    (lake / "copy.parquet").unlink()
    with pytest.raises(KeyboardInterrupt):
        api.scan(settings(lake, run), progress=Interrupted("content"))
    assert edges(run) == before
    scan(lake, run)
    assert all("copy.parquet" not in edge.values() for edge in edges(run))


def random_table(chance: random.Random, bases: Sequence[pa.Table]) -> pa.Table:
    base = chance.choice(bases)
    rows = [i for i in range(len(base)) if chance.random() < 0.7]
    table = base.take(pa.array(rows, pa.int64()))
    names = [name for name in table.column_names if chance.random() < 0.7]
    if chance.random() < 0.3 and len(table):
        spoiled = table.column("b").to_pylist()
        spoiled[chance.randrange(len(spoiled))] = chance.choice([-5, 3, 500])
        table = table.set_column(1, "b", pa.array(spoiled))
    return table.select(names or ["a"])


def put(lake: Path, name: str, table: pa.Table, chance: random.Random) -> None:
    """Write a table in one of the ways in which tables lie in lakes."""
    way = chance.choice(["parquet"] * 5 + ["csv", "hive", "broken", "odd"])
    plain = [column for column in table.column_names if column != "d"]
    if way == "csv" and plain:
        csv.write_csv(table.select(plain), lake / f"{name}.csv")
    elif way == "hive":
        for key in (1, 2):
            write(
                lake / f"h{name}" / f"c={key}",
                {"part": table.drop_columns(["c"])}
                if "c" in table.column_names
                else {"part": table},
            )
    elif way == "broken":
        (lake / f"{name}.parquet").write_bytes(b"PAR1 and no more")
    elif way == "odd" and "c" in table.column_names:
        raw = [b"\xff" + text.encode() for text in table["c"].to_pylist()]
        column = pa.array(raw, pa.binary()).view(pa.string())
        place = table.schema.get_field_index("c")
        write(lake, {name: table.set_column(place, "c", column)})
    else:
        write(lake, {name: table})


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(s, marks=pytest.mark.slow) for s in range(2, 8))]
)
def test_scans_after_changes_end_where_a_full_scan_does(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    bases = [
        pa.table(
            {
                "a": [chance.randrange(12) for _ in range(60)],
                "b": [chance.randrange(100) for _ in range(60)],
                "c": [f"text {chance.randrange(30)}" for _ in range(60)],
                "d": pa.array([{"k": chance.randrange(3)} for _ in range(60)], NAMED),
            }
        )
        for _ in range(2)
    ]
    lake, run = tmp_path / "lake", tmp_path / "run"
    lake.mkdir()
    # So few that the queries of some pairs change when others come and go.
    searched = chance.choice([1.5, 4, 128])
    overrides = [
        f"rebuild.search_mb={searched}",
        "content.sample_rows=20",
        "sketch.kmv=16",
        "partial.min_containment=0.5",
    ]
    for turn in range(4):
        for _ in range(chance.randrange(1, 6)):
            name = f"t{chance.randrange(12):02d}"
            put(lake, name, random_table(chance, bases), chance)
        present = sorted(path for path in lake.iterdir() if path.is_file())
        if turn and len(present) > 3:
            gone, moved = chance.sample(present, 2)
            gone.unlink()
            moved.rename(lake / f"moved{turn}{moved.suffix}")
        fresh = tmp_path / f"fresh{turn}"
        scan(lake, run, *overrides)
        scan(lake, fresh, *overrides)
        assert edges(run) == edges(fresh)
        for name in ("tables", "config"):
            file = f"{name}.parquet"
            if (run / file).exists():
                assert pq.read_table(run / file) == pq.read_table(fresh / file)
        shutil.rmtree(fresh)


@pytest.mark.parametrize("inside", ["", "runs/scan"])
@pytest.mark.parametrize("as_url", [False, True])
def test_a_run_inside_the_lake_is_refused_before_any_work(
    inside: str, as_url: bool, lake: Path, tmp_path: Path, capsys
) -> None:
    before = sorted(lake.rglob("*"))
    (tmp_path / "link").symlink_to(lake)
    asked = lake.as_uri() if as_url else str(lake)
    for out in (lake / inside, tmp_path / "link" / inside):
        assert main(["lake", "scan", asked, "--out", str(out)]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert "lies in the lake" in told
    assert sorted(lake.rglob("*")) == before


def test_the_folder_of_an_older_run_inside_the_lake_is_no_part_of_it(lake: Path):
    tables = [table.name for table in discover(LakeSource(str(lake)))]
    shutil.copytree(lake, lake / "runs" / "scan")
    without = LakeSource(str(lake), without=str(lake / "runs" / "scan"))
    assert [table.name for table in discover(without)] == tables


def test_a_plan_of_another_graph_is_removed(lake: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    price = "plan.maintenance_per_table=1"
    result = winnow.run(settings(lake, run, price))
    assert result.plan is not None
    assert result.plan["deleted"] == 3
    scan(lake, run, price)
    assert (run / "plan.parquet").is_file()
    (lake / "first.parquet").unlink()
    scan(lake, run, price)
    assert not (run / "plan.parquet").exists()


def test_what_is_no_lake_or_no_run_is_refused(lake: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        scan(tmp_path / "nowhere", tmp_path / "run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds no run"):
        scan(lake, tmp_path / "mine")


def test_a_flipped_byte_in_what_is_remembered_is_worked_out_again(
    lake: Path, tmp_path: Path
):
    run = tmp_path / "run"
    scan(lake, run)
    wanted = edges(run)
    parts = sorted((run / "artifacts").rglob("part-*.parquet"))
    assert {part.parent.name for part in parts} == {
        *("catalogue", "folders", "sketches", "pairs", "graph")
    }
    for part in parts:
        data = bytearray(part.read_bytes())
        for place in (len(data) // 3, len(data) // 2):
            data[place] ^= 1
        part.write_bytes(data)
    scan(lake, run)
    assert edges(run) == wanted
    for part in (run / "artifacts").rglob("part-*.parquet"):
        assert part.stem.rpartition("-")[2] == checksum(part)


def test_a_lock_file_that_is_not_what_was_written_is_named(lake: Path, tmp_path: Path):
    run = tmp_path / "run"
    scan(lake, run)
    lock = run / "config.lock.yaml"
    lock.write_text(lock.read_text().replace("semantics: set", "semantics: bag"))
    with pytest.raises(RunError, match=r"config\.lock\.yaml is damaged"):
        winnow.Lake(run).plan()


def test_a_scan_of_another_lake_is_not_written_over(lake: Path, tmp_path: Path):
    run, other = tmp_path / "run", write(tmp_path / "other", {"a": numbers(9)})
    scan(lake, run)
    before = edges(run)
    with pytest.raises(RunError, match="holds a scan of another lake"):
        scan(other, run)
    assert edges(run) == before
