"""The one pass over a training's images: features of a frozen tower, or files.

What the pass made of a pool is found again by name: after a crash, at another purity
level, and beside other pools.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from winnow.config.filter_train import FilterTrainConfig
from winnow.core.hashing import fingerprint
from winnow.core.sealed_folder import folder_fault, seal_folder
from winnow.filters.train import images as passes
from winnow.filters.train.build import state_digest
from winnow.filters.train.data import Pools, read_images
from winnow.filters.train.loop import Model
from winnow.filters.train.recipe import Augmentation
from winnow.filters.train.rows import Pair
from winnow.filters.train.world import World
from winnow.formats.reader import SampleReader
from winnow.models.encoder import Encoder
from winnow.models.images import DECODING
from winnow.models.preprocess import Preprocessing

Tell = Callable[[str], None]


def prepare_images(
    config: FilterTrainConfig, pools: Pools, model: Model, world: World, tell: Tell
) -> tuple[passes.Images, dict[str, str]]:
    """Return the images of all pairs, by place, and uid → reason of those unusable."""
    passing = _Pass(config, model)
    parts: list[passes.Images] = []
    reasons: dict[str, str] = {}
    part = np.array([pair.pool for pair in pools.pairs], np.int64)
    inner = np.zeros(len(part), np.int64)
    for number, reader in enumerate(pools.readers):
        pairs = [pair for pair in pools.pairs if pair.pool == number]
        inner[part == number] = np.arange(len(pairs))
        folder = passing.cache / passing.name(pairs, reader, pools.states[number])
        if world.first and not _is_whole(folder, tell):
            passing.run(pairs, reader, folder, tell)
        world.wait()
        rejected = passes.read_rejected(folder)
        reasons |= {pairs[row].uid: reason for row, reason in rejected.items()}
        parts.append(passing.open(folder, pairs))
    images = parts[0] if len(parts) == 1 else passes.JoinedImages(parts, part, inner)
    return images, reasons


class _Pass:
    """What is made of a pool's images, and where it lies."""

    def __init__(self, config: FilterTrainConfig, model: Model) -> None:
        self.config, self.model = config, model
        self.encoder: Encoder | None = None
        self.tower = ""
        if model.cached is not None:
            self.encoder = passes.frozen_encoder(
                model.module,
                model.cached,
                config.model.frozen_precision,
                config.model.max_pixels,
            )
            visual: Any = model.module.visual
            frozen = visual.trunk if model.cached == "visual.trunk" else visual
            self.tower = state_digest(frozen)

    @property
    def cache(self) -> Path:
        """Where the passes of all pools lie."""
        output = self.config.output
        return Path(output.cache or Path(output.path) / "cache").expanduser()

    @property
    def how(self) -> Augmentation:
        """How images are changed."""
        return Augmentation(**self.config.augment.model_dump())

    def name(self, pairs: list[Pair], reader: SampleReader, state: str) -> str:
        """Return a name of all that the pass depends on.

        state: of the pool's shards and of the image files that its rows name.
        """
        uids = "\x1f".join(f"{p.uid}:{p.source}:{p.row}" for p in pairs)
        shards = str(sorted(reader.paths.items()))
        read = f"{uids}|{shards}|{state}|{self.config.model.max_pixels}|{DECODING}"
        if self.encoder is None:
            return "files-" + fingerprint(read)
        seed = self.config.seed if self.how.views > 1 else 0
        made = f"{self.tower}|{self.encoder.preprocess}|{self.encoder.precision}"
        views = self.how if self.how.views > 1 else ""
        return "features-" + fingerprint(f"{read}|{made}|{views}|{seed}")

    def run(
        self, pairs: list[Pair], reader: SampleReader, folder: Path, tell: Tell
    ) -> None:
        """Read, decode and, with a frozen tower, embed every image once."""
        new = folder.with_name(folder.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        rows, total = read_images(pairs, reader), len(pairs)
        uids = [pair.uid for pair in pairs]
        if self.encoder is None:
            tell(f"checking {total:,} images")
            passes.write_files(rows, uids, new, self.config.model.max_pixels)
        else:
            tell(f"embedding {total:,} images by the frozen tower, once")
            views = passes.Views(self.encoder, uids, self.how, self.config.seed)
            passes.write_features(
                rows, views, new, lambda done: _told(done, total, tell)
            )
        seal_folder(new)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)

    def open(self, folder: Path, pairs: list[Pair]) -> passes.Images:
        """Return what the pass made."""
        if self.encoder is not None:
            return passes.open_features(folder)
        data, bounds = passes.open_bytes(folder)
        return passes.FileImages(
            data,
            bounds,
            [pair.uid for pair in pairs],
            Preprocessing.of(self.model.module.visual.preprocess_cfg),
            self.how,
            self.config.seed,
            self.config.model.max_pixels,
        )


def _is_whole(folder: Path, tell: Tell) -> bool:
    """Whether a pass is there as it was written; says so if it is damaged."""
    if not folder.is_dir():
        return False
    fault = folder_fault(folder)
    if fault:
        tell(f"{fault}: the images are read again")
    return not fault


def _told(done: int, total: int, tell: Tell) -> None:
    if done % 2048 < 64:
        tell(f"{done:,} of {total:,} images")
