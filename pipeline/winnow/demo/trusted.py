"""The pool that the demo's CLIP learns from: `python -m winnow.demo.trusted FOLDER`.

`winnow filter train` trains on it; `model/filter_train.yaml` is the recipe.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.hashing import digest
from winnow.demo.captions import describe
from winnow.demo.drawing import jpeg, render
from winnow.demo.scenes import compose, generator

#: Seeds of training scenes start here; pools use small ones.
TRAINING_SEED = 1_000_000
SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("image", pa.binary()),
        ("captions", pa.list_(pa.string())),
    ]
)


def write_trusted(
    folder: str | Path,
    scenes: int = 32_000,
    captions: int = 8,
    seed: int = TRAINING_SEED,
    shard_rows: int = 4000,
) -> None:
    """Write `folder`/*.parquet: scenes, each with so many true captions.

    Captions are drawn on their own, so a short one may stand twice.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for shard, start in enumerate(range(0, scenes, shard_rows)):
        indices = range(start, min(scenes, start + shard_rows))
        drawn = [compose(seed, index) for index in indices]
        said = [
            [describe(scene, generator("say", seed, index, n)) for n in range(captions)]
            for index, scene in zip(indices, drawn, strict=True)
        ]
        uids = [digest(f"demo/{seed}/{index}".encode()).hex() for index in indices]
        images = [jpeg(render(scene)) for scene in drawn]
        table = pa.table([uids, images, said], schema=SCHEMA)
        pq.write_table(table, target / f"{shard:05d}.parquet")


def main() -> None:
    """Write the pool that a folder and a number of scenes name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenes", type=int, default=32_000)
    parser.add_argument("--captions", type=int, default=8)
    parser.add_argument("--seed", type=int, default=TRAINING_SEED)
    given = parser.parse_args()
    write_trusted(given.folder, given.scenes, given.captions, given.seed)


if __name__ == "__main__":
    main()
