"""Products on a GPU: k-means, nearest centroids, semantic duplicates; and `embed`.

    python benchmarks/device.py [--rows 500000] [--dim 512] [--architecture ViT-B-32]
    python benchmarks/device.py --device cpu --rows 2000 --images 0   # a smoke test

One process. Of each part: seconds by the processor, seconds by the device, whether both
decide alike, and the device's share: what the float32 products that the part needs take
by `torch.matmul` on tensors that are ready there, in tiles as large, over what the part
takes. k-means makes 20 iterations; semantic duplicates are `best_earlier` in one
cluster of a tenth of the rows. Of `embed`: images a second from JPEGs to vectors, of
the bare forward pass on ready tensors, and decoded a second by one core.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from embed import decoding, end_to_end, forward_only, random_checkpoint, write_shard
from winnow.algorithms.dedup.cluster import DEVICE_TILE, Cluster
from winnow.algorithms.dedup.semantic import best_earlier
from winnow.algorithms.prune.assignment import nearest_centroid
from winnow.models.encoder import ModelSpec, load_encoder
from winnow.models.kmeans import default_k, train_kmeans
from winnow.models.torch_device import TorchDevice

ITERATIONS, ROWS = 20, 8192


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--architecture", default="ViT-B-32")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no CUDA device here; --device cpu tries the code without one")
        return
    name = torch.cuda.get_device_name() if given.device == "cuda" else given.device
    print(f"{name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    compare(TorchDevice(given.device), given)
    if given.images:
        embed(given)


def compare(device: TorchDevice, given: argparse.Namespace) -> None:
    vectors, k = pool(given.rows, given.dim), default_k(given.rows)
    print(f"{given.rows:,} × {given.dim}, {k:,} centroids; products off by at most "
          f"{device.error():.1e}")  # fmt: skip
    few = vectors[: max(2, given.rows // 10)]

    def train(where: TorchDevice | None) -> np.ndarray:
        return train_kmeans(vectors, k, seed=0, iterations=ITERATIONS, device=where)

    centroids = train(None)
    parts: dict[str, tuple[Callable[[Any], Any], Callable[[], float]]] = {
        "k-means": (
            train,
            lambda: ITERATIONS * bare(given, len(vectors), k, ROWS, k),
        ),
        "nearest centroids": (
            lambda where: nearest_centroid(vectors, centroids, device=where),
            lambda: bare(given, len(vectors), k, ROWS, k),
        ),
        "semantic": (
            lambda where: best_earlier(Cluster(few, device=where)),
            # Half of all pairs.
            lambda: bare(given, len(few), len(few), *DEVICE_TILE) / 2,
        ),
    }
    for name, (part, products) in parts.items():
        # Kernels are compiled and the device is warm.
        part(device)
        by_device, ours = timed(lambda: part(device))  # noqa: B023 - called here
        by_processor, theirs = timed(lambda: part(None))  # noqa: B023 - called here
        print(
            f"{name}: processor {by_processor:.2f} s, device {by_device:.2f} s, "
            f"{told(ours, theirs)}; the device's bare products are "
            f"{products() / by_device:.0%} of its time"
        )


def pool(rows: int, dim: int) -> np.ndarray:
    """Return vectors around centres of 700 rows each, a tenth of them near copies."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((max(1, rows // 700), dim), np.float32)
    vectors = centres[random.integers(0, len(centres), rows)]
    vectors += random.standard_normal((rows, dim), np.float32) / 2
    copies = random.choice(rows, rows // 10, replace=False)
    vectors[copies] = vectors[random.integers(0, rows, len(copies))]
    vectors[copies] += np.float32(0.03) * random.standard_normal(
        (len(copies), dim), np.float32
    )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16)


def bare(
    given: argparse.Namespace, rows: int, others: int, height: int, width: int
) -> float:
    """Return the seconds of products of ready tensors, tile by tile."""
    left = torch.rand(min(rows, height), given.dim, device=given.device)
    right = torch.rand(min(others, width), given.dim, device=given.device)
    out = torch.empty(len(left), len(right), device=given.device)
    tiles = rows * others / out.numel()
    some = max(1, min(50, round(tiles)))

    def multiply() -> None:
        for _ in range(some):
            torch.matmul(left, right.T, out=out)
        if given.device == "cuda":
            torch.cuda.synchronize()

    multiply()
    return timed(multiply)[0] * tiles / some


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def told(ours: Any, theirs: Any) -> str:
    if isinstance(ours, np.ndarray):
        return f"centroids {np.abs(ours - theirs).max():.0e} apart"
    pairs = zip(_arrays(ours), _arrays(theirs), strict=True)
    same = all(a.tobytes() == b.tobytes() for a, b in pairs)
    return "equal bits" if same else "NOT EQUAL"


def _arrays(result: Any) -> tuple[np.ndarray, ...]:
    return result if isinstance(result, tuple) else (result.similarity, result.twin)


def embed(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shard = Path(folder) / "shard.parquet"
        write_shard(shard, None, given.images)
        model = random_checkpoint(Path(folder) / "model", given.architecture)
        spec = ModelSpec(model, batch_size=given.batch_size)
        encoder = load_encoder(spec)
        ways = {
            "JPEGs to vectors": lambda: end_to_end(spec, shard),
            "bare forward pass": forward_only(encoder, shard),
            "decoded by a core": decoding(encoder, shard),
        }
        print(f"embed, {given.architecture}, {encoder.precision} on {encoder.device}")
        for name, way in ways.items():
            way()
            seconds, images = timed(way)
            cores = (os.cpu_count() or 1) if name.startswith("decoded") else 1
            print(f"{name}: {images / seconds / cores:.0f} images/s")


if __name__ == "__main__":
    main()
