"""Shards that differ, and columns of every Arrow type that people have."""

from __future__ import annotations

import decimal
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow as api
from winnow.core.errors import InputError


def run(pool: Path, out: Path, **more: Any) -> Any:
    recipe = {
        "input": {"path": str(pool), **more},
        "output": {"path": str(out), "report": False},
        "steps": ["exact", "apply"],
        "exact": {"by": ["caption"]},
    }
    return api.run(recipe)


def shards(folder: Path, *tables: pa.Table) -> Path:
    folder.mkdir(parents=True)
    for number, table in enumerate(tables):
        pq.write_table(table, folder / f"{number}.parquet")
    return folder


def differing(folder: Path) -> Path:
    return shards(
        folder,
        pa.table(
            {"uid": pa.array([1, 2], pa.int32()), "text": ["a", "b"], "n": [1, 2]}
        ),
        pa.table(
            {
                "uid": pa.array([3, 4], pa.int64()),
                "text": pa.array(["a", "d"], pa.large_string()),
                "n": pa.nulls(2),
            }
        ),
        pa.table({"text": ["e"], "uid": pa.array([5], pa.int16()), "more": [0.5]}),
    )


def test_shards_that_differ_are_refused_or_promoted(tmp_path: Path):
    pool = differing(tmp_path / "p")
    with pytest.raises(InputError, match=r"1\.parquet: .*input\.schema=promote"):
        run(pool, tmp_path / "strict")
    result = run(pool, tmp_path / "run", schema="promote")
    assert (result.rows, result.kept, result.dropped) == (5, 4, 1)
    kept = pq.read_table(tmp_path / "run" / "kept").sort_by("uid").to_pylist()
    assert kept == [
        {"uid": 1, "text": "a", "n": 1, "more": None},
        {"uid": 2, "text": "b", "n": 2, "more": None},
        {"uid": 4, "text": "d", "n": None, "more": None},
        {"uid": 5, "text": "e", "n": None, "more": 0.5},
    ]
    rows = result.run.query("SELECT uid, n, more FROM samples ORDER BY uid").to_pylist()
    assert rows[0] == {"uid": "1", "n": 1, "more": None}
    assert rows[4] == {"uid": "5", "n": None, "more": 0.5}
    assert result.run.kept(["n"]).to_pylist()[3] == {"uid": "5", "n": None}


def test_types_that_no_type_holds_are_refused_by_name(tmp_path: Path):
    pool = shards(
        tmp_path / "p",
        pa.table({"uid": ["a"], "text": ["a"], "n": [1]}),
        pa.table({"uid": ["b"], "text": ["a"], "n": ["x"]}),
    )
    with pytest.raises(InputError, match=r"1\.parquet: n is string, not int64"):
        run(pool, tmp_path / "run", schema="promote")


UUIDS = [uuid.UUID(int=i << 90 | 7) for i in (1, 2, 3)]
NAMES = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(NAMES, pa.string_view()), NAMES),
        (pa.array([b"a", b"b", b"c"], pa.binary_view()), ["61", "62", "63"]),
        (pa.array([b"a", b"b", b"c"], pa.large_binary()), ["61", "62", "63"]),
        (pa.array([u.bytes for u in UUIDS], pa.uuid()), list(map(str, UUIDS))),
        (
            pa.array([decimal.Decimal(f"{i}.50") for i in (1, 20, 300)]),
            ["1.50", "20.50", "300.50"],
        ),
        (
            pa.array([decimal.Decimal(2**70 + i) for i in (1, 2, 3)]),
            [str(2**70 + i) for i in (1, 2, 3)],
        ),
        (pa.array([b"ab", b"cd", b"ef"], pa.binary(2)), ["6162", "6364", "6566"]),
        (pa.array([b"x", b"y", b"z"]).dictionary_encode(), ["78", "79", "7a"]),
        (pa.array(NAMES, pa.large_string()), NAMES),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_every_type_of_uid_is_one_name_in_runs_and_in_sql(
    tmp_path: Path, column: pa.Array, expected: list[str]
):
    texts = pa.array(["one", "one", "two"], pa.string_view())
    views = pa.array([b"1", b"2", b"3"], pa.binary_view())
    table = pa.table({"uid": column, "text": texts, "blob": views})
    result = run(shards(tmp_path / "p", table), tmp_path / "run")
    assert (result.kept, result.quarantined) == (2, 0)
    kept = {min(expected[:2]), expected[2]}
    assert set(result.run.kept()["uid"].to_pylist()) == kept
    sql = result.run.query("SELECT uid FROM samples ORDER BY uid").to_pylist()
    assert [row["uid"] for row in sql] == sorted(expected)
    fates = "SELECT count(*) AS n FROM samples JOIN fates USING (uid)"
    assert result.run.query(fates).to_pylist() == [{"n": 3}]
    out = pq.read_table(tmp_path / "run" / "kept")
    expected_rows = [
        row
        for row, name in zip(table.to_pylist(), expected, strict=True)
        if name in kept
    ]
    assert out.to_pylist() == expected_rows


LISTS = [["b", "aa"], [None, "b"], [], None, ["bb", "ü", "aa"]]


@pytest.mark.parametrize(
    ("rule", "captions"),
    [
        ("first", ["b", "b", None, None, "bb"]),
        ("all", ["b\naa", "b", None, None, "bb\nü\naa"]),
        ("longest", ["aa", "b", None, None, "bb"]),
    ],
)
@pytest.mark.parametrize(
    "kind", [pa.list_(pa.string()), pa.large_list(pa.large_string())]
)
def test_a_list_of_captions_is_read_as_one(
    tmp_path: Path, rule: str, captions: list[str | None], kind: pa.DataType
):
    table = pa.table({"uid": [*"abcde"], "text": pa.array(LISTS, kind)})
    result = run(shards(tmp_path / "p", table), tmp_path / "run", captions=rule)
    given: dict[str | None, str] = {}
    for uid, caption in zip("abcde", captions, strict=True):
        given.setdefault(caption if caption is not None else uid, uid)
    kept = result.run.kept()
    assert sorted(kept["uid"].to_pylist()) == sorted(given.values())
    texts = dict(zip("abcde", captions, strict=True))
    assert {r["uid"]: r["text"] for r in kept} == {u: texts[u] for u in given.values()}
    rows = result.run.query("SELECT text FROM samples ORDER BY uid").to_pylist()
    assert [row["text"] for row in rows] == captions
    # Handed on as they were.
    out = pq.read_table(tmp_path / "run" / "kept")
    assert out.schema.field("text").type == kind
