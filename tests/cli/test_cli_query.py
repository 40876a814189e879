"""`winnow query`: formats, limits, named queries, the prompt on a real terminal."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.cli.main import main
from winnow.lake.named_queries import SCANS
from winnow.reports.named_queries import SAMPLES

STEPS = ["exact", "embed", "cluster", "semantic", "score", "cluster", "complexity"]
NASTY = '=1+1 \x1b[31mred\x07 "quoted", <b>\nline'


@pytest.fixture(scope="module")
def run(
    winnow: Callable[..., Any],
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    table = planted_table()
    texts = [NASTY, *table["text"].to_pylist()[1:]]
    column = table.schema.get_field_index("text")
    folder = tmp_path_factory.mktemp("query")
    pool = write_shards(folder / "pool", table.set_column(column, "text", [texts]))
    return winnow(pool, folder / "run", [*STEPS, "apply"])


@pytest.fixture
def query(
    run: Any, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = main(["query", str(run.path), *map(str, arguments)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def test_csv_holds_every_row_and_nested_values(query: Any, run: Any) -> None:
    code, out, _ = query("SELECT uid, text, image, extra FROM samples", "--format=csv")

    rows = {row["uid"]: row for row in csv.DictReader(io.StringIO(out))}
    assert code == 0
    assert len(rows) == 200
    # A spreadsheet would compute what begins with an equals sign.
    assert f"'{NASTY}" in {row["text"] for row in rows.values()}
    row = next(row for row in rows.values() if row["text"] == f"'{NASTY}")
    assert base64.b64decode(row["image"]) == b"picture 0"
    assert json.loads(row["extra"]) == {"n": 0, "tags": []}


def test_json_has_numbers_nulls_and_base64(query: Any) -> None:
    _, out, _ = query(
        "SELECT 'nan'::DOUBLE AS n, NULL AS z, 'ab'::BLOB AS b, sum(range) AS s, "
        "DATE '2024-02-29' AS d, [1, NULL] AS l FROM range(4)",
        "--format=json",
    )

    assert json.loads(out) == [
        {"n": None, "z": None, "b": "YWI=", "s": 6, "d": "2024-02-29", "l": [1, None]}
    ]


def test_json_without_rows_is_an_empty_list(query: Any) -> None:
    assert json.loads(query("SELECT 1 WHERE false", "--json")[1]) == []


def test_parquet_goes_to_a_file_with_its_types(query: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    code, out, error = query("SELECT uid, image FROM samples", "--out", file)

    table = pq.read_table(file)
    assert (code, out) == (0, "")
    assert "200 rows" in error
    assert table.schema.field("image").type == pa.binary()
    assert len(table) == 200
    assert os.listdir(tmp_path) == ["rows.parquet"]


def test_a_failed_query_leaves_no_file(query: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("before")
    sql = "SELECT CASE WHEN range > 9000 THEN error('stop') END FROM range(10000)"
    code, _, error = query(sql, "--out", tmp_path / "rows.csv")

    assert code == 2
    assert "stop" in error
    assert (tmp_path / "rows.csv").read_text() == "before"
    assert os.listdir(tmp_path) == ["rows.csv"]


def test_parquet_needs_a_file(query: Any) -> None:
    code, _, error = query("SELECT 1", "--format=parquet")
    assert code == 2
    assert "--out" in error


def test_a_table_shows_sizes_and_nothing_that_a_terminal_obeys(query: Any) -> None:
    _, out, _ = query("SELECT image, text FROM samples WHERE contains(text, '=1+1')")

    head, row = out.splitlines()
    assert head.split() == ["image", "text"]
    assert row.startswith("<9 bytes>  =1+1")
    assert "\x1b" not in out
    assert "\x07" not in out


def test_a_limit_cuts_and_says_so(query: Any) -> None:
    _, out, error = query("SELECT * FROM range(100)", "--limit=7", "--format=csv")
    assert out.splitlines() == ["range", *map(str, range(7))]
    assert "cut at 7 rows" in error

    _, out, error = query("SELECT * FROM range(7)", "--limit=7", "--format=csv")
    assert len(out.splitlines()) == 8
    assert error == ""


def test_a_table_is_cut_and_a_file_is_whole(query: Any, tmp_path: Path) -> None:
    _, out, error = query("SELECT * FROM range(5000)")
    assert len(out.splitlines()) == 1001
    assert "cut" in error
    query("SELECT * FROM range(5000)", "--out", tmp_path / "all.csv")
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 5001


def test_the_time_limit_ends_a_query(query: Any) -> None:
    code, _, error = query(
        "SELECT count(*) FROM range(10000000000) a, range(1000000) b", "--seconds=0.3"
    )
    assert code == 2
    assert "longer than 0.3 s" in error


def test_memory_that_the_engine_does_not_count_is_bounded(run: Any) -> None:
    """One value of 24 GB: refused, and the process lives to say so."""
    sql = "SELECT list_sum(range(3000000000))"
    command = [sys.executable, "-m", "winnow", "query", str(run.path), sql]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 2, done.stderr
    assert "Memory" in done.stderr


def test_the_list_names_every_query(query: Any) -> None:
    _, out, _ = query("--list")
    named, views = out.split("\n\n")
    assert [line.split()[0] for line in named.splitlines()] == list(SAMPLES)
    assert "fates: uid VARCHAR" in views


@pytest.mark.parametrize("name", list(SAMPLES))
def test_every_named_query_runs(query: Any, name: str) -> None:
    column = ["--column", "width"] if SAMPLES[name].column else []
    code, out, error = query("--named", name, *column, "--format=json")
    assert code == 0, error
    assert json.loads(out) or name == "quarantine-by-reason"


def test_survivors_are_those_of_the_run(query: Any, run: Any) -> None:
    _, out, _ = query("--named", "survivors", "--format=json")
    rows = [(r["step"], r["rows_in"], r["kept"]) for r in json.loads(out)]
    assert rows == [(m.step, m.rows_in, m.kept) for m in run.result.steps]


def test_repeated_captions_are_placed_in_the_ranking(query: Any, run: Any) -> None:
    _, out, _ = query("--named", "caption-groups", "--column", "width", "--format=json")
    (rows,) = json.loads(out)
    ledger = run.ledger("score")
    assert rows["caption"] == "#"
    assert rows["rows"] == len(ledger)
    assert rows["kept"] == len(run.kept("score"))
    assert rows["median_place"] == pytest.approx(0.5)


def test_the_largest_group_is_counted_right(query: Any, run: Any) -> None:
    _, out, _ = query("--named", "largest-duplicate-groups", "--format=json")
    ledger = [*run.ledger("exact").values(), *run.ledger("semantic").values()]
    twin = {row["uid"]: row["kept_twin"] for row in ledger if row["kept_twin"]}
    groups: dict[str, int] = {}
    for uid in twin:
        last = uid
        while last in twin:
            last = twin[last]
        groups[last] = groups.get(last, 1) + 1
    first = json.loads(out)[0]
    assert first["size"] == max(groups.values()) == groups[first["kept_twin"]]


def test_an_unknown_name_or_column_names_what_there_is(query: Any) -> None:
    assert "did you mean 'survivors'" in query("--named", "survivor")[2]
    code, _, error = query("--named", "keep-rate-by-category", "--column", "colour")
    assert code == 2
    assert "width" in error
    assert "takes no column" in query("--named", "fates", "--column", "width")[2]


def test_a_missing_view_names_those_there_are(query: Any) -> None:
    code, _, error = query("SELECT * FROM ledgers")
    assert code == 2
    assert "did you mean 'ledger'" in error
    assert "a run of samples has" in query("SELECT * FROM edges")[2]


def test_a_query_may_come_from_standard_input(run: Any) -> None:
    command = [sys.executable, "-m", "winnow", "query", str(run.path)]
    command += ["--format", "csv"]
    done = subprocess.run(
        command,
        input="SELECT 6 * 7 AS n;\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "n\n42\n"


def test_no_run_is_an_error(tmp_path: Path, capsys: Any) -> None:
    assert main(["query", str(tmp_path), "SELECT 1"]) == 1
    assert "holds no run" in capsys.readouterr().err


def write_lake(folder: Path) -> Path:
    """Write a scan of three tables in the files of issue 4."""
    from winnow.lake.kernels.tables import EDGES, PLAN, STAGES, TABLES

    def write(name: str, schema: pa.Schema, rows: list[dict[str, Any]]) -> None:
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / f"{name}.parquet")

    folder.mkdir()
    tables = [
        {"table": "a", "rows": 10, "bytes": 900},
        {"table": "b", "rows": 5, "bytes": 500},
        {"table": "c", "rows": 0, "bytes": 7, "reason": "invalid UTF-8"},
    ]
    edges = [
        {"child": "b", "parent": "a", "relation": "partial", "containment": 0.8,
         "stage": "content", "witness": '{"x": 1}'},
        {"child": "a", "parent": "b", "relation": "refuted", "stage": "sample"},
    ]  # fmt: skip
    plan = [{"table": "b", "action": "delete", "parent": "a", "bytes_saved": 500}]
    write("tables", TABLES, tables)
    write("edges", EDGES, edges)
    write("stages", STAGES, [{"stage": "schema", "edges_in": 6, "edges_out": 2}])
    write("plan", PLAN, plan)
    return folder


@pytest.mark.parametrize("name", list(SCANS))
def test_a_lake_has_its_own_views_and_queries(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = write_lake(tmp_path / "lake")
    assert main(["query", str(lake), "--named", name, "--format=json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == {"relations": 2}.get(name, 1)
    if name == "near-misses":
        assert rows[0]["witness"] == '{"x": 1}'


def test_a_lake_without_a_plan_says_how_to_make_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = write_lake(tmp_path / "lake")
    (lake / "plan.parquet").unlink()
    assert main(["query", str(lake), "SELECT * FROM plan"]) == 2
    assert "winnow lake plan" in capsys.readouterr().err


class Terminal:
    """A child process on a pseudo-terminal."""

    def __init__(self, command: list[str], home: Path) -> None:
        environment = {
            **os.environ,
            "XDG_STATE_HOME": str(home),
            "TERM": "xterm",
            "COLUMNS": "120",
            "PROMPT_TOOLKIT_NO_CPR": "1",
        }
        self.main, child = pty.openpty()
        self.process = subprocess.Popen(
            command, stdin=child, stdout=child, stderr=child, env=environment
        )
        os.close(child)
        self.seen = ""

    def send(self, text: str) -> None:
        os.write(self.main, text.encode())

    def expect(self, text: str, seconds: float = 60) -> None:
        """Read until `text` comes, and forget it and what came before it."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            left = end - time.monotonic()
            assert left > 0, f"no {text!r} in {self.seen[-2000:]!r}"
            if select.select([self.main], [], [], left)[0]:
                try:
                    self.seen += os.read(self.main, 65536).decode(errors="replace")
                except OSError:  # the child has closed its end
                    assert text in self.seen, self.seen[-2000:]
        self.seen = self.seen.partition(text)[2]

    def ends(self, seconds: float = 60) -> int:
        """Read to the end, since a full terminal holds its writer up."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            if select.select([self.main], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.main, 65536).decode(errors="replace")
                except OSError:
                    break
        return self.process.wait(10)


def test_the_prompt_completes_answers_and_remembers(run: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "winnow", "query", str(run.path)]
    terminal = Terminal(command, tmp_path)
    terminal.expect("winnow>")

    terminal.send("SELECT 6 * 7 AS answer;\r")
    terminal.expect("42\r")
    terminal.expect("winnow>")

    terminal.send("SELECT count(*) + 6 * 7 AS n FROM quar\t")
    terminal.expect("quarantine")
    terminal.send("\r")
    terminal.expect("...>")
    terminal.send("WHERE quarantine.rea\t")
    terminal.expect("son")
    terminal.send(" IS NULL;\r")
    terminal.expect("42\r")
    terminal.expect("winnow>")
    terminal.send("DROP VIEW ledger;\r")
    terminal.expect("DROP is not allowed")
    terminal.expect("winnow>")
    terminal.send(".views\r")
    terminal.expect("kept_twin VARCHAR")
    terminal.expect("winnow>")
    terminal.send(".run survivors\r")
    terminal.expect("cluster_2")
    terminal.expect("winnow>")
    terminal.send("\x04")
    assert terminal.ends() == 0

    history = tmp_path / "winnow" / "query_history"
    assert "SELECT 6 * 7 AS answer;" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0

    again = Terminal(command, tmp_path)
    again.expect("winnow>")
    again.send("\x1b[A")
    again.expect(".run survivors")
    again.send("\x03")
    again.expect("winnow>")
    again.send("help\r")
    again.expect("A query ends in a semicolon")
    again.expect("winnow>")
    again.send("quit\r")
    assert again.ends() == 0

    last = Terminal(command, tmp_path)
    last.expect("winnow>")
    last.send("exit\r")
    assert last.ends() == 0
