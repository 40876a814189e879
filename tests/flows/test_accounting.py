"""Every row is accounted for: ledger, quarantine, statistics, kept shards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import parquet_footers

Winnow = Callable[..., Any]
Write = Callable[..., Path]

EVERYTHING = [
    "exact",
    "rules",
    "embed",
    "cluster",
    "semantic",
    "score",
    "cluster",
    "prototypes",
    "complexity",
    "uniform",
    "random",
    "apply",
]

LEDGER = pa.schema(
    [
        ("uid", pa.string()),
        ("keep", pa.bool_()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("threshold", pa.float64()),
        ("kept_twin", pa.string()),
    ]
)


@pytest.fixture(scope="module")
def spoilt_pool(
    tmp_path_factory: pytest.TempPathFactory,
    planted_table: Callable[..., pa.Table],
    write_shards: Write,
) -> Path:
    """The planted pool with null uids, repeated uids and faulty vectors."""
    rows = planted_table().to_pylist()
    for number in (3, 70, 199):
        rows[number]["uid"] = None
    for number in (5, 111):
        rows[number]["uid"] = rows[50]["uid"]
    for number in (10, 20, 30, 150):  # unique, so that they get as far as embed
        rows[number] |= {"text": f"caption {number}", "image": bytes([number])}
        rows[number]["iv"] = None if number != 20 else rows[number]["iv"]
    rows[20]["tv"] = [0.0] * 16
    schema = planted_table().schema
    return write_shards(
        tmp_path_factory.mktemp("spoilt"), pa.Table.from_pylist(rows, schema)
    )


@pytest.fixture(scope="module")
def run(
    winnow: Winnow, spoilt_pool: Path, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    out = tmp_path_factory.mktemp("everything") / "run"
    settings = {"exact": {"by": ["image_bytes", "caption"]}}
    return winnow(spoilt_pool, out, EVERYTHING, **settings)


def test_rows_in_are_kept_dropped_or_quarantined_at_every_step(run: Any):
    rows = pq.ParquetFile(run.path / "steps.parquet").read().to_pylist()
    assert [row["step"] for row in rows] == [
        "index",
        *EVERYTHING[:6],
        "cluster_2",
        *EVERYTHING[7:],
    ]
    entering = 200
    for row in rows:
        assert row["rows_in"] == entering
        assert row["rows_in"] == row["kept"] + row["dropped"] + row["quarantined"]
        assert row["seconds"] >= 0
        assert row["peak_rss_mb"] > 1
        entering = row["kept"]
    result = run.result
    assert (result.rows, result.kept) == (200, entering)
    assert result.kept + result.dropped + result.quarantined == 200
    assert result.quarantined == 9
    assert result.kept > 0


def test_every_row_has_one_fate(run: Any, spoilt_pool: Path):
    dropped: list[str] = []
    for step in run.path.glob("ledger/step=*"):
        ledger = run.ledger(step.name.removeprefix("step="))
        dropped += [uid for uid, row in ledger.items() if not row["keep"]]
    assert len(dropped) == len(set(dropped)) == run.result.dropped
    kept = run.output()["uid"].to_pylist()
    assert len(kept) == len(set(kept)) == run.result.kept
    places = {(row["source"], row["row"]) for row in run.quarantine()}
    assert len(places) == 9
    named = run.artifact("index", "samples").to_pylist()
    survived = {
        row["uid"] for row in named if (row["source"], row["row"]) not in places
    }
    assert set(kept) | set(dropped) == survived
    assert not set(kept) & set(dropped)


def test_quarantined_rows_come_with_reason_and_content(run: Any, spoilt_pool: Path):
    shards = {
        f.name: pq.ParquetFile(f).read().to_pylist() for f in spoilt_pool.iterdir()
    }
    rows = run.quarantine()
    reasons = sorted(row["reason"].split(":")[0] for row in rows)
    assert reasons == sorted(
        ["uid_missing"] * 3
        + ["duplicate_uid"] * 2
        + ["vector_missing"] * 3
        + ["vector_zero"]
    )
    for row in rows:
        assert row["raw"] == shards[row["source"]][row["row"]]
        assert row["step"] in ("index", "embed")


def test_the_ledger_is_a_dataset_of_the_promised_columns(run: Any):
    import pyarrow.dataset as ds

    for part in (run.path / "ledger").glob("step=*"):
        for file in part.glob("*.parquet"):
            schema = pq.ParquetFile(file).schema_arrow
            assert schema.names == LEDGER.names
            assert schema.types == LEDGER.types
    whole = ds.dataset(run.path / "ledger", partitioning="hive")
    assert whole.schema.names == [*LEDGER.names, "step"]
    assert whole.schema.field("step").type == pa.string()
    decided = {m.step for m in run.result.steps if m.decides}
    assert set(whole.to_table()["step"].unique().to_pylist()) == decided


def test_statistics_have_the_promised_columns(run: Any):
    schema = pq.ParquetFile(run.path / "steps.parquet").schema_arrow
    assert schema == pa.schema(
        [
            ("step", pa.string()),
            ("rows_in", pa.int64()),
            ("kept", pa.int64()),
            ("dropped", pa.int64()),
            ("quarantined", pa.int64()),
            ("seconds", pa.float64()),
            ("peak_rss_mb", pa.float64()),
        ]
    )


def test_kept_rows_equal_the_input_column_by_column(run: Any, spoilt_pool: Path):
    files = sorted(spoilt_pool.iterdir())
    source = pa.concat_tables([pq.ParquetFile(file).read() for file in files])
    kept = run.output()
    assert kept.schema.equals(source.schema, check_metadata=True)
    wanted = set(kept["uid"].to_pylist())
    rejected = {(row["source"], row["row"]) for row in run.quarantine()}
    places = [(f.name, i) for f in files for i in range(pq.read_metadata(f).num_rows)]
    rows = [
        number
        for number, (uid, place) in enumerate(
            zip(source["uid"].to_pylist(), places, strict=True)
        )
        if uid in wanted and place not in rejected
    ]
    assert kept.equals(source.take(rows))


def test_the_subset_names_the_kept_rows(run: Any):
    subset = np.load(run.path / "subset.npy")
    uids = [f"{high:016x}{low:016x}" for high, low in subset.tolist()]
    assert uids == sorted(run.output()["uid"].to_pylist())


def test_the_manifest_says_what_made_the_run(run: Any):
    manifest = json.loads((run.path / "manifest.json").read_text())
    assert manifest["seed"] == 0
    assert {"pyarrow", "polars", "faiss-cpu", "numpy"} <= set(manifest["versions"])
    assert manifest["input"]["rows"] == 200
    assert sum(shard["rows"] for shard in manifest["input"]["shards"]) == 200
    assert manifest["steps"]["cluster"]["training_rows"] > 0
    assert set(manifest["steps"]) == {marker.step for marker in run.result.steps}


def test_no_scratch_is_left_behind(run: Any):
    names = {entry.name for entry in run.path.iterdir()}
    assert names == {
        ".lock",
        "artifacts",
        "config.lock.yaml",
        "kept",
        "ledger",
        "manifest.json",
        "quarantine",
        "steps.parquet",
        "subset.npy",
        "winnow.log",
    }
    assert not list(run.path.rglob("*.tmp"))


def test_uids_that_are_not_hexadecimal_make_no_subset(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    table = pa.table({"uid": ["a", "b"], "text": ["x", "y"]})
    pool = write_shards(tmp_path / "p", table)
    run = winnow(pool, tmp_path / "r", ["apply"])
    assert len(run.output()) == 2
    assert not (run.path / "subset.npy").exists()


@pytest.mark.parametrize("first", ["random", "rules", "score"])
def test_when_all_is_dropped_the_run_still_finishes(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, first: str
):
    steps = ["embed", first, *EVERYTHING[1:]]
    nothing = {
        "random": {"random": {"keep_fraction": 0.0}},
        "rules": {"rules": {"min_words": 99}},
        "score": {"score": {"keep_fraction": None, "threshold": 2.0}},
    }[first]
    run = winnow(planted_pool, tmp_path / "r", steps, **nothing)
    assert (run.result.kept, run.result.dropped) == (0, 200)
    source = pq.ParquetFile(planted_pool / "00000.parquet").schema_arrow
    assert len(run.output()) == 0
    assert run.output().schema == source
    assert len(np.load(run.path / "subset.npy")) == 0
    again = winnow(planted_pool, tmp_path / "r", steps, **nothing)
    assert again.result.ran == []


@pytest.mark.parametrize("rows", [[], [0, 3, 0]], ids=["no row", "some empty shards"])
def test_empty_shards(
    winnow: Winnow,
    planted_table: Callable[..., pa.Table],
    tmp_path: Path,
    rows: list[int],
):
    pool = tmp_path / "p"
    pool.mkdir()
    table = planted_table(9)
    for number, count in enumerate(rows or [0]):
        pq.write_table(table.slice(0, count), pool / f"{number}.parquet")
    run = winnow(pool, tmp_path / "r", EVERYTHING)
    assert run.result.rows == sum(rows)
    assert run.output().schema == table.schema


def damage(file: Path, group: int, column: int) -> None:
    """Change every byte of one column's pages in one row group."""
    chunk = pq.ParquetFile(file).metadata.row_group(group).column(column)
    data = bytearray(file.read_bytes())
    start, end = chunk.data_page_offset, chunk.total_compressed_size
    data[start : start + end] = bytes(b ^ 0x5A for b in data[start : start + end])
    file.write_bytes(data)


@pytest.fixture
def damaged_column(tmp_path: Path) -> tuple[Path, pa.Table]:
    """Return a pool whose column `more` is damaged in rows 20 to 29 of 40."""
    table = pa.table(
        {
            "uid": [f"{i:032x}" for i in range(40)],
            "text": [f"caption number {i} " * 5 for i in range(40)],
            "more": [f"{i} more " * 5 for i in range(40)],
        }
    )
    file = tmp_path / "p" / "a.parquet"
    file.parent.mkdir()
    pq.write_table(table, file, row_group_size=10, use_dictionary=False)
    damage(file, 2, 2)
    return file.parent, table


def require_quarantined(run: Any, table: pa.Table) -> None:
    assert (run.result.kept, run.result.quarantined) == (30, 10)
    rows = run.quarantine()
    assert [row["row"] for row in rows] == list(range(20, 30))
    assert {row["step"] for row in rows} == {"apply"}
    assert all(row["reason"].startswith("unreadable_row_group: 2") for row in rows)
    expected = [i for i in range(40) if not 20 <= i < 30]
    assert run.output().equals(table.take(expected))
    assert np.load(run.path / "subset.npy")["f1"].tolist() == expected


def test_a_row_group_damaged_where_no_step_reads_costs_its_rows_only(
    winnow: Winnow, damaged_column: tuple[Path, pa.Table], tmp_path: Path
):
    pool, table = damaged_column
    run = winnow(pool, tmp_path / "r", ["rules", "apply"])
    require_quarantined(run, table)
    again = winnow(pool, tmp_path / "r", ["rules", "apply"])
    assert again.result.ran == []


@pytest.mark.slow
def test_a_row_group_damaged_where_no_step_reads_on_spark(
    winnow: Winnow, damaged_column: tuple[Path, pa.Table], tmp_path: Path
):
    pool, table = damaged_column
    spark = {"name": "spark", "partitions": 3}
    require_quarantined(
        winnow(pool, tmp_path / "r", ["rules", "apply"], engine=spark), table
    )


@pytest.fixture(params=["definition levels", "another type", "a cut bound"])
def damaged_footer(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a pool whose first shard's footer tells nonsense of rows 20 to 29."""
    pool = tmp_path / "p"
    pool.mkdir()
    for shard in range(2):
        numbers = range(shard * 40, shard * 40 + 40)
        uids = [f"{i:032x}" for i in numbers]
        texts = [f"caption number {i} " * 5 for i in numbers]
        table = pa.table({"uid": uids, "text": texts, "more": list(numbers)})
        pq.write_table(table, pool / f"{shard}.parquet", row_group_size=10)
    parquet_footers.damage(pool / "0.parquet", 2, 2, request.param)
    return pool


def require_the_rest(run: Any) -> None:
    assert (run.result.kept, run.result.quarantined) == (70, 10)
    rows = run.quarantine()
    assert [row["row"] for row in rows] == list(range(20, 30))
    assert all(row["reason"].startswith("unreadable_row_group: 2") for row in rows)
    kept = np.load(run.path / "subset.npy")["f1"].tolist()
    assert kept == [i for i in range(80) if not 20 <= i < 30]


def test_a_damaged_footer_costs_the_rows_of_its_row_group(
    winnow: Winnow, damaged_footer: Path, tmp_path: Path
):
    """Asked for such a column chunk, pyarrow ends the process."""
    require_the_rest(winnow(damaged_footer, tmp_path / "r", ["rules", "apply"]))


@pytest.mark.slow
def test_a_damaged_footer_on_spark(
    winnow: Winnow, damaged_footer: Path, tmp_path: Path
):
    spark = {"name": "spark", "partitions": 3}
    steps = ["rules", "apply"]
    require_the_rest(winnow(damaged_footer, tmp_path / "r", steps, engine=spark))


def test_a_damaged_row_group_costs_its_rows_only(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    table = pa.table(
        {
            "uid": [f"u{i:02d}" for i in range(40)],
            "text": [f"caption number {i} " * 5 for i in range(40)],
        }
    )
    pool = tmp_path / "p"
    pool.mkdir()
    file = pool / "a.parquet"
    pq.write_table(table, file, row_group_size=10, use_dictionary=False)
    damage(file, 2, 1)
    run = winnow(pool, tmp_path / "r", ["rules", "apply"])
    assert (run.result.kept, run.result.quarantined) == (30, 10)
    rows = run.quarantine()
    assert [row["row"] for row in rows] == list(range(20, 30))
    assert {row["uid"] for row in rows} == {f"u{i}" for i in range(20, 30)}
    assert all(row["reason"].startswith("unreadable_row_group: 2") for row in rows)
    assert all(row["raw"] is None for row in rows)
    expected = [i for i in range(40) if not 20 <= i < 30]
    assert run.output().equals(table.take(expected))
