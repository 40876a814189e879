"""The two towers as one module: images and tokens in, what the losses take out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.core.errors import ConfigError
from winnow.models.encoder import CHARACTERS_PER_TOKEN
from winnow.models.preprocess import Preprocessing


def make_towers(model: Any, frozen: str | None, views: int = 1) -> Any:
    """Return a module of (images, tokens) → (image, text, scale, bias).

    frozen: `visual` or `visual.trunk`, whose features then come in as images; None:
    images are (b, height, width, 3) uint8. image, text: (b, dim) unit vectors, float32;
    scale: the logit scale; bias: SigLIP's, or None. With several views of each image,
    images are (b, views, …), and the vectors of images (b, views, dim).
    """
    import torch

    preprocess = Preprocessing.of(model.visual.preprocess_cfg)
    head = getattr(model.visual, "head", None)
    if frozen == "visual.trunk" and head is None:
        raise ConfigError("model.freeze: this image tower has no trunk and head")

    class Towers(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            mean, std = torch.tensor(preprocess.mean), torch.tensor(preprocess.std)
            self.register_buffer("mean", mean.view(1, 3, 1, 1), persistent=False)
            self.register_buffer("std", std.view(1, 3, 1, 1), persistent=False)

        def images(self, given: Any) -> Any:
            if frozen == "visual":
                features = given
            elif frozen == "visual.trunk":
                features = self.model.visual.head(given)
            else:
                features = self.model.encode_image(_scaled(given, self.mean, self.std))
            return torch.nn.functional.normalize(features.float(), dim=-1)

        def texts(self, tokens: Any) -> Any:
            features = self.model.encode_text(tokens)
            return torch.nn.functional.normalize(features.float(), dim=-1)

        def forward(self, given: Any, tokens: Any) -> Any:
            scale = self.model.logit_scale.exp()
            bias = getattr(self.model, "logit_bias", None)
            # A copy, since a loss adds to logits in place.
            bias = None if bias is None else bias * 1.0
            image = self.images(given if views == 1 else given.flatten(0, 1))
            image = image if views == 1 else image.unflatten(0, (-1, views))
            return image, self.texts(tokens), scale, bias

    return Towers()


def _scaled(given: Any, mean: Any, std: Any) -> Any:
    """Return (b, height, width, 3) uint8 images as the tower takes them."""
    import torch

    pixels = given.permute(0, 3, 1, 2).float().div(255)
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


def set_modes(model: Any, frozen: tuple[str, ...]) -> None:
    """Training mode, but for frozen parts, whose batch norms must not move."""
    model.train()
    if "visual" in frozen:
        model.visual.eval()
    elif "visual.trunk" in frozen:
        model.visual.trunk.eval()


def tokenized(tokenizer: Any, texts: list[str]) -> npt.NDArray[np.int32]:
    """Return (n, context) token ids of captions, cut as by `Encoder.tokenize`."""
    limit = CHARACTERS_PER_TOKEN * int(getattr(tokenizer, "context_length", 77))
    parts = []
    for start in range(0, len(texts), 1024):
        cut = [text.lstrip()[:limit] for text in texts[start : start + 1024]]
        parts.append(tokenizer(cut).numpy().astype(np.int32))
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.int32)
