"""Deletion plans of small lakes: made, carried out, undone, interrupted."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.cli.main import main
from winnow.config.recipes import dump, load_lake
from winnow.core.errors import ConfigError, RunError
from winnow.core.saved_files import DamagedError
from winnow.lake.apply import apply_plan, dry_run, restore
from winnow.lake.compare import replayed
from winnow.lake.files.catalogue import LakeSource, discover
from winnow.lake.kernels.tables import EDGES, PLAN, STAGES, TABLES
from winnow.lake.plan import plan_lake
from winnow.lake.result_files import write_plan

Edges = Sequence[tuple[str, str]]

# Storage dear, reading cheap: whatever may go goes.
CHEAP = ["plan.maintenance_per_table=1"]
FREE = [f"plan.{kind}_per_gb=0" for kind in ("read", "compute", "write")]


def scanned(lake: str, run: Path, edges: Edges, settings: Sequence[str] = ()) -> str:
    """Write what a scan of the lake leaves that found these containments."""
    run.mkdir(parents=True, exist_ok=True)
    overrides = [f"input.path={json.dumps(lake)}", *settings]
    (run / "config.lock.yaml").write_text(
        dump(load_lake("table_lake", overrides, str(run)))
    )
    tables = [
        {"table": t.name, "fingerprint": t.fingerprint}
        for t in discover(LakeSource(lake))
    ]
    pq.write_table(pa.Table.from_pylist(tables, TABLES), run / "tables.parquet")
    rows = [{"child": c, "parent": p, "relation": "contained"} for c, p in edges]
    pq.write_table(pa.Table.from_pylist(rows, EDGES), run / "edges.parquet")
    pq.write_table(STAGES.empty_table(), run / "stages.parquet")
    return str(run)


@pytest.fixture
def table() -> pa.Table:
    return pa.table(
        {"id": range(200), "year": [i // 40 for i in range(200)], "v": ["x" * 9] * 200}
    )


@pytest.fixture
def lake(tmp_path: Path, table: pa.Table) -> Path:
    """whole ⊃ some ⊃ few; copy = whole; shuffled ⊂ whole needs a side file."""
    folder = tmp_path / "lake"
    (folder / "deep").mkdir(parents=True)
    written = {
        "whole": table,
        "copy": table,
        "some": table.slice(0, 120),
        "deep/few": table.slice(0, 40).select(["v", "id"]),
        "shuffled": table.take(pa.array([7 * i % 50 for i in range(50)])),
    }
    for name, content in written.items():
        pq.write_table(content, folder / f"{name}.parquet")
    return folder


EDGES_OF_LAKE = [
    (f"{child}.parquet", f"{parent}.parquet")
    for child, parents in {
        "copy": ["whole"],
        "whole": ["copy"],
        "some": ["copy", "whole"],
        "deep/few": ["copy", "some", "whole"],
        "shuffled": ["copy", "some", "whole"],
    }.items()
    for parent in parents
]


@pytest.fixture
def run(lake: Path, tmp_path: Path) -> str:
    return scanned(str(lake), tmp_path / "run", EDGES_OF_LAKE, CHEAP)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def deleted(found: dict[str, Any]) -> dict[str, str]:
    """Deleted tables, and what each is rebuilt from."""
    return {r["table"]: r["parent"] for r in found["plan"] if r["action"] == "delete"}


def reason(found: dict[str, Any], table: str) -> str:
    return next(row["reason"] for row in found["plan"] if row["table"] == table)


def test_the_source_of_a_shallow_clone_stays(tmp_path: Path, table: pa.Table) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    pq.write_table(table, lake / "whole.parquet")
    deltalake.write_deltalake(str(lake / "source"), table)
    edges = [("source", "whole.parquet"), ("whole.parquet", "source")]
    run = scanned(str(lake), tmp_path / "run", edges, [*CHEAP, 'plan.protected=["w*"]'])
    assert deleted(plan_lake(run)) == {"source": "whole.parquet"}
    clone = lake / "clone" / "_delta_log"
    shutil.copytree(lake / "source" / "_delta_log", clone)
    for commit in clone.glob("*.json"):
        lines = [json.loads(line) for line in commit.read_text().splitlines()]
        for line in lines:
            if "add" in line:
                name = line["add"]["path"]
                line["add"]["path"] = (lake / "source" / name).as_uri()
        commit.write_text("\n".join(map(json.dumps, lines)) + "\n")
    planned = plan_lake(run)
    assert deleted(planned) == {}
    assert reason(planned, "source") == "clone stands on its files, too"


def test_all_but_one_copy_go_and_rows_say_why(run: str, lake: Path) -> None:
    planned = plan_lake(run)
    assert deleted(planned) == {
        "deep/few.parquet": "copy.parquet",
        "shuffled.parquet": "copy.parquet",
        "some.parquet": "copy.parquet",
        "whole.parquet": "copy.parquet",
    }
    assert reason(planned, "copy.parquet") == "4 tables are rebuilt from it"
    written = pq.read_table(Path(run) / "plan.parquet")
    assert written.schema.equals(PLAN)
    assert written.to_pylist() == planned["plan"]
    sizes = {name: len(content) for name, content in contents(lake).items()}
    side = sum(map(len, contents(Path(run) / "rebuild").values()))
    assert side > 0
    saved = sum(sizes.values()) - sizes["copy.parquet"] - side
    assert planned["bytes_saved"] == saved


def test_costs_are_the_prices_times_bytes(run: str, lake: Path) -> None:
    prices = {"storage": 3e6, "read": 5e6, "compute": 7e6, "write": 11e6}
    overrides = [f"plan.{kind}_per_gb={price}" for kind, price in prices.items()]
    overrides += [
        "plan.maintenance_per_table=100",
        "plan.accesses=0.5",
        "plan.accesses_of={deep/**: 0.01}",
        "plan.rebuild_mb_per_s=2",
        "plan.protected=[whole.parquet]",
    ]
    rows = {row["table"]: row for row in plan_lake(run, overrides)["plan"]}
    row = rows["deep/few.parquet"]
    assert (row["action"], row["parent"]) == ("delete", "whole.parquet")
    metadata = pq.read_metadata(lake / "whole.parquet").row_group(0)
    read = sum(metadata.column(i).total_compressed_size for i in (0, 2))
    write = (lake / "deep" / "few.parquet").stat().st_size
    assert row["keep_cost"] == pytest.approx(100 + 3e-3 * write)
    assert row["rebuild_cost"] == pytest.approx(0.01 * (12e-3 * read + 11e-3 * write))
    assert row["cost_saved"] == pytest.approx(row["keep_cost"] - row["rebuild_cost"])
    assert row["rebuild_seconds"] == pytest.approx((read + write) / 2e6)
    side = sum(map(len, contents(Path(run) / "rebuild").values()))
    row = rows["shuffled.parquet"]
    assert row["bytes_saved"] == row["bytes"] - side
    assert row["rebuild_cost"] > 3e-3 * side


def test_protected_tables_stay_and_are_rebuilt_from(run: str) -> None:
    planned = plan_lake(run, ["plan.protected=[whole.parquet, 'deep/**']"])
    assert set(deleted(planned)) == {
        "copy.parquet",
        "shuffled.parquet",
        "some.parquet",
    }
    assert set(deleted(planned).values()) == {"whole.parquet"}
    assert reason(planned, "deep/few.parquet") == "protected"


def test_a_rebuild_that_takes_too_long_keeps_the_table(run: str) -> None:
    planned = plan_lake(
        run, ["plan.max_latency_of={'deep/*': 0.0}", "plan.rebuild_mb_per_s=1"]
    )
    assert "deep/few.parquet" not in deleted(planned)
    assert "it would take" in reason(planned, "deep/few.parquet")


def test_a_table_that_is_often_asked_for_stays(run: str) -> None:
    planned = plan_lake(run, ["plan.accesses_of={some.parquet: 1e9}"])
    assert "some.parquet" not in deleted(planned)
    assert "keeping it costs" in reason(planned, "some.parquet")


def test_a_side_file_that_costs_more_than_it_saves_is_not_written(
    run: str, lake: Path
) -> None:
    # Without maintenance, rebuilding the shuffled table must pay by its bytes.
    size = len(contents(lake)["shuffled.parquet"])
    settings = [*FREE, "plan.maintenance_per_table=0", "plan.storage_per_gb=1e9"]
    before = plan_lake(run, settings)
    assert "shuffled.parquet" in deleted(before)
    side = sum(map(len, contents(Path(run) / "rebuild").values()))
    # Each access now costs what it saves without the side file, and more with it.
    price = f"plan.write_per_gb={1e9 * (size - side / 2) / size}"
    after = plan_lake(
        run, [*settings, price, "plan.accesses=0", "plan.accesses_of={shuffled*: 1}"]
    )
    assert "shuffled.parquet" not in deleted(after)
    assert contents(Path(run) / "rebuild") == {}


def test_what_changed_since_the_scan_stays(
    run: str, lake: Path, table: pa.Table
) -> None:
    pq.write_table(table.slice(3), lake / "some.parquet")
    (lake / "shuffled.parquet").unlink()
    planned = plan_lake(run)
    assert set(deleted(planned)) == {"deep/few.parquet", "whole.parquet"}
    assert "scan again" in reason(planned, "some.parquet")


def test_a_parent_that_no_query_can_read_is_passed_over(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    latin = pa.array([b"caf\xe9", b"tea"], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 2, latin.buffers())
    pq.write_table(pa.table({"t": broken}), lake / "broken.parquet")
    pq.write_table(pa.table({"t": broken.slice(1)}), lake / "part.parquet")
    pq.write_table(pa.table({"t": ["tea", "tin"]}), lake / "sound.parquet")
    edges = [("part.parquet", "broken.parquet")]
    run = scanned(str(lake), tmp_path / "run", edges, CHEAP)
    planned = plan_lake(run)
    assert deleted(planned) == {}
    assert "the rebuild query fails" in reason(planned, "part.parquet")
    edges.append(("part.parquet", "sound.parquet"))
    run = scanned(str(lake), tmp_path / "run", edges, CHEAP)
    assert deleted(plan_lake(run)) == {"part.parquet": "sound.parquet"}


def test_tables_move_and_come_back(run: str, lake: Path, tmp_path: Path) -> None:
    before = contents(lake)
    plan_lake(run)
    commands = dry_run(run)
    assert contents(lake) == before
    assert [c["command"] for c in commands][:1] == [
        f"mv {lake}/deep/few.parquet {run}/trash/deep/few.parquet"
    ]
    done = apply_plan(run)
    assert done["moved"] == [c["table"] for c in commands]
    assert done["kept"] == []
    assert set(contents(lake)) == {"copy.parquet"}
    moved = contents(tmp_path / "run" / "trash")
    assert moved == {name: before[name] for name in done["moved"]}
    again = apply_plan(run)
    assert (again["moved"], again["before"]) == ([], done["moved"])
    assert restore(run, ["some.parquet"])["restored"] == ["some.parquet"]
    assert set(contents(lake)) == {"copy.parquet", "some.parquet"}
    assert restore(run)["kept"] == []
    assert contents(lake) == before
    with pytest.raises(ConfigError, match="not in the trash"):
        restore(run, ["some.parquet"])


def test_a_folder_moves_as_a_folder(tmp_path: Path, table: pa.Table) -> None:
    lake = tmp_path / "lake"
    pq.write_to_dataset(table, str(lake / "parts"), partition_cols=["year"])
    (lake / "parts" / "_SUCCESS").touch()
    pq.write_table(table, lake / "whole.parquet")
    before = contents(lake)
    edges = [("parts", "whole.parquet")]
    run = scanned(str(lake), tmp_path / "run", edges, CHEAP)
    assert set(deleted(plan_lake(run))) == {"parts"}
    assert apply_plan(run)["moved"] == ["parts"]
    assert set(contents(lake)) == {"whole.parquet"}
    assert not (lake / "parts").exists()
    restore(run)
    assert contents(lake) == before


def test_what_changes_after_the_plan_does_not_move(
    run: str, lake: Path, table: pa.Table
) -> None:
    plan_lake(run)
    pq.write_table(table.slice(3), lake / "some.parquet")
    done = apply_plan(run)
    assert done["kept"] == [
        {
            "table": "some.parquet",
            "reason": "some.parquet changed since the scan; scan again",
        }
    ]
    restore(run)
    pq.write_table(table.slice(3), lake / "copy.parquet")
    done = apply_plan(run)
    assert done["moved"] == []
    assert {kept["table"] for kept in done["kept"]} == set(deleted(plan_lake(run))) | {
        "deep/few.parquet",
        "shuffled.parquet",
        "some.parquet",
        "whole.parquet",
    }


def test_a_plan_that_was_tampered_with_moves_nothing(run: str, lake: Path) -> None:
    before = contents(lake)
    plan_lake(run)
    path = Path(run) / "plan.parquet"
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        if row["rebuild_sql"]:
            row["rebuild_sql"] += " LIMIT 3"
    pq.write_table(pa.Table.from_pylist(rows, PLAN), path)
    with pytest.raises(DamagedError, match="is damaged"):
        apply_plan(run)
    assert contents(lake) == before


def test_a_wrong_query_under_a_matching_checksum_moves_nothing(
    run: str, lake: Path
) -> None:
    before = contents(lake)
    plan_lake(run)
    written = pq.read_table(Path(run) / "plan.parquet")
    rows = written.to_pylist()
    ends = iter((" LIMIT 3", " OFFSET 1", " UNION ALL SELECT 1", "; SELECT 1"))
    for row in rows:
        if row["action"] == "delete":
            row["rebuild_sql"] += next(ends)
    schema = PLAN.with_metadata(written.schema.metadata)
    write_plan(Path(run), pa.Table.from_pylist(rows, schema))
    done = apply_plan(run)
    assert done["moved"] == []
    assert len(done["kept"]) == 4
    assert all("rebuild query" in one["reason"] for one in done["kept"])
    assert contents(lake) == before


def test_what_moved_tables_are_rebuilt_from_stays(
    run: str, lake: Path, tmp_path: Path, table: pa.Table
) -> None:
    plan_lake(run)
    apply_plan(run)
    side = contents(tmp_path / "run" / "rebuild")
    pq.write_table(table, lake / "later.parquet")
    both = [("copy.parquet", "later.parquet"), ("later.parquet", "copy.parquet")]
    scanned(str(lake), tmp_path / "run", both, CHEAP)
    planned = plan_lake(run)
    assert deleted(planned) == {"later.parquet": "copy.parquet"}
    assert "which was moved away, is rebuilt from it" in reason(planned, "copy.parquet")
    assert contents(tmp_path / "run" / "rebuild") == side


def test_a_trash_in_the_lake_is_refused(run: str, lake: Path) -> None:
    plan_lake(run)
    with pytest.raises(ConfigError, match="lies in the lake"):
        apply_plan(run, str(lake / "trash"))


@pytest.mark.parametrize("inside", ["trash", "deep/trash"])
def test_a_trash_in_the_lake_by_another_name_is_refused(
    inside: str, run: str, lake: Path, tmp_path: Path
) -> None:
    plan_lake(run)
    (lake / inside).mkdir()
    (tmp_path / "elsewhere").symlink_to(lake / inside)
    with pytest.raises(ConfigError, match="lies in the lake"):
        apply_plan(run, str(tmp_path / "elsewhere" / "x"))


@pytest.mark.parametrize("extra", ["notes.json", "_backup/old.parquet", "_x/README"])
def test_a_folder_that_holds_more_than_its_table_stays(
    extra: str, tmp_path: Path, table: pa.Table
) -> None:
    lake = tmp_path / "lake"
    pq.write_to_dataset(table, str(lake / "parts"), partition_cols=["year"])
    pq.write_table(table, lake / "whole.parquet")
    run = scanned(str(lake), tmp_path / "run", [("parts", "whole.parquet")], CHEAP)
    plan_lake(run)
    other = lake / "parts" / extra
    other.parent.mkdir(exist_ok=True)
    pq.write_table(table.slice(7), other)
    done = apply_plan(run)
    assert done["moved"] == []
    assert extra in done["kept"][0]["reason"]
    planned = plan_lake(run)
    assert deleted(planned) == {}
    assert extra in reason(planned, "parts")


def test_a_delta_table_with_a_history_stays(tmp_path: Path, table: pa.Table) -> None:
    deltalake = pytest.importorskip("deltalake")
    lake = tmp_path / "lake"
    deltalake.write_deltalake(str(lake / "once"), table)
    deltalake.write_deltalake(str(lake / "twice"), table.slice(5))
    deltalake.write_deltalake(str(lake / "twice"), table, mode="overwrite")
    pq.write_table(table, lake / "whole.parquet")
    edges = [(name, "whole.parquet") for name in ("once", "twice")]
    planned = plan_lake(scanned(str(lake), tmp_path / "run", edges, CHEAP))
    assert deleted(planned) == {"once": "whole.parquet"}
    assert "earlier versions" in reason(planned, "twice")


def test_what_saves_no_bytes_stays(tmp_path: Path, table: pa.Table) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    pq.write_table(table, lake / "a.parquet")
    (lake / "link.parquet").hardlink_to(lake / "a.parquet")
    pq.write_table(table, lake / "whole.parquet")
    # One row in many bytes of positions: the side file is larger than the table.
    places = [(7 * i) % 200 for i in range(199)]
    small = pa.table({"v": ["x" * 9] * 199, "tag": [f"{i * i}" for i in places]})
    pq.write_table(small.select(["v"]), lake / "none.parquet")
    edges = [
        *[(a, b) for a in ("a", "link", "whole") for b in ("a", "link", "whole")],
        ("none", "whole"),
    ]
    named = [(f"{a}.parquet", f"{b}.parquet") for a, b in edges if a != b]
    planned = plan_lake(scanned(str(lake), tmp_path / "run", named, CHEAP))
    assert not {"a.parquet", "link.parquet"} & set(deleted(planned))
    assert all(row["bytes_saved"] >= 0 for row in planned["plan"])
    assert all(row["bytes_saved"] > 0 for row in planned["plan"] if row["parent"])


def test_a_table_without_rows_is_no_reason_to_delete(
    tmp_path: Path, table: pa.Table
) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    pq.write_table(table, lake / "whole.parquet")
    for name in ("empty", "bare"):
        pq.write_table(table.slice(0, 0), lake / f"{name}.parquet")
    names = [f"{name}.parquet" for name in ("empty", "bare", "whole")]
    edges = [(a, b) for a in names[:2] for b in names if a != b]
    planned = plan_lake(scanned(str(lake), tmp_path / "run", edges, CHEAP))
    assert deleted(planned) == {}
    assert "no rows" in reason(planned, "empty.parquet")


OTHER_TYPES = {
    "dictionary": pa.array(["x", "y", None]).dictionary_encode(),
    "duration": pa.array([1, 2, None], pa.duration("us")),
    "half": pa.array([1.0, 0.5, None], pa.float16()),
    "zone": pa.array([0, 1, None], pa.timestamp("us", "Europe/Paris")),
    "fixed": pa.array([b"ab", b"cd", None], pa.binary(2)),
}


@pytest.mark.parametrize("kind", OTHER_TYPES)
def test_a_table_that_comes_back_in_other_types_stays(
    kind: str, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    whole = pa.table({"id": [1, 2, 3], "c": OTHER_TYPES[kind], "d": ["a"] * 3})
    pq.write_table(whole, lake / "whole.parquet")
    pq.write_table(whole.select(["id", "c"]), lake / "some.parquet")
    pq.write_table(whole.select(["id", "d"]), lake / "plain.parquet")
    edges = [(f"{name}.parquet", "whole.parquet") for name in ("some", "plain")]
    run = scanned(str(lake), tmp_path / "run", edges, CHEAP)
    planned = plan_lake(run)
    assert deleted(planned) == {"plain.parquet": "whole.parquet"}
    assert "equal by value" in reason(planned, "some.parquet")
    planned = plan_lake(run, ["plan.types=relaxed"])
    if kind != "duration":
        assert set(deleted(planned)) == {"plain.parquet", "some.parquet"}
        assert apply_plan(run)["moved"] == ["plain.parquet", "some.parquet"]


def test_bits_count_unless_values_will_do(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    pq.write_table(pa.table({"x": [0.0, 1.0], "y": [1, 2]}), lake / "whole.parquet")
    pq.write_table(pa.table({"x": [-0.0, 1.0]}), lake / "minus.parquet")
    edges = [("minus.parquet", "whole.parquet")]
    run = scanned(str(lake), tmp_path / "run", edges, CHEAP)
    assert deleted(plan_lake(run)) == {}
    assert set(deleted(plan_lake(run, ["plan.types=relaxed"]))) == {"minus.parquet"}


def test_a_lake_behind_a_url(tmp_path: Path, table: pa.Table) -> None:
    fs, root = fsspec.filesystem("memory"), f"memory://{uuid.uuid4().hex}"
    for name, content in {"part": table.slice(40, 40), "whole": table}.items():
        with fs.open(f"{root}/lake/{name}.parquet", "wb") as out:
            pq.write_table(content, out)
    edges = [("part.parquet", "whole.parquet")]
    run = scanned(f"{root}/lake", tmp_path / "run", edges, CHEAP)
    assert deleted(plan_lake(run)) == {"part.parquet": "whole.parquet"}
    for trash in (None, f"{root}/trash"):
        assert apply_plan(run, trash)["moved"] == ["part.parquet"]
        assert not fs.exists(f"{root}/lake/part.parquet")
        assert restore(run)["restored"] == ["part.parquet"]
        assert fs.exists(f"{root}/lake/part.parquet")
        scanned(f"{root}/lake", tmp_path / "run", edges, CHEAP)
        plan_lake(run)
    fs.rm(root, recursive=True)


def test_a_lake_without_containments_loses_nothing(lake: Path, tmp_path: Path) -> None:
    run = scanned(str(lake), tmp_path / "run", [], CHEAP)
    planned = plan_lake(run)
    assert (planned["tables"], planned["deleted"], planned["plan"]) == (5, 0, [])
    assert dry_run(run) == []
    assert apply_plan(run)["moved"] == []


def test_a_run_without_scan_or_plan_says_what_to_do(run: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="winnow lake plan"):
        apply_plan(run)
    with pytest.raises(RunError, match="winnow lake scan"):
        plan_lake(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="only settings of `plan`"):
        plan_lake(run, ["semantics=bag"])


def test_the_commands(run: str, lake: Path, capsys: Any) -> None:
    def says(*arguments: str) -> str:
        assert main(["lake", *arguments]) == 0
        return str(capsys.readouterr().out)

    assert "4 of 5 tables can go" in says("plan", run)
    assert len(json.loads(says("plan", run, "--json"))["plan"]) == 5
    assert says("apply", run, "--dry-run").count("\nmv ") == 4
    assert "4 tables moved" in says("apply", run)
    assert json.loads(says("restore", run, "--json"))["kept"] == []
    assert main(["lake", "restore", run, "nothing"]) == 2
    assert "not in the trash" in capsys.readouterr().err


@pytest.mark.parametrize(
    "events", [2, 5, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 8))]
)
def test_a_killed_apply_is_completed_or_undone(
    events: int, run: str, lake: Path, tmp_path: Path
) -> None:
    before = contents(lake)
    plan_lake(run)
    arguments = [sys.executable, "-m", "winnow", "lake", "apply", run]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as process:
        journal = Path(run) / "applied.jsonl"
        while process.poll() is None and _lines(journal) < events:
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
    there, gone = contents(lake), contents(tmp_path / "run" / "trash")
    assert {**there, **gone} == before
    assert not set(there) & set(gone)
    done = apply_plan(run)
    assert len({*done["moved"], *done["before"]}) == 4
    assert set(contents(lake)) == {"copy.parquet"}
    restore(run)
    assert contents(lake) == before


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_copies_that_hold_the_same_bits_are_proven_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    table = pa.table({"n": range(500), "x": [0.0, *(i / 7 for i in range(1, 500))]})
    minus = pa.array([-0.0, *table["x"].to_pylist()[1:]])
    files = {
        f"{codec}{size}": (table, codec, size)
        for codec in ("none", "snappy", "gzip", "zstd")
        for size in (100, 500)
    }
    # Equal by value, but in another order, or in other bits.
    files["turned"] = table.sort_by([("n", "descending")]), "none", 500
    files["signed"] = table.set_column(1, "x", minus), "none", 500
    for name, (rows, codec, size) in files.items():
        pq.write_table(
            rows, lake / f"{name}.parquet", compression=codec, row_group_size=size
        )
    asked = []

    def difference(tables: Any, child: int, parent: int, *rest: Any) -> str | None:
        if tables.reader.tables[parent].name == "none500.parquet":
            asked.append(tables.reader.tables[child].name.removesuffix(".parquet"))
        return replayed.difference(tables, child, parent, *rest)

    monkeypatch.setattr("winnow.lake.plan.difference", difference)
    edges = [(f"{c}.parquet", f"{p}.parquet") for c, p in permutations(files, 2)]
    settings = [*CHEAP, "plan.protected=[none500.parquet]"]
    planned = plan_lake(scanned(str(lake), tmp_path / "run", edges, settings))
    gone = {
        row["table"].removesuffix(".parquet"): row
        for row in planned["plan"]
        if row["action"] == "delete"
    }
    assert len(set(asked) - {"turned", "signed"}) == 1
    assert {"signed", "turned"} <= set(asked)
    assert "signed" not in gone
    assert gone.keys() - {"turned"} == files.keys() - {"none500", "turned", "signed"}
    for name, row in gone.items():
        back = duckdb.sql(row["rebuild_sql"]).to_arrow_table()
        assert back.to_pydict() == files[name][0].to_pydict()
