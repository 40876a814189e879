"""What evaluation sets are compared by: their vectors, hashes, runs of words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.filter.contamination import SIDE, perceptual_hashes, run_index
from winnow.config.filter_steps import OutsideSet
from winnow.core.errors import ConfigError, InputError
from winnow.core.run_log import told_of
from winnow.models.encoder import ModelSpec
from winnow.models.images import Box, ImageRejected, decode_rgb, grey_pixels
from winnow.steps.outside_sets import outside_vectors, read_outside

Facts = dict[str, Any]

WHOLE: tuple[Box, ...] = ((0.0, 0.0, 1.0, 1.0),)


def _crops() -> tuple[Box, ...]:
    """Return the whole picture and, of two sizes, its middle and its four corners."""
    places = ((0.5, 0.5), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
    boxes = []
    for share in (0.95, 0.9):
        for across, down in places:
            left, top = across * (1 - share), down * (1 - share)
            # Rounding must not reach beyond the picture.
            right, bottom = min(1.0, left + share), min(1.0, top + share)
            boxes.append((left, top, right, bottom))
    return (*WHOLE, *boxes)


#: What of an evaluation image is hashed, so that a cropped copy is found too: the
#: hashes of a photograph and of the middle nine tenths of it differ in 9 bits (median),
#: more than those of some pairs of different photographs.
CROPS = _crops()


@dataclass(frozen=True)
class Items:
    """Evaluation items by their vectors (m, dim) or hashes (m,), as SET:UID."""

    names: list[str]
    values: npt.NDArray[Any]

    def called(self, rows: npt.NDArray[np.int64]) -> list[str | None]:
        """Return the items' names; None for −1."""
        return [self.names[row] if row >= 0 else None for row in rows.tolist()]


@dataclass(frozen=True)
class Captions:
    """Evaluation captions by the hashes of their runs of words, sorted."""

    names: list[str]
    hashes: npt.NDArray[np.uint64]
    owners: npt.NDArray[np.int64]

    def called(self, rows: npt.NDArray[np.int64]) -> list[str | None]:
        """Return the names of the captions' items; None for −1."""
        return [self.names[row] if row >= 0 else None for row in rows.tolist()]


def evaluation_vectors(
    sets: Sequence[OutsideSet], spec: ModelSpec, dim: int
) -> tuple[Items, Facts]:
    """Return the images' vectors of all sets, and what the manifest says of them.

    Raises ConfigError if no set has images or vectors.
    """
    _require(sets, "image_vectors", "images or vectors")
    sets_vectors = [(given.title, outside_vectors(given, spec, dim)) for given in sets]
    names = [f"{title}:{name}" for title, part in sets_vectors for name in part.names]
    matrix = np.concatenate([part.matrix for _, part in sets_vectors])
    return Items(names, matrix), {title: part.facts for title, part in sets_vectors}


def evaluation_hashes(
    sets: Sequence[OutsideSet], max_pixels: int
) -> tuple[Items, Facts]:
    """Return the images' perceptual hashes of all sets, and how many could not be read.

    Raises ConfigError if no set has images, InputError if none of them can be read.
    """
    _require(sets, "perceptual_hash", "images")
    names: list[str] = []
    hashes: list[npt.NDArray[np.uint64]] = []
    facts: Facts = {}
    for given in sets:
        unusable: Counter[str] = Counter()
        before = len(names)
        for part in read_outside(given, ("image",)):
            crop_hashes, faults = hash_images(part, max_pixels, CROPS)
            reasons = pc.coalesce(part.column("reason"), faults)
            good = pc.is_null(reasons).to_numpy(zero_copy_only=False)
            unusable.update(reasons.drop_null().to_pylist())
            uids = part.column("uid").filter(pa.array(good)).to_pylist()
            names += [f"{given.title}:{uid}" for uid in uids for _ in CROPS]
            hashes.append(crop_hashes[good].reshape(-1))
        images = (len(names) - before) // len(CROPS)
        facts[given.title] = {"images": images, "unusable": dict(unusable)}
    if not names:
        raise InputError(f"decontaminate: no image of {list(facts)} can be read")
    return Items(names, np.concatenate(hashes)), facts


def hash_images(
    part: pa.RecordBatch, max_pixels: int, boxes: Sequence[Box] = WHOLE
) -> tuple[npt.NDArray[np.uint64], pa.Array]:
    """Return hashes of a batch's images, (n, boxes), 0 where there is none, and faults.

    part: of columns `uid` and `image`.
    """
    images = told_of(part["uid"].to_pylist(), part["image"].to_pylist())
    squares = np.zeros((len(part), len(boxes), SIDE, SIDE), np.uint8)
    faults: list[str | None] = []
    for row, data in enumerate(images):
        fault = None
        try:
            if data is None:
                raise ImageRejected("image_missing")
            image = decode_rgb(data, max_pixels)
            squares[row] = grey_pixels(image, (SIDE, SIDE), boxes)
        except ImageRejected as rejected:
            fault = str(rejected)
        faults.append(fault)
    hashes = perceptual_hashes(squares.reshape(-1, SIDE, SIDE))
    return hashes.reshape(len(part), -1), pa.array(faults, pa.string())


def evaluation_captions(
    sets: Sequence[OutsideSet], words: int
) -> tuple[Captions, Facts]:
    """Return the runs of words of all sets' captions, and their numbers.

    A list column holds several captions of an item. Raises ConfigError if no set has
    captions.
    """
    _require(sets, "captions", "captions")
    names: list[str] = []
    captions: list[str | None] = []
    facts: Facts = {}
    for given in sets:
        before = len(names)
        for part in read_outside(given, (), (str(given.text),)):
            uids = part.column("uid").to_pylist()
            texts = part.column(f"extra.{given.text}").to_pylist()
            for uid, text in zip(uids, texts, strict=True):
                for one in text if isinstance(text, list) else [text]:
                    names.append(f"{given.title}:{uid}")
                    captions.append(None if one is None else str(one))
        facts[given.title] = {"captions": len(names) - before}
    hashes, owners = run_index(captions, words)
    facts["runs"] = len(hashes)
    return Captions(names, hashes, owners), facts


def _require(sets: Sequence[OutsideSet], criterion: str, what: str) -> None:
    if not sets:
        raise ConfigError(
            f"decontaminate.by: {criterion} needs {what}, and no set of `against` has "
            "them; take it out, or name their column"
        )
