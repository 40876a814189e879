"""Training a filter: pools in, an open_clip checkpoint with its record out.

1. Pools are read, and pairs held out.
2. The model is built and started; its frozen part runs once over all images.
3. The loop trains; killed, it goes on from its newest checkpoint.
4. The best weights, the manifest, curves, the model card and a page are written.
"""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.filter_train import FilterTrainConfig, Start
from pipeline.core.errors import ConfigError
from pipeline.core.hashing import fingerprint, keys
from pipeline.flows.code_version import code_version
from pipeline.flows.filter_data import (
    LeftOut,
    Pools,
    counted,
    open_pools,
    with_wrong_captions,
)
from pipeline.flows.filter_images import prepare_images
from pipeline.models.checkpoint import LOCAL_DIR
from pipeline.models.training import build as building
from pipeline.models.training.export import CONFIG, export
from pipeline.models.training.images import Images
from pipeline.models.training.loop import HeldOut, Model, Training, TrainingSet
from pipeline.models.training.measure import wrong_partners
from pipeline.models.training.order import Order
from pipeline.models.training.recipe import Progress, Recipe
from pipeline.models.training.state import StateFolder, write_whole
from pipeline.models.training.towers import tokenized
from pipeline.models.training.world import World, joined

Tell = Callable[[str], None]

_log = logging.getLogger(__name__)

FIRST_STAGE = "first_stage"
#: Images that the AUC is measured on while training; by hash, if there are more.
_MEASURED = 2000


@dataclass(frozen=True, slots=True)
class FilterResult:
    """A trained filter: its `local-dir:` folder, held-out AUC, and what was used."""

    path: Path
    auc: float
    trained_on: int
    held_out: int
    left_out: dict[str, int]
    steps: int
    #: AUC after the last step; `auc` is the best one, whose weights are kept.
    last_auc: float = 0.5

    @property
    def name(self) -> str:
        """What a recipe's `model.name` takes."""
        return f"{LOCAL_DIR}{self.path}"


def train_filter(config: FilterTrainConfig, tell: Tell = _log.info) -> FilterResult:
    """Train a filter, in two stages if the recipe has `fine_tune`.

    The same call after a crash goes on; after the end it returns at once. Raises
    ConfigError, InputError, and TrainingError when the loss is no longer finite.
    """
    if config.kind != "contrastive":
        raise ConfigError("kind: classifier is trained by `winnow filter train` alone")
    with joined() as world:
        said: Tell = tell if world.first else lambda line: None
        if config.fine_tune is None:
            return _stage(config, world, said)
        return _stage(_second(config, world, said), world, said)


def _second(config: FilterTrainConfig, world: World, tell: Tell) -> FilterTrainConfig:
    """Train the first stage; return the recipe of the second, which starts from it."""
    assert config.fine_tune is not None
    stage = config.fine_tune
    first = Path(config.output.path) / FIRST_STAGE
    output = config.output.model_copy(
        update={"path": str(first), "precision": "float32"}
    )
    tell("first stage")
    _stage(config.model_copy(update={"fine_tune": None, "output": output}), world, tell)
    tell("second stage")
    model = config.model.model_copy(
        update={
            "architecture": f"{LOCAL_DIR}{first}",
            "start": (Start(weights=f"{LOCAL_DIR}{first}"),),
            "freeze": stage.freeze,
        }
    )
    return config.model_copy(
        update={
            "fine_tune": None,
            "model": model,
            "data": stage.data,
            "optimise": stage.optimise,
            "augment": stage.augment,
            "wrong_captions": 0.0,
        }
    )


def _stage(config: FilterTrainConfig, world: World, tell: Tell) -> FilterResult:
    out = Path(config.output.path).expanduser()
    pools = open_pools(config.data, config.seed)
    state = StateFolder(out / "state", _fingerprint(config, pools))
    state.check()
    done = _finished(out, state.fingerprint)
    if done is not None:
        tell(f"{out}: trained before")
        return done
    with ExitStack() as held:
        if world.first:
            state.begin()
            held.enter_context(state.locked())
        world.wait()
        return _train(config, pools, state, world, tell)


def _train(
    config: FilterTrainConfig,
    pools: Pools,
    state: StateFolder,
    world: World,
    tell: Tell,
) -> FilterResult:
    out = state.path.parent
    model, tokenizer, described = _model(config, out, world)
    images, rejected = prepare_images(config, pools, model, world, tell)
    used = pools.without(rejected)
    places = {pair.uid: place for place, pair in enumerate(pools.pairs)}
    data = _training_set(config, used, places, images, tokenizer, world)
    held_out = _held_out(used, places, images, tokenizer)
    tell(
        f"{len(data.rows):,} images to train on, {len(used.measured()):,} held out, "
        f"{len(used.left_out):,} left out; {data.order.size} to a batch"
    )
    recipe = _recipe(config)
    training = Training(model, recipe, state, world, tell)
    progress = training.run(data, held_out)
    result = FilterResult(
        out,
        progress.best_auc,
        len(data.rows),
        len(used.measured()),
        counted(used.left_out),
        progress.step,
        progress.curve[-1]["auc"],
    )
    if world.first:
        written = export(model.module, described, out, config.output.precision)
        _write_record(config, used, progress, result, written, state.fingerprint)
        state.finish()
    world.wait()
    return result


def _recipe(config: FilterTrainConfig) -> Recipe:
    return Recipe(**config.optimise.model_dump(), seed=config.seed)


def _starts(config: FilterTrainConfig) -> list[building.StartFrom]:
    model = config.model
    if model.start is None:
        own = model.architecture
        if isinstance(own, str) and own.startswith(LOCAL_DIR):
            return [building.StartFrom("all", own)]
        return []
    return [building.StartFrom(**start.model_dump()) for start in model.start]


def _fingerprint(config: FilterTrainConfig, pools: Pools) -> str:
    """Return a fingerprint of all that the weights depend on."""
    plain = config.as_recipe()
    for key in ("output", "data", "kind", "raw", "classifier"):
        del plain[key]
    plain["optimise"] = {
        k: v
        for k, v in plain["optimise"].items()
        if k not in ("checkpoint_every", "decode_threads")
    }
    weights = [building.weights_sha256(start) for start in _starts(config)]
    held = sorted(pools.held_out)
    said = json.dumps([plain, pools.fingerprint, held, weights], sort_keys=True)
    return fingerprint(said)


def _model(
    config: FilterTrainConfig, out: Path, world: World
) -> tuple[Model, Any, dict[str, Any]]:
    described = building.open_clip_config(
        config.model.architecture, config.model.preprocessing, config.optimise.loss
    )
    folder = out / "state" / "architecture"
    if world.first:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / CONFIG, json.dumps(described))
    world.wait()
    module, tokenizer = building.build(folder, _starts(config), config.seed)
    building.freeze(module, config.model.freeze)
    return Model(module, config.model.freeze), tokenizer, described


def _training_set(
    config: FilterTrainConfig,
    pools: Pools,
    places: dict[str, int],
    images: Images,
    tokenizer: Any,
    world: World,
) -> TrainingSet:
    rows = pools.training()
    pairs = pools.pairs
    captions = with_wrong_captions(pairs, rows, config.wrong_captions, config.seed)
    uids = [pairs[row].uid for row in rows]
    tokens = tokenized(tokenizer, [text for texts in captions for text in texts])
    order = Order(uids, captions, config.optimise.batch_size, config.seed, world.size)
    at = np.array([places[uid] for uid in uids], np.int64)
    return TrainingSet(images, at, tokens, order)


def _held_out(
    pools: Pools, places: dict[str, int], images: Images, tokenizer: Any
) -> HeldOut:
    """Return what the AUC is measured on: one caption of each image, drawn by hash."""
    pairs = [pools.pairs[row] for row in pools.measured()]
    drawn = np.argsort(keys([p.uid for p in pairs], "measured"), kind="stable")
    pairs = [pairs[place] for place in sorted(drawn[:_MEASURED].tolist())]
    uids = [pair.uid for pair in pairs]
    which = keys(uids, "measured caption")
    texts = [
        pair.captions[int(key % np.uint64(len(pair.captions)))]
        for pair, key in zip(pairs, which, strict=True)
    ]
    at = np.array([places[uid] for uid in uids], np.int64)
    groups = np.array([pair.pool for pair in pairs], np.int64)
    wrong: list[tuple[int, int]] = []
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group).tolist()
        within = wrong_partners(
            [uids[row] for row in own], [pairs[row].captions for row in own]
        )
        wrong += [(own[one], own[other]) for one, other in within]
    return HeldOut(images, at, tokenized(tokenizer, texts), wrong, groups)


def _finished(out: Path, mark: str) -> FilterResult | None:
    try:
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if manifest.get("fingerprint") != mark:
        return None
    found = manifest["result"]
    return FilterResult(
        out,
        found["auc"],
        found["trained_on"],
        found["held_out"],
        found["left_out"],
        found["steps"],
        found["last_auc"],
    )


def _write_record(
    config: FilterTrainConfig,
    pools: Pools,
    progress: Progress,
    result: FilterResult,
    weights: dict[str, Any],
    mark: str,
) -> None:
    """Write quarantine, curves, hold-out, page and card; the manifest comes last."""
    from pipeline.reports.training import write_pages

    out = result.path
    _write_left_out(out / "quarantine.parquet", pools.left_out)
    held = "".join(f"{uid}\n" for uid in sorted(pools.held_out))
    write_whole(out / "held_out.txt", held)
    pq.write_table(pa.Table.from_pylist(progress.curve), out / "curves.parquet")
    manifest = {
        "fingerprint": mark,
        "result": {
            "auc": progress.best_auc,
            "best_step": progress.best_step,
            "last_auc": result.last_auc,
            "auc_by_pool": _by_pool(pools, progress),
            "steps": progress.step,
            "ended": progress.finished,
            "trained_on": result.trained_on,
            "held_out": result.held_out,
            "left_out": result.left_out,
            "rows": pools.rows,
            "seconds": progress.seconds,
            "waited_for_data": progress.waited / max(progress.seconds, 1e-9),
        },
        "weights": weights,
        "data": {
            "fingerprint": pools.fingerprint,
            "pools": [pool.model_dump(mode="json") for pool in config.data],
        },
        "starts": [
            {**asdict(start), "sha256": building.weights_sha256(start)}
            for start in _starts(config)
        ],
        "seed": config.seed,
        "recipe": config.as_recipe(),
        "versions": _versions(),
    }
    write_pages(out, manifest, progress.curve)
    write_whole(out / "manifest.json", json.dumps(manifest, indent=1) + "\n")


def _by_pool(pools: Pools, progress: Progress) -> dict[str, float]:
    """Return the kept weights' AUC on the rows that each pool (by number) holds out."""
    numbers = sorted({pools.pairs[row].pool for row in pools.measured()})
    best = next(e for e in progress.curve if e["step"] == progress.best_step)
    return {str(n): v for n, v in zip(numbers, best["auc_by_pool"], strict=False)}


def _write_left_out(file: Path, left_out: list[LeftOut]) -> None:
    columns = {
        "uid": pa.array([row.uid for row in left_out], pa.string()),
        "pool": pa.array([row.pool for row in left_out], pa.int32()),
        "source": pa.array([row.source for row in left_out], pa.string()),
        "row": pa.array([row.row for row in left_out], pa.int64()),
        "reason": pa.array([row.reason for row in left_out], pa.string()),
    }
    pq.write_table(pa.table(columns), file)


def _versions() -> dict[str, str]:
    import open_clip
    import torch

    return {
        "winnow": code_version(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "open_clip": str(open_clip.__version__),
    }
