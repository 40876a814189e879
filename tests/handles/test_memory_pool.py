"""Pools in memory are decided as the same pools on disk, and come back in kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import winnow as api
from winnow.core.errors import ConfigError, InputError, RunError

datasets = pytest.importorskip("datasets")

STEPS = ["exact", "rules", "embed", "cluster", "semantic", "score", "apply"]


def as_datasets(table: pa.Table) -> Any:
    return datasets.Dataset(table)


KINDS: dict[str, Callable[[pa.Table], Any]] = {
    "arrow": lambda table: table,
    "stream": lambda table: table.to_reader(max_chunksize=7),
    "polars": lambda table: pl.DataFrame(pl.from_arrow(table)),
    "lazy": lambda table: pl.DataFrame(pl.from_arrow(table)).lazy(),
    "pandas": lambda table: table.to_pandas(),
    "rows": lambda table: table.to_pylist(),
    "datasets": as_datasets,
    # Of a data set that was shuffled or cut, the rows that it shows.
    "selected": lambda table: as_datasets(table).select(range(len(table) - 1, -1, -1)),
}


@pytest.fixture(scope="module")
def table(planted_table: Callable[..., pa.Table]) -> pa.Table:
    return planted_table(80)


@pytest.fixture(scope="module")
def on_disk(
    table: pa.Table,
    write_shards: Callable[..., Path],
    winnow: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    folder = tmp_path_factory.mktemp("disk")
    return winnow(write_shards(folder / "pool", table), folder / "run", STEPS)


def plain(rows: Any) -> list[dict[str, Any]]:
    """Return kept rows of any kind as dictionaries, vectors as lists."""
    if isinstance(rows, pl.DataFrame):
        return rows.to_dicts()
    if isinstance(rows, pd.DataFrame):
        rows = pa.Table.from_pandas(rows, preserve_index=False)
    return rows.to_pylist() if isinstance(rows, pa.Table) else list(rows)


QUICK = ("polars", "pandas", "selected")


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=() if k in QUICK else pytest.mark.slow) for k in KINDS],
)
def test_a_pool_in_memory_is_decided_like_the_same_pool_on_disk(
    kind: str,
    table: pa.Table,
    on_disk: Any,
    vector_recipe: Callable[..., dict[str, Any]],
    read_run: Callable[..., Any],
    tmp_path: Path,
):
    pool = KINDS[kind](table)
    recipe = vector_recipe("unused", tmp_path / "run", STEPS)
    result = api.run(recipe, {"input.path": pool})
    run = read_run(tmp_path / "run", result)
    for step in STEPS[:2] + STEPS[4:6]:
        assert run.ledger(step) == on_disk.ledger(step), step
    kept = result.run.kept_in_kind()
    given = {"stream": "arrow", "lazy": "polars", "selected": "datasets"}.get(
        kind, kind
    )
    assert type(kept) is type(KINDS[given](table))
    expected = [r for r in table.to_pylist() if r["uid"] in on_disk.kept("score")]
    rows = plain(kept)
    assert [r["uid"] for r in sorted(rows, key=lambda r: r["uid"])] == sorted(
        r["uid"] for r in expected
    )
    if kind == "selected":
        rows.reverse()
    assert rows == expected
    if kind == "pandas":
        assert kept.index.tolist() == [
            i for i, u in enumerate(table["uid"].to_pylist()) if u in set(kept["uid"])
        ]
    # The run is known again by what it was made of.
    if kind != "stream":
        assert api.run(recipe, {"input.path": pool}).ran == []


SMALL: dict[str, Any] = {
    "steps": ["exact", "apply"],
    "exact": {"by": ["caption"]},
}


def small(pool: Any, out: Path, **more: Any) -> Any:
    output = {"path": str(out), "report": False}
    return api.run({"input": {"path": pool}, "output": output, **SMALL}, **more)


ROWS = [
    {"uid": "b", "text": "one"},
    {"uid": "a", "text": "one", "tag": None},
    {"uid": "c", "text": "two", "tag": "x"},
]


def test_rows_may_lack_keys_and_a_run_elsewhere_knows_the_pool(tmp_path: Path):
    result = small(ROWS, tmp_path / "run")
    assert result.run.kept_in_kind() == [
        {"uid": "a", "text": "one", "tag": None},
        {"uid": "c", "text": "two", "tag": "x"},
    ]
    other = small(ROWS, tmp_path / "other", from_runs=[tmp_path / "run"])
    assert other.ran == []


def test_a_run_that_is_moved_takes_its_pool_along(tmp_path: Path):
    small(ROWS, tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    kept = api.open(tmp_path / "moved").kept(["text"]).to_pylist()
    assert kept == [{"uid": "a", "text": "one"}, {"uid": "c", "text": "two"}]


def test_another_pool_is_refused_and_leaves_nothing(tmp_path: Path):
    small(ROWS, tmp_path / "run")
    with pytest.raises(RunError, match="another input"):
        small(ROWS[:2], tmp_path / "run")
    assert len(list((tmp_path / "run" / ".pool").iterdir())) == 1
    assert small(ROWS[:2], tmp_path / "run", replace=True).rows == 2
    assert len(list((tmp_path / "run" / ".pool").iterdir())) == 1


@pytest.mark.parametrize(
    ("pool", "error", "said"),
    [
        (7, ConfigError, "a int is no pool"),
        ([{"uid": "a"}, 3], InputError, r"pool\[1\] is a int"),
        ([{"uid": "a", "text": 1}, {"uid": "b", "text": "x"}], InputError, "'text'"),
        (
            datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS[2:])}),
            ConfigError,
            r"give pool\['train'\]",
        ),
    ],
    ids=["number", "mixed", "types", "splits"],
)
def test_what_is_no_pool_says_so(
    pool: Any, error: type[Exception], said: str, tmp_path: Path
):
    with pytest.raises(error, match=said):
        small(pool, tmp_path / "run")


def test_a_pool_of_files_has_no_kind_in_memory(on_disk: Any):
    with pytest.raises(ConfigError, match="kept/ holds the rows as files"):
        api.open(on_disk.path).kept_in_kind()


def test_features_of_a_data_set_stay(tmp_path: Path):
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["n", "y"]),
        }
    )
    given = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features)
    recipe = {
        "input": {"path": given, "columns": {"uid": None, "image": None}},
        "output": {"path": str(tmp_path / "run"), "report": False},
        **SMALL,
    }
    kept = api.run(recipe).run.kept_in_kind()
    assert kept.features == features
    assert kept[:] == given[:]


@pytest.mark.slow
def test_a_frame_of_spark_is_run_on_its_session_and_written_to_a_table(
    spark: Any, tmp_path: Path
):
    frame = spark.createDataFrame(
        [("b", "one"), ("a", "one"), ("c", "two")], "uid string, text string"
    )
    frame.write.mode("overwrite").saveAsTable("winnow_given")
    try:
        result = small(spark.table("winnow_given"), tmp_path / "run")
        result.run.kept_in_kind(spark).write.mode("overwrite").saveAsTable(
            "winnow_kept"
        )
        kept = spark.table("winnow_kept")
        assert kept.columns == ["uid", "text"]
        assert sorted(map(tuple, kept.collect())) == [("a", "one"), ("c", "two")]
    finally:
        for name in ("winnow_given", "winnow_kept"):
            spark.sql(f"DROP TABLE IF EXISTS {name}")
