"""Conditions of one row: DuckDB's own answer, and what looks beyond the row refused."""

from __future__ import annotations

import pickle

import duckdb
import pyarrow as pa
import pytest
from winnow.core.errors import QueryError
from winnow.pages.row_condition import RowCondition

ROWS = pa.table(
    {
        "width": [100, 200, None, 400],
        "text": ["a dog", "Cat", "dog", None],
        "two words": [1.5, float("nan"), -1.0, 0.0],
        "tags": [["x"], [], None, ["y", "x"]],
        "size": [{"w": 1}, {"w": 2}, {"w": 3}, None],
    }
)


@pytest.mark.parametrize(
    "sql",
    [
        "width >= 200",
        "width >= 200 AND text ILIKE '%dog%' OR \"two words\" < 0",
        "text IS NULL OR length(text) BETWEEN 3 AND 4",
        "list_contains(tags, 'x')",
        "len(list_filter(tags, lambda t: t = 'x')) = 1",
        "size.w % 2 = 1",
        "CASE WHEN width > 100 THEN text = 'Cat' ELSE true END -- a remark",
        "regexp_matches(text, '^[A-Z]')",
        "width + 1 > 100 - width",
        "TIMESTAMP '2024-02-03 01:00' AT TIME ZONE 'UTC' > TIMESTAMPTZ '2024-02-03'",
        "age(TIMESTAMP '2024-02-03', TIMESTAMP '2020-01-01') > INTERVAL 1 YEAR",
        "date_trunc('day', TIMESTAMP '2024-02-03 04:05') + INTERVAL 1 DAY "
        "= DATE '2024-02-04' AND year(DATE '2024-02-03') = 2024",
        "TRUE",
    ],
)
def test_it_answers_as_duckdb_does(sql: str):
    rows = ROWS
    expected = duckdb.sql(f"SELECT ({sql}\n) AS holds FROM rows").arrow()
    if not isinstance(expected, pa.Table):
        expected = expected.read_all()
    condition = pickle.loads(pickle.dumps(RowCondition.parse(sql)))
    condition.require_boolean(rows.schema)
    whole = condition.holds(rows.to_batches()[0]).to_pylist()
    assert whole == expected["holds"].to_pylist()
    alone = [condition.holds(b) for b in rows.to_batches(max_chunksize=1)]
    assert [value for part in alone for value in part.to_pylist()] == whole


@pytest.mark.parametrize(
    "sql",
    [
        "avg(width) > 3",
        "row_number() OVER () = 1",
        "width > (SELECT 3)",
        "EXISTS (FROM read_csv('/etc/passwd'))",
        "random() < 0.5",
        "now() > TIMESTAMP '2020-01-01'",
        "current_localtimestamp() > TIMESTAMP '2020-01-01'",
        "age(TIMESTAMP '2020-01-01') > INTERVAL 1 DAY",
        "current_setting('threads') > 1",
        "COLUMNS('w.*') > 1",
        "* > 1",
        "width > 1), (width > 2",
        "width > 1) FROM winnow_rows WHERE (width > 2",
        "width > 1; SELECT 1",
        "width >",
        "width > ?",
        "",
        "true) AS holds FROM winnow_rows ORDER BY (width",
        "unnest(tags) = 'x'",
    ],
)
def test_what_looks_beyond_the_row_is_refused(sql: str):
    with pytest.raises(QueryError):
        RowCondition.parse(sql)


def test_what_is_neither_true_nor_false_or_fails_is_told():
    with pytest.raises(QueryError, match="int"):
        RowCondition.parse("width + 1").require_boolean(ROWS.schema)
    cast = RowCondition.parse("CAST(text AS INTEGER) > 1")
    cast.require_boolean(ROWS.schema)
    with pytest.raises(QueryError, match="convert"):
        cast.holds(ROWS.to_batches()[0])
