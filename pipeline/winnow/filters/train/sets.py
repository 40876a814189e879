"""A training's two sets of pairs: what is learned from, and what is measured on."""

from __future__ import annotations

from typing import Any

import numpy as np

from winnow.config.filter_train import FilterTrainConfig
from winnow.core.hashing import keys
from winnow.filters.train.ahead import TrainingSet
from winnow.filters.train.data import Pools, with_wrong_captions
from winnow.filters.train.images import Images
from winnow.filters.train.loop import HeldOut
from winnow.filters.train.measure import wrong_partners
from winnow.filters.train.order import Order
from winnow.filters.train.towers import tokenized
from winnow.filters.train.world import World

#: Images that the AUC is measured on while training; by hash, if there are more.
_MEASURED = 2000


def training_set(
    config: FilterTrainConfig,
    pools: Pools,
    places: dict[str, int],
    images: Images,
    tokenizer: Any,
    world: World,
) -> TrainingSet:
    """Return what is trained on, each image with all of its captions."""
    rows = pools.training()
    pairs = pools.pairs
    captions = with_wrong_captions(pairs, rows, config.wrong_captions, config.seed)
    uids = [pairs[row].uid for row in rows]
    tokens = tokenized(tokenizer, [text for texts in captions for text in texts])
    order = Order(uids, captions, config.optimise.batch_size, config.seed, world.size)
    places_of_rows = np.array([places[uid] for uid in uids], np.int64)
    return TrainingSet(images, places_of_rows, tokens, order)


def held_out_set(
    pools: Pools, places: dict[str, int], images: Images, tokenizer: Any
) -> HeldOut:
    """Return what the AUC is measured on: one caption of each image, drawn by hash."""
    pairs = [pools.pairs[row] for row in pools.measured()]
    drawn = np.argsort(keys([p.uid for p in pairs], "measured"), kind="stable")
    pairs = [pairs[drawn_row] for drawn_row in sorted(drawn[:_MEASURED].tolist())]
    uids = [pair.uid for pair in pairs]
    which = keys(uids, "measured caption")
    texts = [
        pair.captions[int(key % np.uint64(len(pair.captions)))]
        for pair, key in zip(pairs, which, strict=True)
    ]
    image_places = np.array([places[uid] for uid in uids], np.int64)
    groups = np.array([pair.pool for pair in pairs], np.int64)
    wrong: list[tuple[int, int]] = []
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group).tolist()
        within = wrong_partners(
            [uids[row] for row in members], [pairs[row].captions for row in members]
        )
        wrong += [(members[one], members[other]) for one, other in within]
    return HeldOut(images, image_places, tokenized(tokenizer, texts), wrong, groups)
