"""Embedding of pools of large pictures, against bare decoding and a bare forward pass.

    python benchmarks/large_images.py [--sides 512 1024 2048] [--formats JPEG PNG WEBP]

One process, alternating rounds, medians, for each size and format:

(a) shards of pictures and captions to vectors by `embed_batches`, as by default;
(f) the same by `model.runtime: openvino`;
(a', f') both with `model.exact_decode: false`;
(d) Pillow as people use it (open, convert, resize), by as many threads as cores;
(d') the fastest of `decoders.py`'s that are installed, likewise;
(e) OpenVINO's forward pass of both towers on ready pixels, at the same precision.

(a) and (f) have (d) beside them, (a') and (f') have (d'). Both stages want the same
cores, so that (d) and (e) one after the other are the least that shards to vectors can
take; the slower of both alone is told, too. Decoded pictures a second and core are (d)
and the product's own by CPU time: what feeds a GPU.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import decoders
from embed import by_openvino, decoding, end_to_end, random_checkpoint
from figures import record
from pictures import FORMATS, SIDES, encoded, write_shard
from winnow.core.task import available_cores
from winnow.models import embed
from winnow.models.encoder import ModelSpec
from winnow.models.encoder import load_encoder as load_once

# The product keeps two encoders, and these are four.
load_encoder = embed.load_encoder = cache(load_once.__wrapped__)
Way = Callable[[], int]
TITLES = {
    "a": "shards to vectors by torch",
    "a'": "… exact_decode: false",
    "f": "shards to vectors by openvino",
    "f'": "… exact_decode: false",
    "p": "Winnow's decoding",
    "p'": "… exact_decode: false",
    "d": "Pillow's decoding",
    "d'": "the fastest decoder",
    "e": "OpenVINO's bare forward pass",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--model", help="default: random weights of lite0")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = given.model or random_checkpoint(Path(folder) / "model", None)
        spec = ModelSpec(model)
        specs = {
            "a": spec,
            "a'": replace(spec, exact_decode=False),
            "f": with_openvino(spec),
            "f'": replace(with_openvino(spec), exact_decode=False),
        }
        shard = Path(folder) / "ready.parquet"
        write_shard(shard, encoded(512, "JPEG"), 2 * spec.batch_size)
        ready = by_openvino(load_encoder(specs["f"]), shard)
        for kind in given.formats:
            for side in given.sides:
                files = encoded(side, kind)
                write_shard(shard, files, given.images)
                decoder, decode = decoders.fastest(kind, side, files)
                ways: dict[str, Way] = {
                    name: shards_to_vectors(spec, shard) for name, spec in specs.items()
                }
                ways |= {
                    "p": decoding(load_encoder(specs["f"]), shard),
                    "p'": decoding(load_encoder(specs["f'"]), shard),
                    "d": by_threads(decoders.as_people_do, files, given.images),
                    "d'": by_threads(decode, files, given.images),
                    "e": ready,
                }
                report(f"{kind} {side}", ways, decoder, given.rounds)


def with_openvino(spec: ModelSpec) -> ModelSpec:
    precision = load_encoder(spec).precision
    return replace(spec, runtime="openvino", precision=precision)


def shards_to_vectors(spec: ModelSpec, shard: Path) -> Way:
    return lambda: end_to_end(spec, shard)


def by_threads(decode: decoders.Decoder, files: list[bytes], count: int) -> Way:
    def run() -> int:
        with ThreadPoolExecutor(available_cores()) as pool:
            data = (files[row % len(files)] for row in range(count))
            return sum(1 for _ in pool.map(decode, data))

    return run


def report(pool: str, ways: dict[str, Way], decoder: str, rounds: int) -> None:
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            start, used = time.perf_counter(), time.process_time()
            images = way()
            if turn:
                wall[name].append(1e3 * (time.perf_counter() - start) / images)
                cpu[name].append(1e3 * (time.process_time() - used) / images)
    load = os.getloadavg()[0]
    print(f"\n{pool}, {rounds} rounds, load {load:.1f}; ms a picture, wall and CPU")
    for name in ways:
        title = TITLES[name].replace("the fastest decoder", f"fastest: {decoder}")
        times = [statistics.median(taken[name]) for taken in (wall, cpu)]
        rate = f", {1e3 / times[1]:.0f} a second and core" if name[0] in "pd" else ""
        print(f"({name}) {title}: {times[0]:.1f}, {times[1]:.1f}{rate}")
    for name in ("a", "f", "a'", "f'"):
        decoded = "d" + name[1:]
        told = [
            f"{shares(taken, name, decoded, least):.2f} {what}"
            for taken, least, what in (
                (wall, sum, "of the sum by wall time"),
                (cpu, sum, "by CPU time"),
                (wall, max, "of the slower by wall time"),
            )
        ]
        print(f"{name} beside ({decoded}) and (e): {', '.join(told)}")
        record(
            f"{pool} px, {TITLES[name[0]]}{', not exact' if name[1:] else ''} / "
            f"{'the fastest' if name[1:] else 'Pillow'} and bare OpenVINO",
            shares(cpu, name, decoded, sum),
            asked=">= 0.9",
        )


def shares(
    taken: dict[str, list[float]],
    name: str,
    decoded: str,
    least: Callable[[tuple[float, float]], float],
) -> float:
    """Return the median over rounds of the least possible time's share."""
    parts: Any = zip(taken[decoded], taken["e"], taken[name], strict=True)
    return statistics.median(least((d, e)) / all_of_it for d, e, all_of_it in parts)


if __name__ == "__main__":
    main()
