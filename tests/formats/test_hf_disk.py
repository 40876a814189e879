"""`save_to_disk` folders: read by reference, kept as folders that `datasets` loads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow as api
from winnow.core.errors import InputError
from winnow.formats.hf_disk import HfDiskFormat
from winnow.formats.shard_discovery import find_pool

datasets = pytest.importorskip("datasets")

COLUMNS = {"uid": "key", "image": "image", "text": "caption"}


def given_dataset(make_picture: Callable[..., bytes], rows: int = 12) -> Any:
    features = datasets.Features(
        {
            "key": datasets.Value("string"),
            "image": datasets.Image(),
            "mask": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog", "none"]),
            "caption": datasets.Value("string"),
        }
    )
    return datasets.Dataset.from_dict(
        {
            "key": [f"k{i:02d}" for i in range(rows)],
            "image": [{"bytes": make_picture(i), "path": None} for i in range(rows)],
            "mask": [
                {"bytes": make_picture(90 + i), "path": None} for i in range(rows)
            ],
            "label": [i % 3 for i in range(rows)],
            "caption": [f"caption {i // 2}" for i in range(rows)],
        },
        features=features,
    )


def plain(dataset: Any) -> list[dict[str, Any]]:
    for name in ("image", "mask"):
        dataset = dataset.cast_column(name, datasets.Image(decode=False))
    return list(dataset)


def run(pool: Path, out: Path, **more: Any) -> Any:
    recipe = {
        "input": {"path": str(pool), "columns": COLUMNS},
        "output": {"path": str(out), "report": False},
        "steps": ["exact", "apply"],
        "exact": {"by": ["caption", "image_pixels"]},
        **more,
    }
    return api.run(recipe)


def test_a_saved_data_set_is_kept_in_kind(
    make_picture: Callable[..., bytes], tmp_path: Path
):
    given = given_dataset(make_picture)
    given.save_to_disk(tmp_path / "saved", num_shards=3)
    result = run(tmp_path / "saved", tmp_path / "run")
    assert (result.rows, result.kept) == (12, 6)
    kept = datasets.load_from_disk(tmp_path / "run" / "kept")
    assert kept.features == given.features
    expected = given.select(range(0, 12, 2))
    assert plain(kept) == plain(expected)
    assert kept[0]["image"].size == given[0]["image"].size
    # SQL and exports read the same rows; and what is kept is a pool again.
    rows = result.run.query("SELECT label FROM samples ORDER BY uid").to_pylist()
    assert [row["label"] for row in rows] == given["label"][:]
    assert result.run.to_hf()["label"][:] == expected["label"][:]
    assert run(tmp_path / "run" / "kept", tmp_path / "again").kept == 6
    given.to_parquet(tmp_path / "p" / "0.parquet")
    other = run(tmp_path / "p", tmp_path / "other")
    assert other.run.kept(["caption"]).to_pylist() == (
        result.run.kept(["caption"]).to_pylist()
    )


def test_splits_are_a_column_or_a_folder(
    make_picture: Callable[..., bytes], tmp_path: Path
):
    given = given_dataset(make_picture)
    parts = {"train": given.select(range(8)), "test": given.select(range(8, 12))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    result = run(tmp_path / "saved", tmp_path / "all")
    kept = datasets.load_from_disk(tmp_path / "all" / "kept")
    assert kept["split"][:] == ["test"] * 2 + ["train"] * 4
    assert kept.features["label"] == given.features["label"]
    assert sorted(kept["key"][:]) == [f"k{i:02d}" for i in range(0, 12, 2)]
    counts = "SELECT split, count(*) AS n FROM samples GROUP BY split ORDER BY split"
    assert result.run.query(counts).to_pylist() == [
        {"split": "test", "n": 4},
        {"split": "train", "n": 8},
    ]
    one = run(tmp_path / "saved" / "test", tmp_path / "one")
    assert (one.rows, one.kept) == (4, 2)
    # Opened later, the pool is known by what the manifest says.
    again = api.open(tmp_path / "all").kept(["split"]).to_pylist()
    assert [row["split"] for row in again] == kept["split"][:]


def test_a_folder_that_is_not_whole_is_refused(tmp_path: Path):
    given = datasets.Dataset.from_dict({"key": ["a", "b"], "caption": ["x", "y"]})
    given.save_to_disk(tmp_path / "saved", num_shards=2)
    last = tmp_path / "saved" / "data-00001-of-00002.arrow"
    data = last.read_bytes()
    for cut in (len(data) - 8, len(data) - 200, 30):
        last.write_bytes(data[:cut])
        with pytest.raises(InputError, match="probably truncated"):
            HfDiskFormat().footer(str(last))
    last.unlink()
    with pytest.raises(InputError, match=r"data-00001-of-00002\.arrow: .* names it"):
        find_pool(str(tmp_path / "saved"))
    state = tmp_path / "saved" / "state.json"
    said = {**json.loads(state.read_text()), "_indices_data_files": [{"filename": "i"}]}
    state.write_text(json.dumps(said))
    with pytest.raises(InputError, match="chosen by a file of indices"):
        find_pool(str(tmp_path / "saved"))


@pytest.mark.parametrize("new", [pa.ipc.new_stream, pa.ipc.new_file])
def test_rows_are_read_by_reference(tmp_path: Path, new: Any):
    table = pa.table({"n": range(50), "text": [str(i) for i in range(50)]})
    with (
        pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file,
        new(file, table.schema) as sink,
    ):
        for start in range(0, 50, 7):
            sink.write_table(table.slice(start, 7))
    kind, path = HfDiskFormat(), str(tmp_path / "a.arrow")
    assert kind.footer(path).rows == 50
    wanted = np.array([0, 6, 7, 30, 49])
    parts = list(kind.read_rows(path, wanted, ["text"]))
    assert [t for _, p in parts for t in p["text"].to_pylist()] == list(
        map(str, wanted)
    )
    assert [start for start, _ in parts] == [0, 2, 3, 4]


def test_folders_of_hive_are_columns(tmp_path: Path):
    for year, label in ((2020, "a%20b"), (2021, "__HIVE_DEFAULT_PARTITION__")):
        folder = tmp_path / "pool" / f"year={year}" / f"label={label}"
        folder.mkdir(parents=True)
        rows = {"key": [f"{year}", f"{year}x"], "caption": ["one", f"{year}"]}
        pq.write_table(pa.table(rows), folder / "0.parquet")
    result = run(tmp_path / "pool", tmp_path / "run", exact={"by": ["caption"]})
    kept = pq.read_table(tmp_path / "run" / "kept").sort_by("key").to_pylist()
    assert [(r["key"], r["year"], r["label"]) for r in kept] == [
        ("2020", 2020, "a b"),
        ("2020x", 2020, "a b"),
        ("2021x", 2021, None),
    ]
    rows = result.run.query("SELECT uid, year, label FROM samples ORDER BY uid")
    assert rows.to_pylist()[2] == {"uid": "2021", "year": 2021, "label": None}
    assert api.open(tmp_path / "run").kept(["year"])["year"].to_pylist() == [
        2020,
        2020,
        2021,
    ]
