"""What a training depends on, as plain values, and what it hands back."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from winnow.core.errors import WinnowError

Part = Literal["all", "visual", "visual.trunk", "visual.head", "text"]


class TrainingError(WinnowError):
    """The training cannot go on; the message names step, cause and remedy."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random changes of a training image; see `config.filter_train.Augment`."""

    crop: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.0
    jitter: float = 0.0
    grey: float = 0.0
    resize: float = 0.0
    jpeg: float = 0.0
    views: int = 1

    @property
    def changes(self) -> bool:
        """Whether an image may come out changed."""
        chances = (self.flip, self.jitter, self.grey, self.resize, self.jpeg)
        return self.crop != (1.0, 1.0) or max(chances) > 0


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """The loss and its descent; see `config.filter_train.Optimise`."""

    loss: Literal["clip", "siglip"] = "clip"
    batch_size: int = 256
    micro_batch: int | None = None
    epochs: float = 10.0
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    warmup: float = 0.1
    clip_norm: float = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    max_logit_scale: float = math.log(100)
    image_weight: float = 0.0
    image_temperature: float = 0.1
    eval_every: float = 1.0
    patience: int | None = None
    checkpoint_every: int = 200
    threads: int | None = None
    decode_threads: int = 2
    seed: int = 0

    @property
    def views(self) -> int:
        """Views of each image in a step: two where they are compared."""
        return 2 if self.image_weight else 1

    def rate(self, step: int, steps: int) -> float:
        """Return the rate of a linear rise followed by half a cosine to zero."""
        rising = round(self.warmup * steps)
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        done = (step - rising) / max(1, steps - rising)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(slots=True)
class TrainingProgress:
    """How far a training is: all that a resumed one must know beside the tensors."""

    step: int = 0
    best_auc: float = -1.0
    best_step: int = 0
    #: Measurements since the best one.
    stale: int = 0
    #: One entry per measurement: step, epoch, loss, auc, scale, seconds, waited.
    curve: list[dict[str, Any]] = field(default_factory=list)
    #: Sums since the last measurement, and over the training.
    loss_sum: float = 0.0
    loss_steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    finished: str = ""
