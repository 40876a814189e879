"""The training loop: one step after the other, measured, and ready to be killed.

1. Batches follow from seed and step (`order`); threads prepare them ahead.
2. A step: rate, loss, gradients, clipping, AdamW, the bound of the logit scale.
3. Now and then the held-out AUC is measured; the best weights are kept.
4. Checkpoints hold everything that step n + 1 depends on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.core.hashing import keys
from winnow.filters.train.ahead import TrainingSet, ahead
from winnow.filters.train.images import Images
from winnow.filters.train.loss import backward, make_loss, of_two_views
from winnow.filters.train.measure import held_out_auc
from winnow.filters.train.recipe import TrainingError, TrainingProgress, TrainingRecipe
from winnow.filters.train.state import StateFolder
from winnow.filters.train.towers import make_towers, set_modes
from winnow.filters.train.world import World

Tokens = npt.NDArray[np.int32]
Tell = Callable[[str], None]

_EVAL_ROWS = 256


@dataclass(frozen=True)
class HeldOut:
    """Rows to measure on: one caption each, and which captions are wrong for which.

    groups: (n,) numbers of the pools that the rows are from; `wrong` pairs rows of one.
    """

    images: Images
    rows: npt.NDArray[np.int64]
    tokens: Tokens
    wrong: list[tuple[int, int]]
    groups: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Model:
    """What learns: an open_clip model, and which parts of it are frozen."""

    module: Any
    frozen: tuple[str, ...]

    @property
    def cached(self) -> str | None:
        """The frozen part of the image tower, whose features come in its place."""
        return next((part for part in self.frozen if part != "text"), None)


class Training:
    """One training in one process of a world; `run` returns its progress."""

    def __init__(
        self,
        model: Model,
        recipe: TrainingRecipe,
        state: StateFolder,
        world: World,
        tell: Tell,
    ) -> None:
        import torch

        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        self.model, self.recipe, self.state = model, recipe, state
        self.world, self.tell = world, tell
        model.module.to(world.device)
        self._towers = make_towers(model.module, model.cached, recipe.views)
        self._towers.to(world.device)
        self._optimizer = _optimizer(model.module, recipe)
        self._loss = make_loss(recipe.loss, world)
        if recipe.image_weight:
            self._loss = of_two_views(
                self._loss,
                make_loss("clip", world),
                recipe.image_weight,
                recipe.image_temperature,
            )

    def run(self, data: TrainingSet, held_out: HeldOut) -> TrainingProgress:
        """Train from the newest checkpoint on, to the end; leave the best weights.

        Raises TrainingError when loss or gradients are no longer finite.
        """
        progress = self.state.load(self.model.module, self._optimizer)
        if progress.step:
            self.tell(f"going on from step {progress.step}")
        per_epoch = data.order.steps_per_epoch
        steps = max(1, round(self.recipe.epochs * per_epoch))
        every = max(1, round(self.recipe.eval_every * per_epoch))
        if not progress.finished:
            self._steps(data, held_out, progress, steps, every)
        self.state.load_best(self.model.module)
        return progress

    def _steps(
        self,
        data: TrainingSet,
        held_out: HeldOut,
        progress: TrainingProgress,
        steps: int,
        every: int,
    ) -> None:
        towers = self.world.wrapped(self._towers)
        set_modes(self.model.module, self.model.frozen)
        # Closed whatever ends the loop: a loss that is not finite leaves no threads.
        with closing(ahead(data, progress.step, self.recipe, self.world)) as batches:
            began = time.monotonic()
            for batch, images, tokens, waited in batches:
                loss = self._step(towers, images, tokens, progress.step, steps)
                progress.step += 1
                now = time.monotonic()
                progress.seconds += now - began
                began = now
                progress.waited += waited
                progress.loss_sum += loss
                progress.loss_steps += 1
                ended = progress.step >= steps
                measures = ended or progress.step % every == 0
                if measures:
                    self._measure(held_out, progress, batch.epoch, steps)
                    if self.recipe.patience and progress.stale >= self.recipe.patience:
                        progress.finished = "early"
                if ended:
                    progress.finished = progress.finished or "all steps"
                due = progress.step % self.recipe.checkpoint_every == 0
                if (measures or due) and self.world.first:
                    self.state.save(self.model.module, self._optimizer, progress)
                if progress.finished:
                    return
                if measures:
                    began = time.monotonic()

    def _step(
        self, towers: Any, images: Any, tokens: Any, step: int, steps: int
    ) -> float:
        import torch

        recipe, device = self.recipe, self.world.device
        # Dropout, where a model has any, is a function of seed and step as well.
        salt = f"{recipe.seed}:{step}:{self.world.rank}"
        torch.manual_seed(int(keys(["step"], salt)[0] >> np.uint64(1)))
        for group in self._optimizer.param_groups:
            group["lr"] = recipe.rate(step, steps)
        given = (
            torch.from_numpy(images).to(device),
            torch.from_numpy(tokens).long().to(device),
        )
        pieces = math.ceil(len(images) / (recipe.micro_batch or len(images)))
        self._optimizer.zero_grad(set_to_none=True)
        loss = float(backward(towers, self._loss, given, pieces, self._cast).item())
        learning = [p for g in self._optimizer.param_groups for p in g["params"]]
        norm = torch.nn.utils.clip_grad_norm_(learning, recipe.clip_norm)
        if not math.isfinite(loss) or not math.isfinite(float(norm)):
            self._stop(step, loss, float(norm))
        self._optimizer.step()
        with torch.no_grad():
            self.model.module.logit_scale.clamp_(0, recipe.max_logit_scale)
        return loss

    def _stop(self, step: int, loss: float, norm: float) -> None:
        last = self.state.latest()
        kept = f"the last good checkpoint is {last}" if last else "none is kept yet"
        raise TrainingError(
            f"step {step + 1}: the loss is {loss:g} and the gradients' norm {norm:g}; "
            f"{kept}. Lower optimise.learning_rate, raise optimise.warmup, or compute "
            "in float32"
        )

    def _cast(self) -> Any:
        import torch

        kind = self.world.device.partition(":")[0]
        on = self.recipe.precision == "bfloat16"
        return torch.autocast(kind, torch.bfloat16, enabled=on)

    def _measure(
        self, held_out: HeldOut, progress: TrainingProgress, epoch: int, steps: int
    ) -> None:
        aucs = self.aucs(held_out) if self.world.first else [0.0]
        auc = self.world.agreed(aucs[0])
        set_modes(self.model.module, self.model.frozen)
        loss = progress.loss_sum / max(1, progress.loss_steps)
        scale = math.exp(float(self.model.module.logit_scale.detach()))
        # With nothing held out there is nothing to choose by: the last weights count.
        if auc > progress.best_auc or not held_out.wrong:
            progress.best_auc, progress.best_step = auc, progress.step
            progress.stale = 0
            if self.world.first:
                self.state.save_best(self.model.module)
        else:
            progress.stale += 1
        entry = {
            "step": progress.step,
            "epoch": epoch + 1,
            "loss": loss,
            "auc": auc,
            "auc_by_pool": aucs[1:],
            "scale": scale,
            "rate": self.recipe.rate(progress.step - 1, steps),
            "seconds": progress.seconds,
            "waited": progress.waited,
        }
        progress.curve.append(entry)
        progress.loss_sum, progress.loss_steps = 0.0, 0
        share = progress.waited / max(progress.seconds, 1e-9)
        self.tell(
            f"step {progress.step:,} of {steps:,}, epoch {epoch + 1}: loss {loss:.3f}, "
            f"AUC {auc:.4f}, scale {scale:.1f}, {progress.seconds:.0f} s, "
            f"{share:.0%} waiting for data"
        )

    def aucs(self, held_out: HeldOut) -> list[float]:
        """Return the AUC of all rows held out, then that of each pool's."""
        images, texts = self.vectors(held_out)
        values = [held_out_auc(images, texts, held_out.wrong)]
        for group in np.unique(held_out.groups):
            inside = np.flatnonzero(held_out.groups == group)
            rank = {row: number for number, row in enumerate(inside.tolist())}
            wrong = [(rank[a], rank[b]) for a, b in held_out.wrong if a in rank]
            values.append(held_out_auc(images[inside], texts[inside], wrong))
        return values

    def vectors(self, held_out: HeldOut) -> tuple[Any, Any]:
        """Return unit vectors of the held-out images and captions, (n, dim) each."""
        import torch

        self.model.module.eval()
        device = self.world.device
        images, texts = [], []
        with torch.inference_mode(), self._cast():
            for start in range(0, len(held_out.rows), _EVAL_ROWS):
                rows = slice(start, start + _EVAL_ROWS)
                given = torch.from_numpy(held_out.images.plain(held_out.rows[rows]))
                tokens = torch.from_numpy(held_out.tokens[rows]).long()
                images.append(self._towers.images(given.to(device)).cpu().numpy())
                texts.append(self._towers.texts(tokens.to(device)).cpu().numpy())
        if not images:
            nothing = np.zeros((0, 1), np.float32)
            return nothing, nothing
        return np.concatenate(images), np.concatenate(texts)


def _optimizer(model: Any, recipe: TrainingRecipe) -> Any:
    """Return AdamW as in CLIP: gains, biases and embeddings do not decay."""
    import torch

    decaying: list[Any] = []
    free: list[Any] = []
    for name, weights in model.named_parameters():
        if weights.requires_grad:
            plain = weights.ndim < 2 or "embedding" in name
            (free if plain else decaying).append(weights)
    return torch.optim.AdamW(
        [
            {"params": decaying, "weight_decay": recipe.weight_decay},
            {"params": free, "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
        eps=1e-6,
    )
