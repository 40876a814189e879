"""The command `query`: a run or a scan in SQL, within limits of time and memory.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from winnow.cli.numbers import above_zero, natural
from winnow.cli.output import PlainOut, show
from winnow.core.errors import ConfigError
from winnow.core.outputs import require_file
from winnow.core.words import number_of

if TYPE_CHECKING:
    from winnow.pages.database import ViewDatabase

Commands = Any

_SECONDS = 300.0
#: Rows of a table on the terminal, unless told otherwise.
_TABLE_ROWS = 1_000
#: Seconds in which a query that is interrupted has to end.
_GRACE = 1.0
_DATA_BYTES = 4 * 2**30


def add_commands(commands: Commands) -> None:
    """Register the command of this file."""
    query = commands.add_parser(
        "query", help="ask a run in SQL; without SQL, at a prompt"
    )
    query.add_argument("run", metavar="RUN", help="folder of a run, or of a lake scan")
    query.add_argument("sql", metavar="SQL", nargs="?", help="a SELECT; - reads stdin")
    query.add_argument("--named", metavar="NAME", help="a query that comes with Winnow")
    query.add_argument("--column", metavar="NAME", help="input column of a named query")
    query.add_argument(
        "--list", action="store_true", help="list the named queries and the views"
    )
    query.add_argument(
        "--format", choices=("table", "csv", "json", "parquet"), help="(table)"
    )
    query.add_argument("--json", action="store_true", help="like --format json")
    query.add_argument("--out", metavar="FILE", help="write there; sets the format too")
    query.add_argument(
        "--limit",
        type=natural,
        metavar="N",
        help=f"at most so many rows (tables: {_TABLE_ROWS:,}, others: all)",
    )
    query.add_argument(
        "--seconds",
        type=above_zero,
        default=_SECONDS,
        metavar="S",
        help="time limit (300)",
    )
    query.set_defaults(command=_query)


def _query(parsed: argparse.Namespace) -> None:
    from winnow.api import open_database

    kind = _format(parsed)
    with open_database(parsed.run, seconds=parsed.seconds or None) as database:
        if parsed.list:
            for name, query in database.named.items():
                show(f"{name:<26} {query.about}")
            show("\nviews, for SQL of your own:")
            for line in view_lines(database):
                show(line)
            return
        if parsed.named and parsed.sql:
            raise ConfigError("give SQL or --named, not both")
        sql = parsed.sql
        if parsed.named:
            sql = database.named_sql(parsed.named, parsed.column)
        elif sql == "-" or (sql is None and not sys.stdin.isatty()):
            sql = sys.stdin.read()
            if not sql.strip():
                raise ConfigError("standard input holds no SQL; give a SELECT")
        if sql is not None:
            _answer(database, sql, parsed, kind)
            return
        from winnow.cli.query_prompt import ask_until_done

        def answer(text: str) -> None:
            _answer(database, text, parsed, kind)

        ask_until_done(database, answer, print)


def view_lines(database: ViewDatabase) -> list[str]:
    """Return a line for each view: its name, its columns and their types."""
    return [
        f"{name}: " + ", ".join(f"{column} {kind}" for column, kind in columns)
        for name, columns in database.views.items()
    ]


def _format(parsed: argparse.Namespace) -> str:
    """Return the format that is asked for, by name or by the file's ending."""
    kind: str | None = parsed.format or ("json" if parsed.json else None)
    if kind is None and parsed.out:
        ending = Path(parsed.out).suffix.removeprefix(".")
        if ending not in ("csv", "json", "parquet"):
            raise ConfigError(
                f"--out {parsed.out}: name it .csv, .json or .parquet, or say which "
                "with --format"
            )
        kind = ending
    if kind == "parquet" and not parsed.out:
        raise ConfigError("--format parquet: name a file with --out")
    if parsed.out:
        require_file(parsed.out, "--out")
    return kind or "table"


def _answer(
    database: ViewDatabase, sql: str, parsed: argparse.Namespace, kind: str
) -> None:
    from winnow.reports.rows_out import TEXT, write_file

    limit = parsed.limit
    if limit is None and kind == "table" and not parsed.out:
        limit = _TABLE_ROWS
    with _bounded(database):
        rows = database.stream(sql, max_rows=limit)
        if parsed.out:
            written = write_file(rows, Path(parsed.out), kind)
            print(f"{number_of(written, 'row')} in {parsed.out}", file=sys.stderr)
        else:
            out = PlainOut(sys.stdout) if sys.stdout.isatty() else sys.stdout
            TEXT[kind](rows, cast("TextIO", out))
    if rows.cut:
        print(
            f"(cut at {number_of(limit or 0, 'row')}; --limit N shows more)",
            file=sys.stderr,
        )


@contextmanager
def _bounded(database: ViewDatabase) -> Iterator[None]:
    """Bound what the engine itself cannot: one call that runs on, or takes memory.

    A single function call over a single value is not interrupted, and its memory is
    not counted by the engine. This process is the query's alone, so it may be ended.
    """
    from winnow.core.operating_system import data_limit

    done, seconds = threading.Event(), database.seconds

    def end() -> None:
        if not done.wait((seconds or 0) + _GRACE):
            print(
                f"winnow: the query took longer than {seconds:g} s and was ended",
                file=sys.stderr,
                flush=True,
            )
            shutil.rmtree(database.scratch, ignore_errors=True)
            os._exit(2)

    if seconds is not None:
        threading.Thread(target=end, daemon=True).start()
    with data_limit(_DATA_BYTES):
        try:
            yield
        finally:
            done.set()
