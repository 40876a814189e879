"""A tiny trusted pool that a tiny model learns: pictures of one colour, its name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

COLOURS = {
    "red": (200, 30, 30),
    "green": (30, 180, 30),
    "blue": (30, 30, 200),
    "white": (240, 240, 240),
    "black": (10, 10, 10),
    "yellow": (220, 220, 20),
}
PLACES = ["left", "right", "top", "bottom"]

MODEL_CFG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"layers": 1, "width": 32, "head_width": 16, "patch_size": 8,
                   "image_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2,
                 "layers": 1},
}  # fmt: skip


def picture(colour: str, place: str, rng: np.random.Generator) -> bytes:
    """A noisy ground with a coloured half."""
    pixels = rng.integers(90, 130, (16, 16, 3))
    half = {
        "left": np.s_[:, :8],
        "right": np.s_[:, 8:],
        "top": np.s_[:8],
        "bottom": np.s_[8:],
    }[place]
    pixels[half] = np.array(COLOURS[colour]) + rng.integers(-9, 9, 3)
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def trusted_table(rows: int, seed: int = 0, captions: int = 2) -> pa.Table:
    """Rows of uid, image and captions (a list, each naming its picture's row)."""
    rng = np.random.default_rng(seed)
    uids, images, texts = [], [], []
    for row in range(rows):
        colour, place = rng.choice(list(COLOURS)), rng.choice(PLACES)
        uids.append(f"s{seed}-{row:04d}")
        images.append(picture(colour, place, rng))
        said = [f"{colour} {place} {row}", f"{place} is {colour} {row}"]
        texts.append(said[:captions])
    return pa.table(
        {
            "uid": uids,
            "image": pa.array(images, pa.binary()),
            "captions": pa.array(texts, pa.list_(pa.string())),
        }
    )


def write_pool(folder: Path, table: pa.Table, shards: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    size = -(-len(table) // shards)
    for shard in range(shards):
        part = table.slice(shard * size, size)
        pq.write_table(part, folder / f"{shard:05d}.parquet", row_group_size=16)
    return folder


def recipe(pool: Path, out: Path, **optimise: Any) -> dict[str, Any]:
    """A recipe that takes a second or two; sections may be added to it."""
    return {
        "flow": "filter_train",
        "data": [
            {
                "path": str(pool),
                "columns": {"text": "captions"},
                "hold_out": {"fraction": 0.25},
            }
        ],
        "model": {"architecture": MODEL_CFG},
        "optimise": {
            "batch_size": 16,
            "epochs": 4,
            "learning_rate": 3e-3,
            "threads": 1,
            "checkpoint_every": 3,
            **optimise,
        },
        "output": {"path": str(out), "precision": "float32"},
        "seed": 3,
    }
