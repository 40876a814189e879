"""Train the demo's CLIP: `python -m pipeline.demo.train --out DIR --seed 0`.

Contrastive image-text loss (Radford et al. 2021, arXiv 2103.00020, section 2.3) plus
a contrastive loss between two copies of one image (SLIP, Mu et al. 2021, arXiv
2112.12750, section 3), so that copies of an image lie closer than like scenes.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.demo.captions import describe
from pipeline.demo.copies import CHANGES, copy, decode
from pipeline.demo.drawing import jpeg, render
from pipeline.demo.scenes import compose, generator

log = logging.getLogger(__name__)

MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"layers": [1, 2, 2, 1], "width": 16, "image_size": 64},
    "text_cfg": {
        "context_length": 56,
        "vocab_size": 49408,
        "width": 64,
        "heads": 2,
        "layers": 2,
    },
}
PREPROCESSING: dict[str, Any] = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "squash",
    "size": 64,
}
#: Seeds of training scenes start here; pools use small ones.
TRAINING_SEED = 1_000_000
HELD_OUT_SEED = 2_000_000
#: Views of a scene: as rendered, then copies of it.
VIEWS = 3
#: CLIP's bounds of the logit scale: ln(1/0.07) at the start, at most ln 100.
MAX_LOGIT_SCALE = math.log(100)

Views = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that the weights depend on, apart from the machine's rounding."""

    seed: int = 0
    steps: int = 1000
    batch: int = 256
    scenes: int = 32_000
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: int = 100
    clip_norm: float = 1.0
    #: Weight and fixed inverse temperature of the image-image loss.
    image_weight: float = 0.3
    image_scale: float = 10.0


def views(seed: int, indices: range) -> Views:
    """Return views of scenes as pixels, uint8, (scenes, VIEWS, side, side, 3)."""
    from PIL import Image

    side = PREPROCESSING["size"]
    out = np.empty((len(indices), VIEWS, side, side, 3), np.uint8)
    for row, index in enumerate(indices):
        rng = generator("view", seed, index)
        first = jpeg(render(compose(seed, index)))
        files = [
            first,
            *(copy(first, rng.choice(CHANGES), rng) for _ in range(1, VIEWS)),
        ]
        for view, data in enumerate(files):
            image = decode(data).resize((side, side), Image.Resampling.BICUBIC)
            out[row, view] = np.asarray(image)
    return out


def fit(recipe: Recipe) -> Any:
    """Train and return an open_clip model in float32."""
    from pipeline.models.torchvision_ops import ensure_torchvision

    ensure_torchvision()
    import open_clip
    import torch

    torch.manual_seed(recipe.seed)
    model = open_clip.CLIP(**MODEL_CONFIG).to(memory_format=torch.channels_last)
    model.train()
    optimizer = _optimizer(model, recipe)
    contrast = open_clip.ClipLoss()
    started = time.monotonic()
    for step, (images, tokens) in enumerate(_batches(recipe)):
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(step, recipe)
        with torch.autocast("cpu", torch.bfloat16):
            both = model.encode_image(images, normalize=True).float()
            text = model.encode_text(tokens, normalize=True).float()
        one, other = both.chunk(2)
        scale = model.logit_scale.exp()
        aligned = (contrast(one, text, scale) + contrast(other, text, scale)) / 2
        alike = contrast(one, other, recipe.image_scale)
        optimizer.zero_grad()
        (aligned + recipe.image_weight * alike).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
        if step % 50 == 0 or step == recipe.steps - 1:
            log.info(
                "step %d: text loss %.3f, image loss %.3f, scale %.1f, %.0f s",
                step, aligned.item(), alike.item(), scale.item(),
                time.monotonic() - started,
            )  # fmt: skip
    return model.eval()


def _optimizer(model: Any, recipe: Recipe) -> Any:
    """Return AdamW; gains, biases and embeddings do not decay."""
    import torch

    decaying: list[Any] = []
    free: list[Any] = []
    for name, weights in model.named_parameters():
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


def _learning_rate(step: int, recipe: Recipe) -> float:
    """Return the rate of a linear warm-up followed by half a cosine."""
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _batches(recipe: Recipe) -> Iterator[tuple[Any, Any]]:
    """Yield (2·batch images, batch token rows); every caption is drawn afresh."""
    import torch

    seed = TRAINING_SEED + recipe.seed
    pixels = views(seed, range(recipe.scenes))
    log.info("rendered %d scenes", recipe.scenes)
    rng = np.random.default_rng(recipe.seed)
    order = np.empty(0, np.int64)
    for step in range(recipe.steps):
        if len(order) < recipe.batch:
            order = rng.permutation(recipe.scenes)
        rows, order = order[: recipe.batch], order[recipe.batch :]
        first = rng.integers(0, VIEWS, len(rows))
        second = (first + rng.integers(1, VIEWS, len(rows))) % VIEWS
        stack = np.concatenate([pixels[rows, first], pixels[rows, second]])
        images = _reframe(normalise(stack), torch.Generator().manual_seed(step))
        texts = [describe(compose(seed, r), generator("say", step, r)) for r in rows]
        yield images, tokenizer()(texts)


def normalise(pixels: npt.NDArray[np.uint8]) -> Any:
    """Return (n, side, side, 3) pixels as the model's float32 channels-last input."""
    import torch

    mean, std = PREPROCESSING["mean"][0], PREPROCESSING["std"][0]
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255)
    return scaled.sub_(mean).div_(std)


def _reframe(images: Any, draw: Any) -> Any:
    """Return the images cropped to 88–100 % at random, which no view repeats."""
    import torch

    count = len(images)
    zoom = 1 - 0.12 * torch.rand(count, 1, generator=draw)
    shift = (1 - zoom) * (2 * torch.rand(count, 2, generator=draw) - 1)
    frame = torch.cat([torch.diag_embed(zoom.expand(-1, 2)), shift[:, :, None]], dim=2)
    grid = torch.nn.functional.affine_grid(frame, list(images.shape), False)
    return torch.nn.functional.grid_sample(
        images, grid, padding_mode="border", align_corners=False
    ).contiguous(memory_format=torch.channels_last)


def tokenizer() -> Any:
    """Return open_clip's tokenizer at this model's context length."""
    import open_clip

    return open_clip.SimpleTokenizer(
        context_length=MODEL_CONFIG["text_cfg"]["context_length"]
    )


def evaluate(model: Any, scenes: int = 1000) -> dict[str, float]:
    """Return held-out figures: AUC of true against shuffled captions, and R@1.

    R@1 looks for the caption of an image among those of `scenes` images; several may
    be true of it.
    """
    import torch

    pixels = views(HELD_OUT_SEED, range(scenes))[:, 0]
    texts = [
        describe(compose(HELD_OUT_SEED, i), generator("say", i)) for i in range(scenes)
    ]
    with torch.no_grad():
        images = model.encode_image(normalise(pixels), normalize=True)
        captions = model.encode_text(tokenizer()(texts), normalize=True)
    scores = (images @ captions.T).numpy()
    right = scores.diagonal()
    wrong = scores[np.arange(scenes), np.roll(np.arange(scenes), 1)]
    hits = scores.argmax(axis=1) == np.arange(scenes)
    return {"auc": auc(right, wrong), "recall_at_1": float(hits.mean())}


def auc(
    higher: npt.NDArray[np.floating[Any]], lower: npt.NDArray[np.floating[Any]]
) -> float:
    """Return the chance that a draw of `higher` exceeds one of `lower`; ties half."""
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, "left")
    up_to = np.searchsorted(ordered, higher, "right")
    return float((below + up_to).mean() / 2 / len(lower))


def save(model: Any, folder: Path, recipe: Recipe) -> None:
    """Write open_clip's `local-dir:` layout with float16 weights.

    Rows of words that the training never meets are set to zero: they hold nothing but
    their random start, and a file of zeros compresses.
    """
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    unseen = torch.ones(MODEL_CONFIG["text_cfg"]["vocab_size"], dtype=torch.bool)
    unseen[_vocabulary(recipe)] = False
    state["token_embedding.weight"][unseen] = 0
    save_file(state, folder / "open_clip_model.safetensors", {"format": "pt"})
    config = {"model_cfg": MODEL_CONFIG, "preprocess_cfg": PREPROCESSING}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1) + "\n")


def _vocabulary(recipe: Recipe) -> Any:
    """Return the tokens of enough captions to hold every word of the language."""
    seed = TRAINING_SEED + recipe.seed
    texts = [describe(compose(seed, i), generator("say", 0, i)) for i in range(4000)]
    return tokenizer()(texts).unique()


def main() -> None:
    """Train, save, load again through open_clip and log the held-out figures."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=Recipe().steps)
    given = parser.parse_args()
    recipe = Recipe(seed=given.seed, steps=given.steps)

    import torch

    # One thread: sums in one order, and no stalls where other work shares the cores.
    torch.set_num_threads(1)
    save(fit(recipe), given.out, recipe)

    import open_clip

    model, _, _ = open_clip.create_model_and_transforms(
        f"local-dir:{given.out}", require_pretrained=True
    )
    log.info("held out: %s", evaluate(model.eval()))


if __name__ == "__main__":
    main()
