"""DataComp's baselines on constructed metadata: the rows that its own code keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
from winnow.config.recipes import find, read

from tests.conftest import hex_uid

ENGLISH = "the dog runs over the wet sand near the sea"
GERMAN = "der Hund läuft über den nassen Sand und bellt laut"


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 300 rows as DataComp ships them; scores of two digits, so many tie."""
    rng = np.random.default_rng(7)
    rows = 300
    captions = [ENGLISH, GERMAN, "a dog", "is it", "I am a dog"]
    table = pa.table(
        {
            "uid": [hex_uid(row) for row in range(rows)],
            "text": [captions[i] for i in rng.integers(0, len(captions), rows)],
            "original_width": rng.choice([150, 199, 200, 300, 601], rows),
            "original_height": rng.choice([199, 200, 400, 600], rows),
            "clip_b32_similarity_score": rng.normal(0.27, 0.04, rows).round(2),
            "clip_l14_similarity_score": rng.normal(0.2, 0.05, rows).round(2),
        }
    )
    folder = tmp_path_factory.mktemp("metadata")
    for shard in range(3):
        pq.write_table(table.slice(100 * shard, 100), folder / f"{shard}.parquet")
    return folder


def no_filter(rows: dict[str, Any]) -> Any:
    return np.ones(len(rows["uid"]), bool)


def basic(rows: dict[str, Any]) -> Any:
    width, height = rows["original_width"], rows["original_height"]
    least, most = np.minimum(width, height), np.maximum(width, height)
    words = np.array([len(text.split()) for text in rows["text"]])
    characters = np.array([len(text) for text in rows["text"]])
    english = rows["text"] != GERMAN
    return (
        english & (words > 2) & (characters > 5) & (least >= 200) & (most / least <= 3)
    )


def clip_score(rows: dict[str, Any]) -> Any:
    scores = rows["clip_l14_similarity_score"]
    return scores >= np.sort(scores)[::-1][int(len(scores) * 0.3)]


def laion2b(rows: dict[str, Any]) -> Any:
    return (rows["text"] != GERMAN) & (rows["clip_b32_similarity_score"] >= 0.28)


@pytest.mark.parametrize("baseline", [no_filter, basic, clip_score, laion2b])
def test_a_baseline_keeps_what_datacomps_code_keeps(
    metadata: Path, tmp_path: Path, baseline: Callable[[dict[str, Any]], Any]
):
    recipe = read(find(f"datacomp/{baseline.__name__}"))
    recipe["input"]["path"] = str(metadata)
    recipe["output"] = {"path": str(tmp_path / "run"), "report": False}
    winnow.run(recipe)
    subset = tmp_path / "subset.npy"
    winnow.open(tmp_path / "run").export("uids", subset)
    table = pq.read_table(metadata)
    rows = {name: table[name].to_numpy() for name in table.column_names}
    kept = sorted(uid for uid, k in zip(rows["uid"], baseline(rows), strict=True) if k)
    expected = np.array(
        [(int(uid[:16], 16), int(uid[16:], 16)) for uid in kept], np.dtype("u8,u8")
    )
    assert np.array_equal(np.load(subset), expected)


def test_equal_scores_at_the_cut_stay_or_go_by_uid(metadata: Path, tmp_path: Path):
    recipe = read(find("datacomp/clip_score"))
    recipe["input"]["path"] = str(metadata)
    kept = {}
    for ties in ("uid", "keep"):
        recipe["top"]["ties"] = ties
        recipe["output"] = {"path": str(tmp_path / ties), "report": False}
        kept[ties] = winnow.run(recipe).kept
    assert kept["uid"] == 90
    assert kept["keep"] > 91
