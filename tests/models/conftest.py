"""Checkpoints of random weights in open_clip's `local-dir:` layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

VISION: dict[str, dict[str, Any]] = {
    "vit": {"layers": 2, "width": 32, "patch_size": 8, "head_width": 16},
    # A residual network has batch norms, which a transformer has not.
    "resnet": {"layers": [1, 1, 1, 1], "width": 16, "head_width": 64},
}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
PREPROCESS = {
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.3, 0.4],
    "interpolation": "bicubic",
}

Save = Callable[..., str]


@pytest.fixture(scope="session")
def save_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Save:
    """Return save(tower="vit", **preprocess) -> "local-dir:FOLDER"."""

    def save(tower: str = "vit", **preprocess: Any) -> str:
        from pipeline.models.torchvision_ops import ensure_torchvision

        ensure_torchvision()
        import open_clip
        import torch
        from safetensors.torch import save_file

        cfg = {
            "embed_dim": 24,
            "vision_cfg": {"image_size": 32, **VISION[tower]},
            "text_cfg": TEXT,
        }
        torch.manual_seed(1)
        model = open_clip.CLIP(**cfg)
        for name, buffer in model.named_buffers():
            if "running" in name:  # as if trained: neither 0 nor 1
                buffer.uniform_(0.5, 2.0)
        folder: Path = tmp_path_factory.mktemp("checkpoint")
        (folder / "open_clip_config.json").write_text(
            json.dumps(
                {"model_cfg": cfg, "preprocess_cfg": {**PREPROCESS, **preprocess}}
            )
        )
        state = {name: value.contiguous() for name, value in model.state_dict().items()}
        save_file(state, folder / "open_clip_model.safetensors")
        return f"local-dir:{folder}"

    return save


@pytest.fixture(scope="session")
def tiny_vit(save_checkpoint: Save) -> str:
    return save_checkpoint("vit", resize_mode="shortest")


@pytest.fixture(scope="session")
def tiny_resnet(save_checkpoint: Save) -> str:
    return save_checkpoint("resnet", resize_mode="squash")
