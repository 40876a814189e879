"""Every row of the pool is named once, whatever its shards look like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from winnow.core.errors import InputError
from winnow.core.hashing import keys

Winnow = Callable[..., Any]
Write = Callable[..., Path]

ONLY_TEXT = {"columns": {"image": None}}


def index(winnow: Winnow, pool: Path, out: Path, **input_: Any) -> Any:
    settings = {"path": str(pool), **ONLY_TEXT, **input_}
    return winnow(pool, out, ["random"], random={"keep_fraction": 1.0}, input=settings)


def names(run: Any) -> dict[str, tuple[str, int]]:
    rows = run.artifact("index", "samples").to_pylist()
    return {row["uid"]: (row["source"], row["row"]) for row in rows}


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["b", "a"]), ["b", "a"]),
        (pa.array(["b", "a"], pa.large_string()), ["b", "a"]),
        (pa.array(["b", "a"]).dictionary_encode(), ["b", "a"]),
        (pa.array([7, -3], pa.int32()), ["7", "-3"]),
        (pa.array([2**64 - 1, 0], pa.uint64()), ["18446744073709551615", "0"]),
        (pa.array([b"\x00\xff", b"a"], pa.binary()), ["00ff", "61"]),
        (pa.array([b"\x00\xff", b"ab"], pa.binary(2)), ["00ff", "6162"]),
    ],
    ids=["string", "large_string", "dictionary", "int32", "uint64", "binary", "fixed"],
)
def test_uids_of_any_type_become_strings(
    winnow: Winnow,
    write_shards: Write,
    tmp_path: Path,
    column: pa.Array,
    expected: list,
):
    table = pa.table({"uid": column, "text": ["x", "y"]})
    run = index(winnow, write_shards(tmp_path / "pool", table), tmp_path / "run")
    assert names(run) == {
        uid: ("00000.parquet", row) for row, uid in enumerate(expected)
    }
    stored = run.artifact("index", "samples").to_pylist()
    assert [row["key"] for row in stored] == keys(sorted(expected)).tolist()


@pytest.mark.parametrize("kind", [pa.float64(), pa.bool_(), pa.list_(pa.int8())])
def test_a_column_that_is_no_uid_says_what_to_do(
    winnow: Winnow, write_shards: Write, tmp_path: Path, kind: pa.DataType
):
    table = pa.table({"uid": pa.nulls(2, kind), "text": ["x", "y"]})
    with pytest.raises(InputError, match=r"input\.columns\.uid.*'uid'.*null"):
        index(winnow, write_shards(tmp_path / "pool", table), tmp_path / "run")


def test_a_missing_uid_column_names_the_nearest_and_the_content_hash(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    table = pa.table({"uuid": ["a"], "text": ["x"]})
    with pytest.raises(InputError, match=r"no column 'uid'.*'uuid'.*Set it to null"):
        index(winnow, write_shards(tmp_path / "pool", table), tmp_path / "run")


def test_content_hashes_follow_the_sample_not_its_place(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    table = pa.table(
        {
            "text": [f"caption {i}" for i in range(60)] + [None, ""],
            "image": [None if i == 9 else bytes([i]) for i in range(62)],
            "other": list(range(62)),
        }
    )
    order = np.random.default_rng(0).permutation(62)
    settings = {"columns": {"uid": None, "image": "image"}}
    listed = []
    for name, rows, size in (("a", np.arange(62), 20), ("b", order, 7)):
        pool = write_shards(tmp_path / name, table.take(rows), size, 3)
        run = index(winnow, pool, tmp_path / f"run-{name}", **settings)
        places = names(run)
        shards = {f.name: i for i, f in enumerate(sorted(pool.iterdir()))}
        other = table["other"].take(rows).to_pylist()
        listed.append(
            {uid: other[shards[s] * size + row] for uid, (s, row) in places.items()}
        )
    assert listed[0] == listed[1]
    assert len(listed[0]) == 62


def test_without_uid_copies_reach_exact_which_keeps_one_of_each(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    texts = [*"abaab", None, None]
    table = pa.table({"text": texts, "other": range(len(texts))})
    listed = []
    for name, order, size in (("a", range(7), 2), ("b", [6, 3, 1, 5, 4, 0, 2], 3)):
        run = winnow(
            write_shards(tmp_path / name, table.take(pa.array(order)), size),
            tmp_path / f"run-{name}",
            ["exact", "apply"],
            exact={"by": ["caption"]},
            input={"columns": {"uid": None, "image": None}},
        )
        assert (run.result.quarantined, run.result.dropped) == (0, 3)
        assert len(names(run)) == 7
        # Equal content has one name whatever its place; a copy has one of its own.
        listed.append((run.ledger("exact"), sorted(run.output()["other"].to_pylist())))
    assert listed[0] == listed[1]
    kept = table.take(pa.array(listed[0][1]))["text"].to_pylist()
    assert sorted(kept, key=str) == [None, None, "a", "b"]


def test_rows_without_a_uid_are_quarantined_with_their_content(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    table = pa.table({"uid": ["a", None, "", "b"], "text": list("wxyz")})
    run = index(winnow, write_shards(tmp_path / "pool", table), tmp_path / "run")
    assert set(names(run)) == {"a", "b"}
    rows = run.quarantine()
    assert [(row["row"], row["reason"], row["step"]) for row in rows] == [
        (1, "uid_missing", "index"),
        (2, "uid_missing", "index"),
    ]
    assert [row["raw"]["text"] for row in rows] == ["x", "y"]
    assert run.result.quarantined == 2


def test_a_uid_that_is_not_utf8_is_quarantined(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    raw = pa.array([b"fine", b"\xff\xfe"], pa.binary())
    uid = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    table = pa.table({"uid": uid, "text": ["x", "y"]})
    run = index(winnow, write_shards(tmp_path / "pool", table), tmp_path / "run")
    assert set(names(run)) == {"fine"}
    assert run.result.quarantined == 1


def duplicated(seed: int) -> pa.Table:
    """Uid 'd' three times with two contents, 'e' twice with one, and others."""
    rows = [("d", "one", 1), ("d", "two", 2), ("d", "two", 3), ("e", "x", 4)]
    rows += [("e", "x", 4), *((f"u{i}", f"text {i}", i) for i in range(9))]
    order = np.random.default_rng(seed).permutation(len(rows))
    uid, text, other = zip(*[rows[i] for i in order], strict=True)
    return pa.table({"uid": uid, "text": text, "other": other})


@pytest.mark.parametrize("modalities", [{"image": None}, {"image": "absent"}, {}])
def test_which_row_of_a_uid_stays_depends_on_content_alone(
    winnow: Winnow, write_shards: Write, tmp_path: Path, modalities: dict
):
    kept = set()
    for seed, size in enumerate((3, 5, 100)):
        table = duplicated(seed)
        pool = write_shards(tmp_path / f"p{seed}", table, size, 2)
        run = winnow(
            pool,
            tmp_path / f"r{seed}",
            ["apply"],
            input={"path": str(pool), "columns": modalities},
        )
        assert (run.result.kept, run.result.quarantined) == (11, 3)
        assert {row["reason"] for row in run.quarantine()} == {
            "duplicate_uid: d",
            "duplicate_uid: e",
        }
        kept.add(tuple(sorted(map(str, run.output().to_pylist()))))
    assert len(kept) == 1


def test_duplicate_uids_without_any_modality(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    table = pa.table({"uid": ["a", "a", "b"]})
    settings = {"columns": {"image": None, "text": None}}
    pool = write_shards(tmp_path / "p", table)
    run = winnow(pool, tmp_path / "r", ["apply"], input={"path": str(pool), **settings})
    assert (run.result.kept, run.result.quarantined) == (2, 1)


def test_duplicate_uids_may_be_an_error(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    pool = write_shards(tmp_path / "p", duplicated(0))
    with pytest.raises(InputError, match=r"uid '[de]' stands in several rows"):
        index(winnow, pool, tmp_path / "r", on_duplicate_uid="error")


def test_a_pool_without_rows_is_a_pool(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    table = pa.table(
        {"uid": pa.array([], pa.string()), "text": pa.array([], pa.string())}
    )
    pool = write_shards(tmp_path / "p", table)
    run = winnow(pool, tmp_path / "r", ["rules", "apply"])
    assert (run.result.rows, run.result.kept) == (0, 0)
    assert run.output().schema == table.schema
