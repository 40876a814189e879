"""Metadata as DataComp ships it, constructed: shards, features, lists beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.conftest import hex_uid

CAPTIONS = [
    "the dog runs over the wet sand near the sea",
    "der Hund läuft über den nassen Sand und bellt laut",
    "a dog",
    "is it",
    "I am a dog",
    "two Cats sleep on the sofa",
    "look over there now please",
]
ENGLISH = [True, False, True, True, True, True, True]
#: Whether a word of the caption names the sea or a cat, by its first synset.
NAMED = [True, False, False, False, False, True, False]
SYNSETS = ["n09426788", "n02121620"]
ROWS, DIM, CLUSTERS = 300, 16, 24

#: First senses of WordNet 3.0 of all words in the captions, in its files' format.
_INDEX = {
    "noun": [
        "a n 1 1 @ 1 1 13658027",
        "am n 1 1 @ 1 0 14628494",
        "cat n 2 2 @ ~ 2 1 02121620 10153414",
        "dog n 1 2 @ ~ 1 1 02084071",
        "i n 1 1 @ 1 0 14641397",
        "it n 1 1 @ 1 0 06134510",
        "look n 1 1 @ 1 1 04679738",
        "now n 1 1 @ 1 1 15119919",
        "over n 1 1 @ 1 0 15258694",
        "run n 1 1 @ 1 1 00189565",
        "sand n 1 1 @ 1 1 15019030",
        "sea n 1 1 @ 1 1 09426788",
        "sleep n 1 1 @ 1 1 14024882",
        "sofa n 1 1 @ 1 1 04256520",
        "there n 1 1 @ 1 0 08489627",
        "two n 1 1 @ 1 1 13743269",
        "wet n 1 1 @ 1 1 14535431",
    ],
    "verb": ["be v 1 1 @ 1 1 02604760", "please v 1 1 @ 1 1 01815646"],
    "adj": ["near a 1 1 & 1 1 00444519"],
    "adv": ["on r 1 0 1 1 00072735"],
}


def write_wordnet(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for pos, lines in _INDEX.items():
        licence = "  1 This software and database is provided as it is.  \n"
        text = licence + "".join(f"{line}  \n" for line in lines)
        (folder / f"index.{pos}").write_text(text)
        (folder / f"{pos}.exc").write_text("is be\n" if pos == "verb" else "")
    return folder


def write_metadata(folder: Path) -> Path:
    """Write three shards in `metadata/`, and what the image- and text-based use."""
    rng = np.random.default_rng(7)
    scores = rng.normal(0.2, 0.05, ROWS)
    table = pa.table(
        {
            "uid": [hex_uid(row) for row in range(ROWS)],
            "text": [CAPTIONS[i] for i in rng.integers(0, len(CAPTIONS), ROWS)],
            "original_width": rng.choice([150, 199, 200, 300, 601], ROWS),
            "original_height": rng.choice([199, 200, 400, 600], ROWS),
            # Of two digits, so that many tie.
            "clip_b32_similarity_score": rng.normal(0.27, 0.04, ROWS).round(2),
            "clip_l14_similarity_score": scores.round(2),
        }
    )
    centroids = rng.normal(size=(CLUSTERS, DIM)) * rng.uniform(0.3, 1, (CLUSTERS, 1))
    np.save(folder / "centroids.npy", centroids.astype(np.float32))
    images = centroids[rng.integers(0, CLUSTERS, ROWS)] + 0.3 * rng.normal(
        size=(ROWS, DIM)
    )
    targets = centroids[: CLUSTERS // 3].repeat(4, axis=0)
    targets = targets + 0.2 * rng.normal(size=targets.shape)
    np.save(folder / "imagenet.npy", _unit(targets))
    (folder / "imagenet21k_wordnet_ids.txt").write_text("\n".join(SYNSETS) + "\n")
    write_wordnet(folder / "wordnet")
    metadata = folder / "metadata"
    metadata.mkdir()
    for shard in range(3):
        part = slice(100 * shard, 100 * (shard + 1))
        pq.write_table(table.slice(100 * shard, 100), metadata / f"{shard}.parquet")
        save = np.savez_compressed if shard == 1 else np.savez
        save(metadata / f"{shard}.npz", l14_img=_unit(images[part]), b32_img=[[1.0]])
    return folder


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / lengths).astype(np.float16)


def settings(folder: Path) -> dict[str, str]:
    """Return where a recipe of `conf/datacomp` finds what is beside the metadata."""
    return {
        "embed.npz": str(folder / "metadata"),
        "target_clusters.target": str(folder / "imagenet.npy"),
        "target_clusters.centroids": str(folder / "centroids.npy"),
        "synsets.wordnet": str(folder / "wordnet"),
        "synsets.synsets": str(folder / "imagenet21k_wordnet_ids.txt"),
    }
