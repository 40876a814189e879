"""A run's database reads the run and nothing else, and stops at its limits.

Every attack is tried on `RunDatabase` and must end in an error; whatever a layer lets
through, no file may have appeared and none of the secret may have come back.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from winnow.core.errors import QueryError, RunError
from winnow.pages.closed_sql import ClosedSql, closed_connection
from winnow.reports.database import RunDatabase

STEPS = ["exact", "embed", "cluster", "semantic", "apply"]


@pytest.fixture(scope="module")
def run(
    winnow: Callable[..., Any],
    planted_pool: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    path: Path = winnow(
        planted_pool, tmp_path_factory.mktemp("run") / "run", STEPS
    ).path
    return path


@pytest.fixture
def database(run: Path) -> Iterator[RunDatabase]:
    with RunDatabase(run, seconds=20) as opened:
        yield opened


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a folder with a secret in each format that DuckDB reads."""
    (tmp_path / "secret.csv").write_text("a,b\nhunter2,1\n")
    (tmp_path / "secret.json").write_text('{"a": "hunter2"}\n')
    pq.write_table(pa.table({"a": ["hunter2"]}), tmp_path / "secret.parquet")
    with duckdb.connect(str(tmp_path / "secret.db")) as connection:
        connection.execute("CREATE TABLE secret AS SELECT 'hunter2' AS a")
    return tmp_path


READS = [
    "SELECT * FROM read_csv('{0}/secret.csv')",
    "SELECT * FROM '{0}/secret.csv'",
    'SELECT * FROM "{0}/secret.parquet"',
    "SELECT * FROM read_parquet(['{0}/secret.parquet'])",
    "SELECT * FROM parquet_metadata('{0}/secret.parquet')",
    "SELECT * FROM read_json('{0}/secret.json')",
    "SELECT * FROM read_text('{0}/secret.csv')",
    "SELECT * FROM read_blob('{0}/*')",
    "SELECT * FROM glob('{0}/*')",
    "SELECT * FROM sniff_csv('{0}/secret.csv')",
    "SELECT * FROM read_duckdb('{0}/secret.db', table_name = 'secret')",
    "SELECT * FROM read_csv('/etc/passwd', sep = ':')",
    "SELECT * FROM read_text('/proc/self/environ')",
    "SELECT (SELECT max(a) FROM read_csv('{0}/secret.csv')) FROM samples",
    "SELECT * FROM samples WHERE text IN (FROM read_csv('{0}/secret.csv'))",
    "WITH x AS (FROM read_csv('{0}/secret.csv')) FROM x",
    "FROM query('FROM read_csv(''{0}/secret.csv'')')",
    "FROM query_table('{0}/secret.parquet')",
    "FROM json_execute_serialized_sql(json_serialize_sql("
    "'FROM read_csv(''{0}/secret.csv'')'))",
    "PRAGMA json_execute_serialized_sql(json_serialize_sql("
    "'FROM read_csv(''{0}/secret.csv'')'))",
    "EXPLAIN ANALYZE SELECT * FROM read_csv('{0}/secret.csv')",
    "DESCRIBE FROM read_csv('{0}/secret.csv')",
    "SUMMARIZE FROM read_csv('{0}/secret.csv')",
    "SELECT * FROM read_csv('https://example.org/x.csv')",
    "SELECT * FROM 's3://bucket/x.parquet'",
    "SELECT getenv('HOME')",
    "SELECT current_setting('temp_directory')",
    "FROM duckdb_settings()",
    "FROM pg_settings",
    "SELECT * FROM pg_catalog.pg_settings",
    'SELECT * FROM "PG_SETTINGS"',
    "SELECT * FROM duckdb_databases",
    "SELECT * FROM information_schema.tables",
    "SELECT (SELECT max(setting) FROM pg_settings) FROM samples",
    "DESCRIBE pg_settings",
    "WITH x AS (FROM sqlite_master) FROM x",
    "FROM duckdb_secrets()",
    "FROM pragma_database_size()",
    "FROM pandas_scan(0)",
    "FROM arrow_scan(0, 0, 0)",
    "FROM python_map_function((SELECT 1))",
]
WRITES = [
    "COPY (SELECT 1) TO '{0}/new.csv'",
    "COPY samples TO '{0}/new.parquet'",
    "WITH x AS (COPY (SELECT 1) TO '{0}/new.csv') FROM x",
    "SELECT * FROM (WITH x AS (COPY (SELECT 1) TO '{0}/new.csv') FROM x)",
    "EXPLAIN ANALYZE WITH x AS (COPY (SELECT 1) TO '{0}/new.csv') FROM x",
    "EXPORT DATABASE '{0}/new'",
    "ATTACH '{0}/new.db'",
    "ATTACH '{0}/secret.db' AS s; SELECT * FROM s.secret",
    "CREATE TABLE t AS SELECT 1",
    "CREATE TEMP TABLE t AS SELECT 1",
    "CREATE OR REPLACE VIEW ledger AS SELECT 1",
    "CREATE MACRO f() AS 1",
    "DROP VIEW ledger",
    "WITH x AS (INSERT INTO samples VALUES (1) RETURNING *) FROM x",
    "WITH x AS (DELETE FROM samples RETURNING *) FROM x",
    "INSERT INTO ledger VALUES (1)",
    "UPDATE ledger SET keep = true",
    "FROM enable_logging(storage = 'file', storage_path = '{0}/new')",
    "FROM enable_profiling(save_location = '{0}/new')",
    "SELECT write_log('x')",
    "PRAGMA enable_profiling",
    "CHECKPOINT",
    "VACUUM",
    "CALL checkpoint()",
]
CHANGES = [
    "INSTALL httpfs",
    "FORCE INSTALL httpfs FROM 'http://example.org'",
    "LOAD httpfs",
    "LOAD '{0}/x.duckdb_extension'",
    "SET memory_limit = '100GB'",
    "SET enable_external_access = true",
    "SET allowed_directories = ['/']",
    "RESET lock_configuration",
    "SET VARIABLE x = 1",
    "CREATE SECRET s (TYPE s3)",
    "PRAGMA disable_optimizer",
    "USE memory",
    "PREPARE p AS SELECT 1",
    "BEGIN TRANSACTION",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW ledger",
    "",
    "-- nothing",
    "no SQL at all",
]


@pytest.mark.parametrize("attack", READS + WRITES + CHANGES)
def test_an_attack_is_refused(
    attack: str, database: RunDatabase, outside: Path
) -> None:
    before = sorted(os.listdir(outside))

    with pytest.raises(QueryError) as refused:
        database.query(attack.format(outside))

    assert "hunter2" not in str(refused.value)
    assert sorted(os.listdir(outside)) == before
    assert database.query("SELECT count(*) AS n FROM ledger")["n"][0].as_py() > 0


@pytest.mark.parametrize(
    "attack",
    [a for a in READS + WRITES if "{0}" in a and "pragma" not in a.lower()],
)
def test_the_engine_itself_is_closed(attack: str, outside: Path) -> None:
    """Without the check of the statement, files still cannot be read or written."""
    (outside / "one.parquet").write_bytes((outside / "secret.parquet").read_bytes())
    closed = ClosedSql(["CREATE VIEW samples AS SELECT 1 AS text"], [])
    before = sorted(os.listdir(outside))

    try:
        rows = list(closed.stream(attack.format(outside), (), 20))
    except QueryError:
        rows = []
    closed.close()

    assert "hunter2" not in str([batch.to_pylist() for batch in rows])
    assert sorted(os.listdir(outside)) == before


def test_a_copy_into_the_scratch_folder_is_refused(database: RunDatabase) -> None:
    """The one folder that the engine may write to is no target for a query."""
    scratch = database._sql.scratch
    before = set(os.listdir(scratch))

    with pytest.raises(QueryError, match="COPY"):
        database.query(f"WITH x AS (COPY (SELECT 1) TO '{scratch}/x.csv') FROM x")

    assert set(os.listdir(scratch)) == before


def test_a_link_out_of_the_run_is_not_opened(
    winnow: Callable[..., Any], planted_pool: Path, tmp_path: Path, outside: Path
) -> None:
    run = winnow(planted_pool, tmp_path / "run", ["exact", "apply"]).path
    (part,) = (run / "ledger" / "step=exact").glob("*.parquet")
    part.unlink()
    part.symlink_to(outside / "secret.parquet")

    with pytest.raises(RunError, match="link out of the run"):
        RunDatabase(run)


@pytest.mark.parametrize(
    "endless",
    [
        "SELECT count(*) FROM range(100000000000) a, range(100000000000) b",
        "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r) "
        "SELECT max(a) FROM r",
        "SELECT a.uid FROM samples a, samples b, samples c, samples d, samples e "
        "ORDER BY hash(a.uid, e.uid) LIMIT 1",
    ],
)
def test_a_query_that_does_not_end_is_stopped(run: Path, endless: str) -> None:
    with (
        RunDatabase(run, seconds=0.5) as database,
        pytest.raises(QueryError, match=r"longer than 0.5 s"),
    ):
        database.query(endless)


def test_a_query_is_stopped_while_its_rows_are_read(run: Path) -> None:
    def read_slowly(database: RunDatabase) -> None:
        for _ in database.stream("SELECT * FROM range(100000000000)"):
            time.sleep(0.01)

    with (
        RunDatabase(run, seconds=0.5) as database,
        pytest.raises(QueryError, match="longer"),
    ):
        read_slowly(database)


def test_no_time_at_all_is_too_short_rather_than_endless(run: Path) -> None:
    with (
        RunDatabase(run, seconds=0) as database,
        pytest.raises(QueryError, match="longer"),
    ):
        database.query("SELECT count(*) FROM range(100000000000) a, range(1000000) b")


def test_memory_is_bounded(run: Path) -> None:
    with (
        RunDatabase(run, seconds=30, memory_mb=100) as database,
        pytest.raises(QueryError, match=r"(?i)memory"),
    ):
        database.query("SELECT list(range) FROM range(100000000)")


def _setting(database: RunDatabase, name: str) -> Any:
    asked = "SELECT current_setting(?)"
    return database._sql._connection.execute(asked, [name]).fetchone()[0]


@pytest.mark.parametrize(("memory_mb", "threads"), [(64, 1), (192, 1), (512, 4)])
def test_more_cores_take_no_more_memory(
    run: Path, monkeypatch: pytest.MonkeyPatch, memory_mb: int, threads: int
) -> None:
    monkeypatch.setattr("winnow.pages.closed_sql.available_cores", lambda: 64)
    with RunDatabase(run, memory_mb=memory_mb) as database:
        assert _setting(database, "threads") == threads


def test_no_more_threads_than_cores(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("winnow.pages.closed_sql.available_cores", lambda: 2)
    with RunDatabase(run, memory_mb=4096) as database:
        assert _setting(database, "threads") == 2


def test_files_of_this_machine_are_not_kept_in_memory(tmp_path: Path) -> None:
    asked = "SELECT current_setting('enable_external_file_cache')"
    remote = [MemoryFileSystem()]
    for filesystems, kept in ((), False), (remote, True):
        connection = closed_connection([], tmp_path, filesystems=filesystems)
        with contextlib.closing(connection):
            assert connection.execute(asked).fetchone() == (kept,)


def test_a_sort_larger_than_memory_spills_and_leaves_nothing(run: Path) -> None:
    with RunDatabase(run, seconds=60, memory_mb=64) as database:
        scratch = database._sql.scratch
        rows = database.query(
            "SELECT range AS a, md5(range::VARCHAR) AS b FROM range(1500000) "
            "ORDER BY b LIMIT 1 OFFSET 1499999"
        )
        assert rows["b"][0].as_py().startswith("ffff")
    assert not scratch.exists()


def test_more_rows_than_allowed_are_refused_or_cut(run: Path) -> None:
    with RunDatabase(run, max_rows=10) as database:
        assert len(database.query("SELECT * FROM range(10)")) == 10
        with pytest.raises(QueryError, match="more than 10 rows"):
            database.query("SELECT * FROM range(11)")

        rows = database.stream("SELECT * FROM range(1000000000)")
        assert sum(len(batch) for batch in rows) == 10
        assert rows.cut
        rows = database.stream("SELECT * FROM range(10)", max_rows=3)
        assert [len(batch) for batch in rows] == [3]
        assert rows.cut


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT 1", 1),
        ("WITH a AS (SELECT 1) SELECT * FROM a", 1),
        ("FROM range(3)", 3),
        ("VALUES (1), (2)", 2),
        ("SELECT 1 UNION ALL SELECT 2", 2),
        ("EXPLAIN SELECT * FROM ledger", 1),
        ("DESCRIBE ledger", 8),
        ("SUMMARIZE steps", 9),
        ("SHOW TABLES", 13),
        ("SELECT unnest([1, 2])", 2),
        ("/* copy */ SELECT 'COPY x TO y; DROP TABLE z'", 1),
        ("SELECT 1;", 1),
    ],
)
def test_reading_is_allowed(sql: str, rows: int, database: RunDatabase) -> None:
    assert len(database.query(sql)) == rows


def test_parameters_are_values(database: RunDatabase) -> None:
    text = "'; DROP VIEW ledger; --"
    rows = database.query("SELECT ? AS a, ? + 1 AS b", [text, 41])
    assert rows.to_pylist() == [{"a": text, "b": 42}]


def test_threads_may_ask_at_once(database: RunDatabase) -> None:
    answers: list[int] = []

    def ask(number: int) -> None:
        for _ in range(5):
            rows = database.query("SELECT count(*) + ? AS n FROM ledger", [number])
            answers.append(rows["n"][0].as_py() - number)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 1
    assert len(answers) == 30


def test_pivot_says_how_it_can_be_asked(database: RunDatabase):
    with pytest.raises(QueryError, match=r"PIVOT .* IN "):
        database.query("PIVOT samples ON text USING count(*)")
    asked = "PIVOT ledger ON keep IN (true, false) USING count(*) GROUP BY step"
    assert len(database.query(asked)) > 0


@pytest.mark.parametrize("text", ["(" * 5000, "SELECT " + "(" * 900 + "1" + ")" * 900])
def test_a_nested_query_is_an_answer_or_an_error(database: RunDatabase, text: str):
    with contextlib.suppress(QueryError):
        database.query(text)


@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("gaps", [1, 2048])
def test_a_value_is_not_null_where_all_others_are(
    tmp_path: Path, dictionary: bool, gaps: int
) -> None:
    """DuckDB 2.0.0 took one text, or one repeated, for null among nulls."""
    values = [None] * gaps + ["one"] * (2049 - gaps)
    file = tmp_path / "values.parquet"
    pq.write_table(pa.table({"value": values}), file, use_dictionary=dictionary)
    counts = "SELECT count(*) FROM read_parquet(?) WHERE value IS "
    with duckdb.connect() as connection:
        told = [
            connection.execute(f"{counts}{what}", [str(file)]).fetchone()
            for what in ("NULL", "NOT NULL")
        ]
    assert told == [(gaps,), (2049 - gaps,)]
