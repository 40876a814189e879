"""DataComp's baselines on constructed metadata: the file that its own code writes.

`tests/golden/datacomp.json` holds rows and SHA-256 of the subset that each of its
baselines gives on this metadata (mlfoundations/datacomp, `baselines/apply_filter.py`,
commit 4a8df19), computed with fastText's quantised model, NLTK's reader over WordNet
3.0, and tensors on the CPU.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import winnow
from winnow.config.recipes import find, read
from winnow.core.errors import ConfigError, InputError

from tests.conftest import Finished, hex_uid
from tests.datacomp_metadata import CAPTIONS, NAMED, ROWS, settings, write_metadata

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/datacomp.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_metadata(tmp_path_factory.mktemp("datacomp"))


def recipe_of(name: str, folder: Path, out: Path) -> dict[str, Any]:
    recipe = read(find(f"datacomp/{name}"))
    recipe["input"]["path"] = str(folder / "metadata")
    recipe["output"] = {"path": str(out), "report": False}
    for key, value in settings(folder).items():
        section, setting = key.split(".")
        if section in recipe:
            recipe[section][setting] = value
    return recipe


@pytest.mark.parametrize("baseline", GOLDEN)
def test_a_baseline_keeps_what_datacomps_code_keeps(
    folder: Path, tmp_path: Path, baseline: str
):
    winnow.run(recipe_of(baseline, folder, tmp_path / "run"))
    subset = tmp_path / "subset.npy"
    winnow.open(tmp_path / "run").export("uids", subset)
    uids = np.load(subset)
    assert uids.dtype == np.dtype("u8,u8")
    assert (np.sort(uids) == uids).all()
    digest = hashlib.sha256(np.ascontiguousarray(uids).tobytes()).hexdigest()
    assert {"rows": len(uids), "sha256": digest} == GOLDEN[baseline]


def test_equal_scores_at_the_cut_stay_or_go_by_uid(folder: Path, tmp_path: Path):
    kept = {}
    for ties in ("uid", "keep"):
        recipe = recipe_of("clip_score", folder, tmp_path / ties)
        recipe["top"]["ties"] = ties
        kept[ties] = winnow.run(recipe).kept
    assert kept["uid"] == 90
    assert kept["keep"] > 91


def test_synsets_keep_captions_with_such_a_word(folder: Path, tmp_path: Path):
    recipe = recipe_of("text_based", folder, tmp_path / "run")
    recipe["steps"], recipe["rules"] = ["synsets"], None
    del recipe["rules"]
    winnow.run(recipe)
    ledger = Finished(tmp_path / "run", None).ledger("synsets")
    shards = sorted((folder / "metadata").glob("*.parquet"))
    rows = [row for file in shards for row in pq.read_table(file).to_pylist()]
    told = {row["text"]: ledger[row["uid"]]["keep"] for row in rows}
    assert told == dict(zip(CAPTIONS, NAMED, strict=True))


def test_clusters_of_the_run_serve_as_well(folder: Path, tmp_path: Path):
    recipe = recipe_of("image_based", folder, tmp_path / "run")
    recipe["steps"] = ["embed", "cluster", "target_clusters"]
    del recipe["rules"], recipe["target_clusters"]["centroids"]
    recipe["cluster"] = {"k": 12}
    with pytest.raises(ConfigError, match="product goes with centroids"):
        winnow.run(recipe)
    del recipe["target_clusters"]["nearest"]
    winnow.run(recipe)
    run = Finished(tmp_path / "run", None)
    centroids = np.load(run.path / "artifacts/cluster/centroids.npy").astype(float)
    targets = np.load(folder / "imagenet.npy").astype(float)
    counts = np.bincount((targets @ centroids.T).argmax(axis=1), minlength=12)
    clusters = run.artifact("cluster", "clusters").to_pylist()
    ledger = run.ledger("target_clusters")
    assert len(ledger) == ROWS
    for row in clusters:
        assert ledger[row["uid"]]["score"] == counts[row["cluster"]]
        assert ledger[row["uid"]]["keep"] == (counts[row["cluster"]] > 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: np.savez(f, b32_img=np.ones((100, 4))), "did you mean|known: b32"),
        (lambda f: np.savez(f, l14_img=np.ones((99, 16))), "99, 16.*100 rows"),
        (lambda f: np.savez(f, l14_img=np.ones((100, 8))), "several lengths"),
        (lambda f: np.savez(f, l14_img=np.array([{}] * 100)), "not a whole .npz"),
        (lambda f: f.write_bytes(b"PK\x03\x04 no archive"), "not a whole .npz"),
        (lambda f: f.unlink(), "missing beside"),
    ],
)
def test_faulty_features_are_told(tmp_path: Path, change: Any, words: str):
    folder = write_metadata(tmp_path)
    change(folder / "metadata/2.npz")
    with pytest.raises(InputError, match=words):
        winnow.run(recipe_of("image_based", folder, tmp_path / "run"))


def test_a_faulty_vector_quarantines_its_row(tmp_path: Path):
    folder = write_metadata(tmp_path)
    vectors = np.load(folder / "metadata/0.npz")["l14_img"]
    vectors[3], vectors[4] = 0, np.nan
    np.savez(folder / "metadata/0.npz", l14_img=np.asfortranarray(vectors))
    recipe = recipe_of("image_based", folder, tmp_path / "run")
    recipe["steps"] = ["embed"]
    del recipe["rules"], recipe["target_clusters"]
    winnow.run(recipe)
    lost = winnow.open(tmp_path / "run").query("SELECT uid, reason FROM quarantine")
    reasons = {row["uid"]: row["reason"] for row in lost.to_pylist()}
    expected = {hex_uid(3): "vector_zero", hex_uid(4): "vector_not_finite"}
    assert reasons == expected


def test_lists_that_are_none_are_told(folder: Path, tmp_path: Path):
    recipe = recipe_of("text_based", folder, tmp_path / "run")
    (tmp_path / "list.txt").write_text("n02084071\ndog\n")
    recipe["synsets"]["synsets"] = str(tmp_path / "list.txt")
    with pytest.raises(InputError, match="line 2: 'dog' is no synset"):
        winnow.run(recipe)
    recipe["synsets"] = {**settings_of(folder), "wordnet": str(tmp_path)}
    with pytest.raises(InputError, match=r"index\.noun"):
        winnow.run(recipe)


def settings_of(folder: Path) -> dict[str, str]:
    given = settings(folder)
    return {name: given[f"synsets.{name}"] for name in ("wordnet", "synsets")}


def test_a_target_of_no_vectors_is_told(folder: Path, tmp_path: Path):
    recipe = recipe_of("image_based", folder, tmp_path / "run")
    np.save(tmp_path / "zero.npy", np.zeros((3, 16)))
    recipe["target_clusters"]["target"] = str(tmp_path / "zero.npy")
    with pytest.raises(InputError, match="no usable vector"):
        winnow.run(recipe)
    recipe = recipe_of("image_based", folder, tmp_path / "run")
    np.save(tmp_path / "short.npy", np.ones((3, 8)))
    recipe["target_clusters"]["centroids"] = str(tmp_path / "short.npy")
    with pytest.raises(ConfigError, match="centroids of 8 numbers"):
        winnow.run(recipe)
