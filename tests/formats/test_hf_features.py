"""Features of Hugging Face's `datasets` go through a run and its exports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import winnow as api

datasets = pytest.importorskip("datasets")

COLUMNS = {"uid": "key", "image": "image", "text": "caption"}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def hf_dataset(make_picture: Callable[..., bytes], rows: int = 12) -> Any:
    """Return a data set as people have them: two Images, a ClassLabel, a Sequence."""
    features = datasets.Features(
        {
            "key": datasets.Value("string"),
            "image": datasets.Image(),
            "mask": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog", "none"]),
            "boxes": datasets.Sequence(datasets.Value("float32"), length=4),
            "caption": datasets.Value("large_string"),
        }
    )
    return datasets.Dataset.from_dict(
        {
            "key": [f"k{i:02d}" for i in range(rows)],
            "image": [{"bytes": make_picture(i), "path": None} for i in range(rows)],
            "mask": [
                {"bytes": make_picture(90 + i, kind="PNG"), "path": f"{i}.png"}
                for i in range(rows)
            ],
            "label": [i % 3 for i in range(rows)],
            "boxes": [[float(i)] * 4 for i in range(rows)],
            # Of each two rows with one caption, one goes.
            "caption": [f"caption {i // 2}" for i in range(rows)],
        },
        features=features,
    )


def plain(dataset: Any) -> list[dict[str, Any]]:
    """Return rows with pictures as bytes, for two data sets to be compared."""
    for name, feature in dataset.features.items():
        if isinstance(feature, datasets.Image):
            dataset = dataset.cast_column(name, datasets.Image(decode=False))
    rows = list(dataset)
    return [
        {n: v["bytes"] if isinstance(v, dict) else v for n, v in row.items()}
        for row in rows
    ]


def run(pool: Path, out: Path) -> Any:
    recipe = {
        "input": {"path": str(pool), "columns": COLUMNS},
        "output": {"path": str(out), "report": False},
        "steps": ["exact", "apply"],
        "exact": {"by": ["caption"]},
    }
    return api.run(recipe)


def test_features_of_a_cached_parquet_stay_in_kept_and_in_exports(
    make_picture: Callable[..., bytes], tmp_path: Path
):
    given = hf_dataset(make_picture)
    (tmp_path / "pool").mkdir()
    given.to_parquet(str(tmp_path / "pool" / "0.parquet"))
    result = run(tmp_path / "pool", tmp_path / "run")
    assert result.kept == 6
    kept = datasets.Dataset.from_parquet(
        str(tmp_path / "run" / "kept" / "*.parquet"), cache_dir=str(tmp_path / "c")
    )
    assert kept.features == given.features
    expected = [row for row in plain(given) if int(row["key"][1:]) % 2 == 0]
    assert plain(kept) == expected

    result.run.export("hf", tmp_path / "hf")
    exported = datasets.load_dataset(
        str(tmp_path / "hf"), split="train", cache_dir=str(tmp_path / "c2")
    )
    for name in ("image", "mask", "label", "boxes"):
        assert exported.features[name] == given.features[name], name
    assert exported["label"][:] == [row["label"] for row in expected]
    in_memory = result.run.to_hf()
    assert in_memory.features["label"] == given.features["label"]
    for rows in (plain(exported), plain(in_memory)):
        assert [row["mask"] for row in rows] == [row["mask"] for row in expected]
        assert [row["image"] for row in rows] == [row["image"] for row in expected]
