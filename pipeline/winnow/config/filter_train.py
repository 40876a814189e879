"""The recipe of a filter's training: pools, model, schedule, output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

from winnow.config.recipes import load_values
from winnow.config.run import as_config_error
from winnow.config.section import Frozen, OutputFolder
from winnow.config.yaml_text import require_finite
from winnow.core.errors import ConfigError
from winnow.core.trained_files import require_file_as_trained

FLOW = "filter_train"

_Fraction = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[int, Field(gt=0)]


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class PairColumns(Frozen):
    """Names of a trusted pool's columns."""

    #: The pair's name.
    uid: str = "uid"
    #: Bytes of an image, or its path in the pool.
    image: str = "image"
    #: A string, or a list of several right captions of one image.
    text: str = "text"


class HoldOut(Frozen):
    """Which rows of a pool are kept from the training, to measure on.

    Rows that share a caption are held out together.
    """

    #: Share of the captions held out.
    fraction: _Fraction = 0.1
    #: A file with a uid on each line, in place of the fraction.
    uids: str | None = None


class PairPool(Frozen):
    """A pool of pairs that the user trusts."""

    #: Folders, files, globs or URLs of shards.
    path: Annotated[tuple[str, ...], BeforeValidator(_one_or_more), Field(min_length=1)]
    columns: PairColumns = PairColumns()
    #: Captions that occur more often in the pool are left out.
    max_caption_repeats: _Positive | None = None
    #: A file with a uid on each line: rows that are left out.
    without: str | None = None
    hold_out: HoldOut = HoldOut()


class Start(Frozen):
    """Weights that a part of the model starts from."""

    #: all, visual, visual.trunk, visual.head, or text.
    part: Literal["all", "visual", "visual.trunk", "visual.head", "text"] = "all"
    #: An architecture (with `pretrained`), `local-dir:FOLDER`, or a .safetensors file
    #: whose keys are those of the part.
    weights: str
    #: open_clip tag, where `weights` names an architecture.
    pretrained: str | None = None


class FilterModel(Frozen):
    """What is trained, and what it starts from."""

    #: open_clip architecture, `local-dir:FOLDER`, or a `model_cfg` of open_clip's.
    architecture: str | dict[str, Any] = "ViT-B-32"
    #: open_clip's `preprocess_cfg`; what it leaves out is the architecture's own.
    preprocessing: dict[str, Any] = Field(default_factory=dict)
    #: None: all weights of a `local-dir:`, else random ones; []: random ones.
    start: tuple[Start, ...] | None = None
    #: Parts that keep the weights they start from.
    freeze: tuple[Literal["visual", "visual.trunk", "text"], ...] = ()
    #: How a frozen image tower computes: see `model.precision` of other recipes.
    frozen_precision: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    #: Images with more pixels are left out before they are decoded.
    max_pixels: _Positive = 100_000_000
    #: Words that no training caption has begin as zeros and stay so: they say nothing.
    zero_unseen_tokens: bool = False


class Augment(Frozen):
    """Random changes of training images; a frozen tower sees `views` of them."""

    #: Area of a random crop, as a share of the image; 1 to 1: no crop.
    crop: tuple[_Fraction, _Fraction] = (1.0, 1.0)
    #: Chance of a left-right flip; captions may name sides.
    flip: _Fraction = 0.0
    #: Strength of random brightness, contrast and saturation.
    jitter: _Fraction = 0.0
    #: Chance of an image without colours.
    grey: _Fraction = 0.0
    #: Chance of another size, 0.6 to 1.7 of the sides, before the model's own.
    resize: _Fraction = 0.0
    #: Chance of another JPEG encoding, of quality 35 to 75.
    jpeg: _Fraction = 0.0
    #: Views of each image that a frozen tower's cache holds; the first is unchanged.
    views: _Positive = 1


class Optimise(Frozen):
    """The loss and its descent."""

    #: CLIP's softmax over the batch, or SigLIP's sigmoid over pairs.
    loss: Literal["clip", "siglip"] = "clip"
    #: Pairs that are contrasted with each other.
    batch_size: Annotated[int, Field(ge=2)] = 256
    #: Rows whose activations are held at once; the loss is that of the whole batch.
    micro_batch: _Positive | None = None
    #: How often each pair is seen.
    epochs: Annotated[float, Field(gt=0)] = 10.0
    #: The highest rate, of AdamW.
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    #: AdamW's; of matrices alone.
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    #: Share of the steps with a rising rate; a cosine to zero follows.
    warmup: _Fraction = 0.1
    #: Longest gradient.
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    #: What the towers compute in.
    precision: Literal["float32", "bfloat16"] = "float32"
    #: Most that the logarithm of 1 / temperature may grow to.
    max_logit_scale: Annotated[float, Field(gt=0)] = math.log(100)
    #: Weight of the contrastive loss between two changed views of each image (SLIP).
    image_weight: Annotated[float, Field(ge=0)] = 0.0
    #: Temperature of that loss.
    image_temperature: Annotated[float, Field(gt=0)] = 0.1
    #: Epochs between two measurements of the held-out AUC.
    eval_every: Annotated[float, Field(gt=0)] = 1.0
    #: Measurements without a better AUC that end the training; null: never.
    patience: _Positive | None = None
    #: Steps between two checkpoints to go on from, beside those of the measurements.
    checkpoint_every: _Positive = 200
    #: Threads of torch, on a CPU; null: as torch chooses. Sums depend on it.
    threads: _Positive | None = None
    #: Threads that read and decode images.
    decode_threads: _Positive = 2


class Output(Frozen):
    """Where the filter goes."""

    #: Folder of the filter.
    path: OutputFolder = "filters/winnow"
    #: Features of frozen towers and checked images; null: below `path`.
    cache: str | None = None
    #: Of the weights as they are written.
    precision: Literal["float16", "float32"] = "float16"


class FineTune(Frozen):
    """A second stage that starts from the best weights of the first."""

    #: The second stage's pools.
    data: Annotated[tuple[PairPool, ...], Field(min_length=1)]
    #: The second stage's descent.
    optimise: Optimise = Optimise()
    #: The second stage's changes of images.
    augment: Augment = Augment()
    #: Parts that keep their weights in this stage.
    freeze: tuple[Literal["visual", "visual.trunk", "text"], ...] = ()


class ClassifierConfig(Frozen):
    """A logistic regression on vectors of `model.architecture`."""

    #: Which vectors it reads.
    vectors: Annotated[tuple[Literal["image", "text"], ...], Field(min_length=1)] = (
        "image",
        "text",
    )
    #: Weight of the penalty on squared weights.
    l2: Annotated[float, Field(gt=0)] = 1.0


def _check_views(prefix: str, augment: Augment, freeze: tuple[str, ...]) -> None:
    """Refuse to compare two views of an image that are the same, or cannot learn."""
    key = f"{prefix}optimise.image_weight"
    if "visual" in freeze:
        raise ValueError(f"{key}: the image tower is frozen; set 0")
    plain = Augment(views=augment.views)
    if augment == plain:
        raise ValueError(
            f"{key}: two views of an image are the same while {prefix}augment changes "
            "nothing; give it a crop, resize or jpeg"
        )
    if "visual.trunk" in freeze and augment.views < 2:
        raise ValueError(
            f"{key}: a frozen trunk sees {prefix}augment.views views of each image; "
            "give 2 or more"
        )


class FilterTrainConfig(Frozen):
    """A validated recipe of `winnow filter train`."""

    #: What kind of recipe this is.
    flow: Literal["filter_train"] = "filter_train"
    #: classifier: `data` against `raw` on frozen vectors, for comparison.
    kind: Literal["contrastive", "classifier"] = "contrastive"
    data: Annotated[tuple[PairPool, ...], Field(min_length=1)]
    model: FilterModel = FilterModel()
    augment: Augment = Augment()
    optimise: Optimise = Optimise()
    #: Share of the training images that get captions of others: the purity ablation.
    wrong_captions: _Fraction = 0.0
    #: Of kind classifier: the pools that the trusted ones are told from.
    raw: tuple[PairPool, ...] = ()
    classifier: ClassifierConfig = ClassifierConfig()
    fine_tune: FineTune | None = None
    output: Output = Output()
    #: Of the first weights, the order and every random change.
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _something_learns(self) -> FilterTrainConfig:
        frozen = set(self.model.freeze)
        if {"visual", "text"} <= frozen:
            raise ValueError("model.freeze: both towers are frozen, nothing learns")
        if {"visual", "visual.trunk"} <= frozen:
            raise ValueError("model.freeze: visual.trunk is a part of visual")
        return self

    @model_validator(mode="after")
    def _views_differ(self) -> FilterTrainConfig:
        stages: list[tuple[str, FilterTrainConfig | FineTune, tuple[str, ...]]]
        stages = [("", self, self.model.freeze)]
        if self.fine_tune is not None:
            stages.append(("fine_tune.", self.fine_tune, self.fine_tune.freeze))
        for prefix, stage, freeze in stages:
            if stage.optimise.image_weight:
                _check_views(prefix, stage.augment, freeze)
        return self

    def as_recipe(self) -> dict[str, Any]:
        """Return the recipe as plain values, every default written out."""
        return self.model_dump(mode="json")


def parse(recipe: Mapping[str, Any]) -> FilterTrainConfig:
    """Validate a recipe; raises ConfigError that names each faulty key."""
    require_finite(recipe)
    try:
        return FilterTrainConfig.model_validate(dict(recipe))
    except ValidationError as error:
        raise as_config_error(error, FilterTrainConfig) from error


def load(
    recipe: str | Path, overrides: Sequence[str] = (), out: str | None = None
) -> FilterTrainConfig:
    """Read, override (`section.key=value`) and validate a recipe."""
    return parse(load_values(recipe, overrides, out, FLOW))


def read_uids(file: str, key: str) -> frozenset[str]:
    """Return the uids of a file, one on each line; `key` names the setting."""
    require_file_as_trained(Path(file).expanduser())
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: {file} cannot be read: {error}") from error
    return frozenset(line.strip() for line in text.splitlines() if line.strip())
