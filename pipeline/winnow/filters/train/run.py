"""Training a filter: pools in, an open_clip checkpoint with its record out.

1. Pools are read, and pairs held out.
2. The model is built and started; its frozen part runs once over all images.
3. The loop trains; killed, it goes on from its newest checkpoint.
4. The best weights, the manifest, curves, the model card and a page are written.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from winnow.config.filter_train import FilterTrainConfig, Start
from winnow.core.errors import ConfigError
from winnow.core.extras import require
from winnow.core.hashing import fingerprint
from winnow.core.run_log import EVENTS, logged
from winnow.core.versions import versions
from winnow.filters.train import build as building
from winnow.filters.train.data import Pools, counted, open_pools
from winnow.filters.train.export import CONFIG, export
from winnow.filters.train.image_source import prepare_images
from winnow.filters.train.loop import Model, Training
from winnow.filters.train.recipe import TrainingRecipe
from winnow.filters.train.record import FilterResult, finished, starts, write_record
from winnow.filters.train.sets import held_out_set, training_set
from winnow.filters.train.state import StateFolder, write_whole
from winnow.filters.train.world import World, joined
from winnow.models.local_model import LOCAL_DIR

Tell = Callable[[str], None]

_log = logging.getLogger(__name__)

FIRST_STAGE = "first_stage"


def train_filter(config: FilterTrainConfig, tell: Tell = _log.info) -> FilterResult:
    """Train a filter, in two stages if the recipe has `fine_tune`.

    The same call after a crash goes on; after the end it returns at once. Raises
    ConfigError, InputError, and TrainingError when the loss is no longer finite.
    """
    if config.kind != "contrastive":
        raise ConfigError("kind: classifier is trained by `winnow filter train` alone")
    require("filters", "training a filter")
    with joined() as world:
        said: Tell = _noted(tell) if world.first else lambda line: None
        if config.fine_tune is None:
            return _stage(config, world, said)
        return _stage(_second(config, world, said), world, said)


def _noted(tell: Tell) -> Tell:
    """Return what tells a line, and has it stand in the log."""

    def told(line: str) -> None:
        EVENTS.info("%s", line)
        tell(line)

    return told


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
    state = StateFolder(out / "state", _fingerprint(config, pools), tell)
    done = finished(out, state.fingerprint, tell)
    if done is not None:
        if world.first:
            # A training may be killed between its manifest and its end.
            state.finish()
        tell(f"{out}: trained before")
        return done
    state.check()
    with ExitStack() as held:
        if world.first:
            state.begin()
            held.enter_context(state.locked())
            state.prepare()
            held.enter_context(logged(out))
            EVENTS.info("%s, %s", [pool.path for pool in config.data], versions())
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
    places = {pair.uid: index for index, pair in enumerate(pools.pairs)}
    data = training_set(config, used, places, images, tokenizer, world)
    if config.model.zero_unseen_tokens:
        building.zero_unseen_tokens(model.module, data.tokens)
    held_out = held_out_set(used, places, images, tokenizer)
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
        write_record(config, used, progress, result, written, state.fingerprint)
        state.finish()
    world.wait()
    return result


def _recipe(config: FilterTrainConfig) -> TrainingRecipe:
    return TrainingRecipe(**config.optimise.model_dump(), seed=config.seed)


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
    weights = [building.weights_sha256(start) for start in starts(config)]
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
    module, tokenizer = building.build(folder, starts(config), config.seed)
    building.freeze(module, config.model.freeze)
    return Model(module, config.model.freeze), tokenizer, described
