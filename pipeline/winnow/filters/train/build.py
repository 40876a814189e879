"""Models to train: open_clip's architectures, and weights for their parts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.core.errors import ConfigError, did_you_mean
from winnow.core.hashing import digest
from winnow.core.trained_files import require_file_as_trained
from winnow.filters.train.recipe import Part
from winnow.models.checkpoint import load_checkpoint, sha256
from winnow.models.local_model import LOCAL_DIR, check_config, inner_towers, read_config
from winnow.models.torchvision_ops import ensure_torchvision

#: SigLIP's start (Zhai et al. 2023, section 3.1): scale 10, bias −10.
_SIGLIP_START = {"init_logit_scale": math.log(10), "init_logit_bias": -10.0}
_SCALARS = ("logit_scale", "logit_bias")


@dataclass(frozen=True, slots=True)
class StartFrom:
    """Weights that a part of the model starts from."""

    part: Part
    weights: str
    pretrained: str | None = None


def open_clip_config(
    architecture: str | Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    loss: str,
) -> dict[str, Any]:
    """Return `model_cfg` and `preprocess_cfg`, as open_clip_config.json holds them.

    Raises ConfigError if the architecture is unknown.
    """
    model, model_preprocessing = _model_cfg(architecture)
    vision = model.get("vision_cfg")
    if not isinstance(vision, dict) or "text_cfg" not in model:
        raise ConfigError(
            "model.architecture: a model_cfg has embed_dim, vision_cfg and text_cfg"
        )
    if "timm_model_name" in vision:
        # Weights come from `model.start`, never from the network on their own.
        vision["timm_model_pretrained"] = False
    if loss == "siglip" and "init_logit_bias" not in model:
        model.update(_SIGLIP_START)
    size = vision.get("image_size", 224)
    return {
        "model_cfg": model,
        "preprocess_cfg": {
            **_defaults(),
            **model_preprocessing,
            **preprocessing,
            "size": size,
        },
    }


def _defaults() -> dict[str, Any]:
    ensure_torchvision()
    from dataclasses import asdict

    from open_clip.transform import PreprocessCfg

    return asdict(PreprocessCfg())


def _model_cfg(
    architecture: str | Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    ensure_torchvision()
    import open_clip

    if not isinstance(architecture, str):
        return json.loads(json.dumps(architecture)), {}
    if architecture.startswith(LOCAL_DIR):
        folder = Path(architecture.removeprefix(LOCAL_DIR))
        config = read_config(folder)
        check_config(config, folder, f"model.architecture: {architecture}")
        model = {**config["model_cfg"], **inner_towers(config, folder)}
        return model, dict(config.get("preprocess_cfg") or {})
    known = open_clip.get_model_config(architecture.replace("/", "-"))
    if known is None:
        hint = did_you_mean(architecture, open_clip.list_models())
        raise ConfigError(f"model.architecture: unknown '{architecture}'; {hint}")
    return known, {}


def build(folder: Path, starts: Sequence[StartFrom], seed: int) -> tuple[Any, Any]:
    """Return (model in float32, tokenizer) for the open_clip_config.json of a folder.

    Weights are drawn from `seed`, then replaced part by part. Raises ConfigError if
    the model cannot be built, or if weights are missing or do not fit.
    """
    ensure_torchvision()
    import open_clip
    import torch

    torch.manual_seed(seed)
    described = json.loads((folder / "open_clip_config.json").read_text("utf-8"))
    try:
        model = _random_model(described)
        tokenizer = open_clip.get_tokenizer(f"{LOCAL_DIR}{folder}")
    except Exception as error:  # whatever open_clip and timm raise on a bad model_cfg
        raise ConfigError(f"model.architecture: cannot be built: {error}") from error
    for start in starts:
        load_part(model, start)
    return model, tokenizer


def _random_model(described: dict[str, Any]) -> Any:
    """Return what open_clip's factory makes without weights, and without warnings."""
    import open_clip
    from open_clip.model import set_model_preprocess_cfg
    from open_clip.transform import PreprocessCfg

    given = dict(described["model_cfg"])
    hub_text = "hf_model_name" in given["text_cfg"]
    if hub_text:
        given["text_cfg"] = {**given["text_cfg"], "hf_model_pretrained": False}
    custom = given.pop("custom_text", False) or hub_text
    if "multimodal_cfg" in given:
        raise ValueError("CoCa models have a decoder, which this loss does not train")
    model = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**given)
    preprocess = vars(PreprocessCfg(**described["preprocess_cfg"]))
    set_model_preprocess_cfg(model, dict(preprocess))
    return model


def load_part(model: Any, start: StartFrom) -> None:
    """Copy the weights of a part into the model.

    Raises ConfigError if the source lacks some, or if their shapes differ.
    """
    import torch

    where = f"model.start: {start.part} from {start.weights}"
    given = _source_state(start)
    weights = {n: v for n, v in model.state_dict().items() if _within(n, start.part)}
    if not weights:
        raise ConfigError(f"{where}: this architecture has no {start.part}")
    optional = _SCALARS if start.part == "all" else ()
    lacking = [n for n in weights if n not in given and n not in optional]
    if lacking:
        raise ConfigError(
            f"{where}: {len(lacking)} of {len(weights)} weights are missing there, "
            f"{lacking[0]} among them; is it a checkpoint of this architecture?"
        )
    unlike = [n for n in weights if n in given and weights[n].shape != given[n].shape]
    if unlike:
        name = unlike[0]
        raise ConfigError(
            f"{where}: {len(unlike)} weights have another shape, {name} "
            f"{tuple(given[name].shape)} and not {tuple(weights[name].shape)}; give "
            "the architecture that they were trained in, or start a smaller part"
        )
    with torch.no_grad():
        for name, value in weights.items():
            if name in given:
                value.copy_(given[name])


def weights_sha256(start: StartFrom) -> str:
    """Return the SHA-256 of the file that a part starts from."""
    if _is_file(start):
        return sha256(Path(start.weights))
    return sha256(load_checkpoint(start.weights, start.pretrained).weights)


def state_digest(module: Any) -> str:
    """Return a digest of a module's weights and buffers, names included."""
    parts: list[bytes] = []
    for name, value in sorted(module.state_dict().items()):
        parts += [name.encode(), value.detach().cpu().contiguous().numpy().tobytes()]
    return digest(*parts, b"").hex()


def _is_file(start: StartFrom) -> bool:
    return Path(start.weights).suffix == ".safetensors"


def _source_state(start: StartFrom) -> dict[str, Any]:
    if not _is_file(start):
        state = load_checkpoint(start.weights, start.pretrained).model.state_dict()
        return dict(state)
    from safetensors.torch import load_file

    require_file_as_trained(Path(start.weights))
    try:
        weights = load_file(start.weights)
    except Exception as error:  # safetensors' own errors, or the system's
        raise ConfigError(
            f"model.start: {start.weights} cannot be read: {error}"
        ) from error
    inner = start.part in ("visual", "visual.trunk", "visual.head")
    prefix = f"{start.part}."
    if inner and not any(name.startswith(prefix) for name in weights):
        return {prefix + name: value for name, value in weights.items()}
    return dict(weights)


def _within(name: str, part: Part) -> bool:
    if part == "all":
        return True
    if part == "text":
        return not name.startswith("visual.") and name not in _SCALARS
    return name.startswith(f"{part}.")


def zero_unseen_tokens(model: Any, tokens: npt.NDArray[np.integer[Any]]) -> None:
    """Set the embedding of every token that is not among `tokens` to zero.

    Before a training from scratch: no gradient reaches these rows and none of them
    decays, so that words which the training never meets say nothing afterwards, where
    their random start would. Raises ConfigError if the text tower is not open_clip's.
    """
    import torch

    text = getattr(model, "text", model)
    if not hasattr(text, "token_embedding"):
        raise ConfigError(
            "model.zero_unseen_tokens: this text tower has no embedding of its own; "
            "leave the setting out"
        )
    unseen = torch.ones(len(text.token_embedding.weight), dtype=torch.bool)
    unseen[torch.from_numpy(np.unique(tokens)).long()] = False
    with torch.no_grad():
        text.token_embedding.weight[unseen] = 0


def freeze(model: Any, parts: Sequence[str]) -> None:
    """Keep the weights of parts as they are."""
    for name, weights in model.named_parameters():
        if any(_within(name, part) for part in parts):  # type: ignore[arg-type]
            weights.requires_grad_(False)
    if "visual.trunk" in parts and not hasattr(model.visual, "trunk"):
        raise ConfigError(
            "model.freeze: visual.trunk: only timm image towers have a trunk; freeze "
            "visual, or nothing"
        )
