"""Training a filter: how much of a step is the model, how much waits for data.

    python benchmarks/train.py [--rows 2000] [--size 160] [--rounds 3]

One process; a generated pool of JPEG files, a small image tower that is trained, a text
tower from scratch. Rounds alternate, ratios are taken within a round:

(a) the loop of `winnow filter train`, decoding and augmenting ahead in threads;
(b) the same loop on pixels that lie ready in memory.

Printed: seconds per step of both, (b) / (a), and the share of (a) spent waiting.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from winnow.config.filter_train import parse
from winnow.filters.train import run as filter_train
from winnow.filters.train.images import FeatureImages, FileImages

MODEL_CFG = {
    "embed_dim": 128,
    "vision_cfg": {"layers": [1, 2, 2, 1], "width": 32, "image_size": 96},
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 49408,
        "width": 128,
        "heads": 2,
        "layers": 2,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pool = make_pool(Path(folder) / "pool", args.rows, args.size)
        rounds = []
        for number in range(args.rounds):
            out = Path(folder) / f"{number}"
            loop = measured(pool, out / "files", ready=False)
            bare = measured(pool, out / "ready", ready=True)
            rounds.append((loop, bare))
            print(
                f"round {number}: {loop['step']:.3f} s a step, {loop['waited']:.1%} "
                f"waiting; on ready pixels {bare['step']:.3f} s"
            )
    ratios = [bare["step"] / loop["step"] for loop, bare in rounds]
    waits = [loop["waited"] for loop, _ in rounds]
    print(f"ready pixels / files: {statistics.median(ratios):.2f}")
    print(f"waiting for data: {statistics.median(waits):.1%} (asked: at most 10 %)")


def make_pool(folder: Path, rows: int, size: int) -> Path:
    rng = np.random.default_rng(0)
    images = []
    for _ in range(rows):
        small = Image.fromarray(rng.integers(0, 255, (20, 20, 3)).astype(np.uint8))
        file = io.BytesIO()
        small.resize((size, size), Image.Resampling.BICUBIC).save(file, "JPEG")
        images.append(file.getvalue())
    folder.mkdir(parents=True)
    table = pa.table(
        {
            "uid": [f"{row:06d}" for row in range(rows)],
            "image": pa.array(images, pa.binary()),
            "text": [f"a generated picture number {row}" for row in range(rows)],
        }
    )
    pq.write_table(table, folder / "00000.parquet", row_group_size=256)
    return folder


def measured(pool: Path, out: Path, *, ready: bool) -> dict[str, float]:
    recipe: dict[str, Any] = {
        "data": [{"path": str(pool), "hold_out": {"fraction": 0}}],
        "model": {"architecture": MODEL_CFG},
        "augment": {"crop": [0.8, 1.0]},
        "optimise": {"batch_size": 128, "epochs": 1},
        "output": {"path": str(out), "cache": str(out.parent.parent / "cache")},
    }
    prepare = filter_train.prepare_images

    def in_memory(*given: Any) -> Any:
        files, reasons = prepare(*given)
        assert isinstance(files, FileImages)
        pixels = files.plain(np.arange(len(files.uids)))
        return FeatureImages(pixels[:, None]), reasons

    filter_train.prepare_images = in_memory if ready else prepare
    try:
        filter_train.train_filter(parse(recipe), lambda line: None)
    finally:
        filter_train.prepare_images = prepare
    last = pq.read_table(out / "curves.parquet").to_pylist()[-1]
    return {
        "step": last["seconds"] / last["step"],
        "waited": last["waited"] / last["seconds"],
    }


if __name__ == "__main__":
    main()
