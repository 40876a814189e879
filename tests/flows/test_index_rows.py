"""What an index takes for the same row: name, text, and where it came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from winnow.core.errors import InputError
from winnow.flows.near_index import add, ask, build, describe

Winnow = Callable[..., Any]
Write = Callable[..., Path]


def texts(rows: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{n}" for n in rng.integers(0, 10**6, 40)) for _ in range(rows)]


def month(
    write: Write, folder: Path, seed: int, *, named: bool, rows: int = 60
) -> Path:
    """A pool whose shard is called as every month's, and whose uids start again."""
    columns: dict[str, Any] = {"text": texts(rows, seed)}
    if named:
        columns["uid"] = [f"doc-{i}" for i in range(rows)]
    return write(folder, pa.table(columns))


def decided(winnow: Winnow, pool: Path, out: Path, named: bool, **minhash: Any) -> Any:
    columns = {"uid": "uid" if named else None, "image": None, "text": "text"}
    return winnow(
        pool,
        out,
        ["minhash", "apply"],
        input={"path": str(pool), "columns": columns},
        minhash=minhash,
    )


@pytest.mark.parametrize("named", [False, True])
def test_two_months_whose_rows_are_called_alike_are_two_months(
    named: bool, tmp_path: Path, write_shards: Write
):
    months = [month(write_shards, tmp_path / f"m{i}", i, named=named) for i in (1, 2)]
    index = tmp_path / "i"
    build(str(months[0]), index)
    counts = add(index, [str(months[1])])
    assert (counts["added"], counts["already_there"], counts["rows"]) == (60, 0, 120)
    assert counts["same_name_other_text"] == (60 if named else 0)
    again = add(index, [str(months[1])])
    assert (again["added"], again["already_there"], again["rows"]) == (0, 60, 120)
    # Of what is there already, nothing is noted.
    sources = [a["sources"] for a in describe(index)["additions"]]
    assert sources == [[str(months[0])], [str(months[1])]]
    assert [a["rows"] for a in describe(index)["additions"]] == [60, 60]
    nearest = ask(index, text=texts(60, 2)[7])
    assert [(row["jaccard"], row["source"]) for row in nearest] == [
        (1.0, str(months[1]))
    ]


def test_another_text_of_a_name_may_be_refused(tmp_path: Path, write_shards: Write):
    one, two = (month(write_shards, tmp_path / f"m{i}", i, named=True) for i in (1, 2))
    build(str(one), tmp_path / "i")
    with pytest.raises(InputError, match="'doc-0' names another text"):
        add(tmp_path / "i", [str(two)], same_name="error")
    add(tmp_path / "i", [str(two)])
    with pytest.raises(InputError, match="2 rows with different texts"):
        ask(tmp_path / "i", uid="doc-3")


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("from_run", [False, True])
def test_a_pool_against_its_own_index_loses_nothing_and_another_month_what_it_repeats(
    winnow: Winnow, tmp_path: Path, write_shards: Write, named: bool, from_run: bool
):
    one = month(write_shards, tmp_path / "m1", 1, named=named)
    index = str(tmp_path / "i")
    first = decided(winnow, one, tmp_path / "r1", named)
    build(str(tmp_path / "r1") if from_run else str(one), index)
    again = decided(winnow, one, tmp_path / "again", named, index=index)
    assert again.kept("minhash") == first.kept("minhash")
    assert len(again.kept("minhash")) == 60
    # The next month has twenty texts of this one, and its shard is called alike.
    table = {"text": texts(60, 1)[:20] + texts(40, 2)}
    if named:
        table["uid"] = [f"doc-{i + 20}" for i in range(60)]
    two = write_shards(tmp_path / "m2", pa.table(table))
    run = decided(winnow, two, tmp_path / "r2", named, index=index)
    dropped = [row for row in run.ledger("minhash").values() if not row["keep"]]
    assert len(dropped) == 20
    assert {row["reason"] for row in dropped} == {"near_duplicate_in_index"}
    assert {row["score"] for row in dropped} == {1.0}


def test_a_run_and_an_index_give_rows_without_uid_the_same_name(
    winnow: Winnow, tmp_path: Path, write_shards: Write
):
    pool = month(write_shards, tmp_path / "m", 1, named=False)
    build(str(pool), tmp_path / "i")
    run = decided(winnow, pool, tmp_path / "r", False)
    (near,) = ask(tmp_path / "i", text=texts(60, 1)[0])
    assert near["uid"] in run.kept("minhash")


def test_a_rewritten_text_is_told_from_an_equal_one(
    winnow: Winnow, tmp_path: Path, write_shards: Write
):
    one = " ".join(texts(1, 5))
    pool = write_shards(
        tmp_path / "p",
        pa.table({"uid": ["a", "b", "c"], "text": [one, one, one.upper()]}),
    )
    run = decided(winnow, pool, tmp_path / "r", True, normalise=["case"])
    reasons = {uid: row["reason"] for uid, row in run.ledger("minhash").items()}
    assert reasons == {
        "a": "unique",
        "b": "near_duplicate_text",
        "c": "equal_after_normalisation",
    }
    index = str(tmp_path / "i")
    build(str(tmp_path / "r"), index)
    later = write_shards(
        tmp_path / "q", pa.table({"uid": ["x", "y"], "text": [one, one.upper()]})
    )
    run = decided(winnow, later, tmp_path / "s", True, normalise=["case"], index=index)
    reasons = {uid: row["reason"] for uid, row in run.ledger("minhash").items()}
    assert reasons == {
        "x": "near_duplicate_in_index",
        "y": "equal_in_index_after_normalisation",
    }


def test_rows_that_cannot_enter_are_counted(tmp_path: Path, write_shards: Write):
    table = pa.table({"uid": ["a", None, "c"], "text": ["one two", "three", None]})
    counts = build(str(write_shards(tmp_path / "p", table)), tmp_path / "i")
    assert (counts["added"], counts["without_text"], counts["unusable"]) == (1, 1, 1)
