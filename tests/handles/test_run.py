"""A run, opened in Python: its rows against its files, its shares, its markup."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import winnow as library
from winnow import Run
from winnow.core.errors import ConfigError, QueryError, RunError

STEPS = ["exact", "embed", "cluster", "semantic", "score", "apply"]
HOSTILE = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory,
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    make_picture: Callable[..., bytes],
    winnow: Callable[..., Any],
) -> Any:
    """Return a run over 600 rows in three shards, of which some captions are markup."""
    folder = tmp_path_factory.mktemp("handles")
    table = planted_table(600)
    pictures = pa.array([make_picture(i % 40) + bytes([i % 251]) for i in range(600)])
    captions = [HOSTILE if i % 3 else text for i, text in enumerate(table["text"])]
    captions = [c if isinstance(c, str) else c.as_py() for c in captions]
    table = table.set_column(2, "image", pictures).set_column(
        1, "text", pa.array(captions)
    )
    # What ended a row must not hide a column of the input that is called so.
    table = table.append_column("score", pa.array(range(600)))
    pool = write_shards(folder / "pool", table, shard_rows=250)
    return winnow(pool, folder / "run", STEPS)


@pytest.fixture(scope="module")
def run(finished: Any) -> Run:
    return Run(finished.path)


def test_kept_rows_are_those_of_the_output(finished: Any, run: Run):
    written = finished.output()
    kept = run.kept().arrow()
    assert kept.select(written.column_names).equals(written.combine_chunks())
    assert len(run.kept()) == len(written) == finished.result.kept
    assert run.kept([]).column_names == ["uid"]
    assert run.kept(["text"]).arrow().equals(kept.select(["uid", "text"]))


def test_scores_stand_beside_kept_rows(finished: Any, run: Run):
    scores = {uid: row["score"] for uid, row in finished.ledger("score").items()}
    for row in run.kept(["text"], scores=True):
        assert row["winnow_score"] == scores[row["uid"]]


def test_dropped_rows_say_what_ended_them(finished: Any, run: Run):
    rows = {row["uid"]: row for row in run.dropped(["score"])}
    expected = {
        (uid, step): decision
        for step in ("exact", "semantic", "score")
        for uid, decision in finished.ledger(step).items()
        if not decision["keep"]
    }
    assert {(row["uid"], row["step"]) for row in rows.values()} == set(expected)
    assert len(run.dropped()) == finished.result.dropped == len(rows)
    for (uid, _), decision in expected.items():
        for name in ("reason", "score", "threshold", "kept_twin"):
            assert rows[uid][name] == decision[name]
    assert all(isinstance(row["input_score"], int) for row in rows.values())


def test_every_row_has_one_fate(finished: Any, run: Run):
    fates = run.fates().polars()
    counts = dict(fates["fate"].value_counts().iter_rows())
    assert counts == {"kept": finished.result.kept, "dropped": finished.result.dropped}
    assert fates["uid"].n_unique() == finished.result.rows


def test_the_ledger_is_that_on_disk(finished: Any, run: Run):
    told = run.ledger("semantic").polars().sort("uid")
    written = pl.from_arrow(finished.ledger_table("semantic")).sort("uid")
    assert told.select(written.columns).equals(written)
    assert set(run.ledger()["step"].to_pylist()) == {"exact", "semantic", "score"}
    with pytest.raises(ConfigError, match="did you mean 'semantic'"):
        run.ledger("semantics")


def test_vectors_become_a_matrix(finished: Any, run: Run):
    stored = finished.artifact("embed", "vectors")
    expected = {row["uid"]: row["image_vector"] for row in stored.to_pylist()}
    vectors = run.vectors()
    matrix = vectors.numpy("image_vector")
    for uid, vector in zip(vectors["uid"].to_pylist(), matrix, strict=True):
        assert np.array_equal(vector, np.asarray(expected[uid], np.float32))
    with pytest.raises(ConfigError, match="no column 'image_vectors'"):
        vectors.numpy("image_vectors")


def test_rows_speak_arrow_to_other_libraries(run: Run):
    fates = run.fates()
    assert pl.DataFrame(fates).equals(fates.polars())
    assert pa.table(fates).equals(fates.arrow())
    assert fates.pandas()["uid"].tolist() == fates["uid"].to_pylist()


def test_a_query_reads_and_does_no_more(run: Run):
    assert run.query("SELECT 1 AS a").to_pylist() == [{"a": 1}]
    with pytest.raises(QueryError, match="not allowed"):
        run.query("CREATE TABLE t AS SELECT 1")
    with pytest.raises(QueryError, match="took longer"):
        run.query("SELECT count(*) FROM range(1000000000000)", seconds=0.2)


def test_shares_of_workers_hold_each_row_once(finished: Any, run: Run):
    from torch.utils.data import DataLoader

    kept = finished.output()["uid"].to_pylist()
    dataset = run.to_torch(["text"])
    assert [row["uid"] for row in dataset] == kept
    assert len(dataset) == len(kept)
    loader = DataLoader(dataset, batch_size=None, num_workers=2)
    assert sorted(row["uid"] for row in loader) == sorted(kept)


def test_a_row_drawn_several_times_is_trained_on_as_often(
    finished: Any, winnow: Callable[..., Any], tmp_path: Path
):
    drawn = winnow(
        finished.path.parent / "pool",
        tmp_path / "run",
        ["embed", "score", "soft_cap", "apply"],
        score={"keep_fraction": 1.0},
        soft_cap={"total_fraction": 0.5, "temperature": 0.05},
    )
    opened = Run(drawn.path)
    (folder,) = (drawn.path / "repeats").glob("*.parquet")
    counts = dict(pl.read_parquet(folder).iter_rows())
    told = [row["uid"] for row in opened.to_torch([])]
    assert {uid: told.count(uid) for uid in set(told)} == counts
    assert max(counts.values()) > 1
    assert len(opened.to_torch([])) == len(told) == opened.to_hf().num_rows
    assert len(opened.kept()) == len(counts)


def test_markup_of_data_is_escaped_in_notebooks(finished: Any, run: Run):
    uid = run.query("SELECT uid FROM samples WHERE text = ? LIMIT 1", [HOSTILE])["uid"]
    shown = [
        run._repr_html_(),
        run.kept()._repr_html_(),
        run.query("SELECT '<b>' AS \"<i>\"")._repr_html_(),
        run.explain(uid[0].as_py())._repr_html_(),
        run.samples(uid.to_pylist())._repr_html_(),
        finished.result._repr_html_(),
    ]
    for markup in shown:
        assert "<script>" not in markup
        assert "<b>" not in markup
        assert "<i>" not in markup
    assert "&lt;script&gt;" in shown[1]


def test_what_if_takes_sections_and_dotted_keys(run: Run):
    by_section = run.what_if(semantic={"epsilon": 0.3}, examples=0)
    by_key = run.what_if({"semantic.epsilon": 0.3}, examples=0)
    assert by_section == by_key
    assert by_section["ran"] == ["semantic", "score"]
    with pytest.raises(ConfigError, match="name a setting"):
        run.what_if()


def test_a_run_travels_to_another_process_by_its_path(run: Run):
    again = pickle.loads(pickle.dumps(run))
    assert again.path == run.path
    assert len(again.kept()) == len(run.kept())


def test_what_is_no_run_says_so(tmp_path: Path):
    with pytest.raises(RunError, match="holds no run"):
        library.open(tmp_path)
    with pytest.raises(RunError, match="holds no scan of a lake"):
        library.open_lake(tmp_path)


def test_a_closed_run_answers_again(finished: Any):
    with Run(finished.path) as opened:
        assert len(opened.fates()) == 600
        database = opened._sql()
        scratch = database.scratch
    assert not scratch.exists()
    assert len(opened.fates()) == 600
