"""The one pass over a training's images: features of a frozen tower, or files.

What the pass made is found again by name, by another training or purity level too.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.config.filter_train import FilterTrainConfig
from pipeline.core.hashing import fingerprint
from pipeline.flows.filter_data import Pools, places
from pipeline.models.preprocess import Preprocessing
from pipeline.models.training import images as passes
from pipeline.models.training.build import state_digest
from pipeline.models.training.loop import Model
from pipeline.models.training.recipe import Augmentation
from pipeline.models.training.world import World

Tell = Callable[[str], None]


def prepare_images(
    config: FilterTrainConfig, pools: Pools, model: Model, world: World, tell: Tell
) -> tuple[passes.Images, dict[str, str]]:
    """Return the images of all pairs, by place, and uid → reason of those unusable."""
    how = Augmentation(**config.augment.model_dump())
    cache = Path(config.output.cache or Path(config.output.path) / "cache")
    views = _views(config, pools, model, how)
    folder = cache / _name(config, pools, model, how, views)
    if world.first and not folder.is_dir():
        _run_pass(config, pools, views, folder, tell)
    world.wait()
    rejected = passes.read_rejected(folder)
    reasons = {pools.pairs[row].uid: reason for row, reason in rejected.items()}
    if views is not None:
        return passes.open_features(folder), reasons
    data, bounds = passes.open_bytes(folder)
    files = passes.FileImages(
        data,
        bounds,
        [pair.uid for pair in pools.pairs],
        Preprocessing.of(model.module.visual.preprocess_cfg),
        how,
        config.seed,
        config.model.max_pixels,
    )
    return files, reasons


def _views(
    config: FilterTrainConfig, pools: Pools, model: Model, how: Augmentation
) -> passes.Views | None:
    if model.cached is None:
        return None
    encoder = passes.frozen_encoder(
        model.module,
        model.cached,
        config.model.frozen_precision,
        config.model.max_pixels,
    )
    uids = [pair.uid for pair in pools.pairs]
    return passes.Views(encoder, uids, how, config.seed)


def _name(
    config: FilterTrainConfig,
    pools: Pools,
    model: Model,
    how: Augmentation,
    views: passes.Views | None,
) -> str:
    uids = "\x1f".join(f"{p.uid}:{p.pool}:{p.source}:{p.row}" for p in pools.pairs)
    shards = "\x1f".join(str(sorted(r.paths.items())) for r in pools.readers)
    if views is None:
        return "files-" + fingerprint(f"{uids}|{shards}|{config.model.max_pixels}")
    visual: Any = model.module.visual
    part = visual.trunk if model.cached == "visual.trunk" else visual
    seed = config.seed if how.views > 1 else 0
    made = f"{state_digest(part)}|{views.encoder.preprocess}|{views.encoder.precision}"
    return "features-" + fingerprint(
        f"{uids}|{shards}|{config.model.max_pixels}|{made}|{how}|{seed}"
    )


def _run_pass(
    config: FilterTrainConfig,
    pools: Pools,
    views: passes.Views | None,
    folder: Path,
    tell: Tell,
) -> None:
    new = folder.with_name(folder.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    rows = _all_places(pools)
    if views is None:
        tell(f"checking {len(pools.pairs):,} images")
        passes.write_files(rows, len(pools.pairs), new, config.model.max_pixels)
    else:
        total = len(pools.pairs)
        tell(f"embedding {total:,} images by the frozen tower, once")

        def told(done: int) -> None:
            if done % 2048 < 64:
                tell(f"{done:,} of {total:,} images")

        passes.write_features(rows, views, new, told)
    new.rename(folder)


def _all_places(pools: Pools) -> Iterator[tuple[int, bytes | None, str | None]]:
    for number, reader in enumerate(pools.readers):
        yield from places(pools.pairs, reader, number)
