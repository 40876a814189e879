"""A trained filter as open_clip's `local-dir:` layout."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from winnow.filters.train.state import contiguous, write_whole
from winnow.models.checkpoint import sha256

WEIGHTS = "open_clip_model.safetensors"
CONFIG = "open_clip_config.json"


def export(
    model: Any, config: dict[str, Any], folder: Path, precision: str
) -> dict[str, Any]:
    """Write config and weights; return what the manifest says of them.

    precision: float16 or float32, of the stored weights.
    """
    import torch
    from safetensors.torch import save_file

    kind = getattr(torch, precision)
    state = {
        name: value.to(kind) if value.is_floating_point() else value
        for name, value in contiguous(model.state_dict()).items()
    }
    new = folder / (WEIGHTS + ".new")
    save_file(state, new, {"format": "pt"})
    write_whole(folder / CONFIG, json.dumps(config, indent=1) + "\n")
    os.replace(new, folder / WEIGHTS)
    return {
        "file": WEIGHTS,
        "sha256": sha256(folder / WEIGHTS),
        "bytes": (folder / WEIGHTS).stat().st_size,
        "precision": precision,
        "parameters": sum(weights.numel() for weights in model.parameters()),
    }
