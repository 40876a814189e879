"""open_clip models with their trained weights, or an error that says what is wrong.

open_clip's own loader falls back to random weights with no more than a warning; here
a model without weights never comes out.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from winnow.core.errors import ConfigError, did_you_mean
from winnow.core.shipped import local_copy
from winnow.core.trained_files import require_file_as_trained
from winnow.models.local_model import (
    LOCAL_DIR,
    check_folder,
    hub_allowed,
    inner_towers,
    model_files,
    read_config,
)
from winnow.models.torchvision_ops import ensure_torchvision

logger = logging.getLogger(__name__)

HUB = "hf-hub:"
_OFFLINE = (
    "if this machine cannot reach the hub, copy open_clip_config.json and "
    "open_clip_model.safetensors into a folder and name it as local-dir:FOLDER"
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model in float32 on the CPU, its tokenizer and the file of its weights."""

    model: Any
    tokenizer: Callable[[list[str]], Any]
    dim: int
    weights: Path


def load_checkpoint(name: str, pretrained: str | None) -> Checkpoint:
    """Load an architecture with a tag or file, `local-dir:PATH` or `hf-hub:REPO`.

    Raises ConfigError if the name or the tag is unknown, if the weights are missing,
    cannot be fetched or do not fit the architecture.
    """
    ensure_torchvision()
    if name.startswith(LOCAL_DIR):
        name = f"{LOCAL_DIR}{local_copy(name.removeprefix(LOCAL_DIR))}"
    elif pretrained:
        pretrained = str(local_copy(pretrained))
    _check(name, pretrained)
    try:
        with hub_allowed(not name.startswith(LOCAL_DIR)):
            return _loaded(name, pretrained)
    except Exception as error:  # whatever hub, json, torch or safetensors raise
        raise ConfigError(_failure(name, pretrained, error)) from error


def require_weights(name: str, pretrained: str | None) -> None:
    """Have a model's weights here, fetching them where they must be; load nothing.

    Raises ConfigError as `load_checkpoint` does.
    """
    if name.startswith(LOCAL_DIR):
        check_folder(local_copy(name.removeprefix(LOCAL_DIR)))
        return
    if pretrained:
        pretrained = str(local_copy(pretrained))
    ensure_torchvision()
    _check(name, pretrained)
    try:
        with hub_allowed(True):
            _weights(name, pretrained)
    except Exception as error:  # whatever the hub's clients raise
        raise ConfigError(_failure(name, pretrained, error)) from error


def _loaded(name: str, pretrained: str | None) -> Checkpoint:
    import open_clip

    inside: dict[str, Any] = {}
    if name.startswith(LOCAL_DIR):
        folder = Path(name.removeprefix(LOCAL_DIR))
        inside = inner_towers(read_config(folder), folder)
    # In this order, so that a download that fails is told apart from a bad file.
    weights = _weights(name, pretrained)
    model = open_clip.create_model(
        name,
        pretrained=pretrained,
        precision="fp32",
        device="cpu",
        require_pretrained=True,
        weights_only=True,
        **inside,
    )
    tokenizer = open_clip.get_tokenizer(name)
    dim = open_clip.get_model_config(_architecture(name))["embed_dim"]
    return Checkpoint(model.eval(), tokenizer, int(dim), weights)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def local_files(name: str, pretrained: str | None) -> list[str]:
    """Return `name:sha256` of each local file that a model consists of.

    Empty for a model that is fetched: what a tag stands for never changes.
    """
    if name.startswith(LOCAL_DIR):
        folder = Path(name.removeprefix(LOCAL_DIR))
        files = [folder / file for file in model_files(folder)]
    else:
        files = [Path(pretrained)] if pretrained else []
    return [f"{file.name}:{_known_sha256(file)}" for file in files if file.is_file()]


def _known_sha256(file: Path) -> str:
    status = file.stat()
    return _sha256_at(file, status.st_size, status.st_mtime_ns)


@cache
def _sha256_at(file: Path, size: int, changed: int) -> str:
    return sha256(file)


def _check(name: str, pretrained: str | None) -> None:
    """Refuse, before anything is loaded or fetched, what cannot work."""
    if name.startswith(LOCAL_DIR):
        check_folder(Path(name.removeprefix(LOCAL_DIR)))
    elif not name.startswith(HUB):
        _check_architecture(name, pretrained)


def _check_architecture(name: str, pretrained: str | None) -> None:
    import open_clip

    known = open_clip.list_models()
    if _architecture(name) not in known:
        raise ConfigError(
            f"model.name: unknown architecture '{name}'; {did_you_mean(name, known)}"
        )
    tags = open_clip.list_pretrained_tags_by_model(_architecture(name))
    if pretrained is None:
        raise ConfigError(
            f"model.pretrained is missing: '{name}' needs a tag ({', '.join(tags)}) "
            "or a file of weights"
        )
    if open_clip.get_pretrained_cfg(_architecture(name), pretrained):
        return
    if not Path(pretrained).is_file():
        raise ConfigError(
            f"model.pretrained: '{pretrained}' is neither a file nor a tag of "
            f"'{name}'; {did_you_mean(pretrained, tags)}"
        )
    require_file_as_trained(Path(pretrained))
    logger.warning(
        "%s says nothing of its preprocessing: the mean and standard deviation of "
        "OpenAI's models are assumed; name a local-dir: to state others",
        pretrained,
    )


def _architecture(name: str) -> str:
    is_path = name.startswith((LOCAL_DIR, HUB))
    return name if is_path else name.replace("/", "-")


def _weights(name: str, pretrained: str | None) -> Path:
    """Return the file that open_clip loads, fetching it first where it must be."""
    import open_clip
    from open_clip import factory
    from open_clip import pretrained as hub

    if name.startswith(LOCAL_DIR):
        # The choice among several files is open_clip's; only it knows its rule.
        return Path(factory._find_checkpoint_in_dir(Path(name.removeprefix(LOCAL_DIR))))
    if name.startswith(HUB):
        return Path(hub.download_pretrained_from_hf(name.removeprefix(HUB)))
    tag = open_clip.get_pretrained_cfg(_architecture(name), pretrained)
    return Path(open_clip.download_pretrained(tag) if tag else str(pretrained))


def _failure(name: str, pretrained: str | None, error: Exception) -> str:
    model = name if pretrained is None else f"{name} ({pretrained})"
    local = name.startswith(LOCAL_DIR) or Path(pretrained or "").is_file()
    remedy = "do its weights belong to its architecture?" if local else _OFFLINE
    why = str(error).strip() or type(error).__name__
    return f"model.name: cannot load {model}: {why[:500]}; {remedy}"
