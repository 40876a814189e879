"""A small convolutional net from pixels, trained on some rows: held-out accuracy."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from evidence_common import SEEDS, Choice, Pairs
from PIL import Image
from torch import nn
from winnow.filters.prove.arms import TrainedArm, train_arm

SIDE, BATCH, CLASSES = 16, 64, 10


def pixels_of(pool: Path, uids: list[str]) -> np.ndarray:
    """Pictures as (n, 3, 16, 16) of float32 around 0, in the order of the uids."""
    row = {uid: number for number, uid in enumerate(uids)}
    pixels = np.zeros((len(uids), 3, SIDE, SIDE), np.float32)
    for file in sorted(pool.glob("*.parquet")):
        table = pq.read_table(file, columns=["uid", "image"])
        for uid, image in zip(*(c.to_pylist() for c in table.columns), strict=True):
            if uid in row:
                shown = Image.open(io.BytesIO(image)).convert("RGB")
                small = np.asarray(shown.resize((SIDE, SIDE)), np.float32)
                pixels[row[uid]] = small.transpose(2, 0, 1) / 127.5 - 1
    return pixels


def classes_of(pairs: Pairs) -> np.ndarray:
    """Classes by first words of categories: the largest ones, -1 for all others."""
    words = [category.split("/")[0] for category in pairs.categories]
    largest = [word for word, _ in Counter(words).most_common(CLASSES)]
    number = {word: n for n, word in enumerate(largest)}
    return np.array([number.get(word, -1) for word in words])


def net() -> nn.Module:
    """Three layers of convolutions and one of products, 95,000 weights."""
    layers: list[nn.Module] = []
    for entering, leaving in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(entering, leaving, 3, padding=1), nn.BatchNorm2d(leaving)]
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, CLASSES)
    )


def trained(
    pixels: np.ndarray, classes: np.ndarray, rows: np.ndarray, steps: int, seed: int
) -> nn.Module:
    """The net after so many steps over some rows, in an order drawn by the seed."""
    torch.manual_seed(seed)
    model, random = net(), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = np.zeros(0, np.int64)
    for _ in range(steps):
        if len(order) < min(BATCH, len(rows)):
            order = random.permutation(rows)
        batch, order = order[:BATCH], order[BATCH:]
        said = model(torch.from_numpy(pixels[batch]))
        loss = nn.functional.cross_entropy(said, torch.from_numpy(classes[batch]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def compare_nets(
    pool: tuple[np.ndarray, np.ndarray],
    held: tuple[np.ndarray, np.ndarray],
    choices: Mapping[str, Choice],
    steps: int,
) -> dict[str, TrainedArm]:
    """The net trained on each choice of a pool's rows for the same steps.

    pool, held: pixels and classes.
    """

    def accuracy(rows: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        model = trained(*pool, rows, steps, seed)
        with torch.no_grad():
            said = model(torch.from_numpy(held[0]))
        right = said.argmax(1).numpy() == held[1]
        return {"accuracy": right.astype(np.float64)}

    return {
        name: train_arm(
            name,
            len(rows(0)),
            lambda seed, rows=rows: accuracy(rows(seed), seed),
            SEEDS,
        )
        for name, rows in choices.items()
    }
