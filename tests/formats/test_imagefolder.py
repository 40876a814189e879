"""Hugging Face's imagefolder: pictures beside a list of their names and captions."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import winnow as api

datasets = pytest.importorskip("datasets")


def imagefolder(folder: Path, kind: str, make_picture: Callable[..., bytes]) -> Path:
    rows = []
    for number in range(8):
        name = f"deep/{number}.png"
        (folder / "deep").mkdir(parents=True, exist_ok=True)
        # Each picture stands twice.
        picture = make_picture(number // 2, kind="PNG")
        (folder / name).write_bytes(picture)
        rows.append({"file_name": name, "text": f'a "red"\nküche, {number}'})
    if kind == "jsonl":
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "metadata.jsonl").write_text(lines)
    else:
        with (folder / "metadata.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["file_name", "text"])
            writer.writeheader()
            writer.writerows(rows)
    return folder


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_imagefolder_is_read_by_its_list(
    tmp_path: Path,
    make_picture: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pool = imagefolder(tmp_path / "pool", kind, make_picture)
    columns = {"uid": "file_name", "image": "file_name", "text": "text"}
    result: Any = api.run(
        {
            "input": {"path": str(pool / f"metadata.{kind}"), "columns": columns},
            "output": {"path": str(tmp_path / "run"), "report": False},
            "steps": ["exact", "apply"],
            "exact": {"by": ["image_pixels"]},
        }
    )
    assert (result.kept, result.dropped, result.quarantined) == (4, 4, 0)
    given = datasets.load_dataset(
        "imagefolder", data_dir=str(pool), split="train", cache_dir=tmp_path / "c"
    )
    texts = {row["text"]: row["image"].size for row in given}
    kept = list(result.run.to_hf())
    assert [row["uid"] for row in kept] == [f"deep/{n}.png" for n in range(0, 8, 2)]
    # The same pictures and captions as its own reader gives.
    images = "image" if "image" in kept[0] else "file_name"
    assert all(texts[row["text"]] == row[images].size for row in kept)
