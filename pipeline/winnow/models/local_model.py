"""A model in a folder: all of it lies there, and nothing is fetched for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from winnow.core.errors import ConfigError
from winnow.core.trained_files import MANIFEST, require_as_trained

LOCAL_DIR = "local-dir:"
CONFIG = "open_clip_config.json"
_WEIGHTS = (".safetensors", ".bin", ".pth")
#: Files of which a Hugging Face tokenizer needs one.
_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
)
#: What no vector depends on: pages and logs, and what `winnow filter train` notes.
_FOR_PEOPLE = {".md", ".html", ".log", ".parquet"}
_NOTED = {MANIFEST, "held_out.txt"}
_loading = threading.RLock()


def check_folder(folder: Path) -> None:
    """Refuse, before hours of work lead up to it, a folder that holds no whole model.

    Raises ConfigError if config, weights or tokenizer are missing, and if the config
    names anything that lies elsewhere; DamagedError if a filter's files are not those
    that its training wrote.
    """
    where = f"model.name: {LOCAL_DIR}{folder}"
    if not folder.is_dir():
        raise ConfigError(f"{where}: no such folder")
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"{where}: it holds no {CONFIG}")
    if not any(file.suffix in _WEIGHTS for file in folder.iterdir()):
        raise ConfigError(
            f"{where}: it holds no weights; "
            "put the checkpoint there as open_clip_model.safetensors"
        )
    require_as_trained(folder, model_files(folder))
    check_config(read_config(folder), folder, where)


def model_files(folder: Path) -> list[str]:
    """Return the names of a folder's files that a model may be made of, sorted.

    All but what is there for people, and what a training notes beside its model.
    """
    return sorted(
        file.name
        for file in folder.glob("*")
        if file.is_file() and file.suffix not in _FOR_PEOPLE and file.name not in _NOTED
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Return what a folder's open_clip_config.json holds.

    Raises ConfigError if it is no JSON object with a `model_cfg`.
    """
    file = folder / CONFIG
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: cannot be read as JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_cfg"), dict):
        raise ConfigError(f"{file}: holds no section model_cfg")
    return config


def check_config(config: Mapping[str, Any], folder: Path, where: str) -> None:
    """Raise ConfigError if a model's config names what does not lie in its folder."""
    model = config["model_cfg"]
    vision, text = (model.get(name) or {} for name in ("vision_cfg", "text_cfg"))
    if not (isinstance(vision, dict) and isinstance(text, dict)):
        raise ConfigError(f"{where}: vision_cfg and text_cfg are sections")
    trunk = str(vision.get("timm_model_name") or "")
    if ":" in trunk or "/" in trunk:
        raise ConfigError(
            f"{where}: vision_cfg.timm_model_name: '{trunk}' lies outside the folder; "
            "name an architecture of timm, as tf_efficientnet_lite0"
        )
    tower = str(text.get("hf_model_name") or "")
    if tower and not (folder / "config.json").is_file():
        raise ConfigError(
            f"{where}: text_cfg.hf_model_name: '{tower}' would be fetched; put that "
            "model's config.json and the files of its tokenizer into the folder"
        )
    if "trust_remote_code" in (text.get("tokenizer_kwargs") or {}):
        raise ConfigError(
            f"{where}: text_cfg.tokenizer_kwargs.trust_remote_code: code that a model "
            "brings along is never run; leave it out"
        )
    named = str(text.get("hf_tokenizer_name") or "")
    if named and not any((folder / name).is_file() for name in _TOKENIZERS):
        raise ConfigError(
            f"{where}: text_cfg.hf_tokenizer_name: '{named}' would be fetched; put "
            "its files (tokenizer.json, tokenizer_config.json, …) into the folder"
        )


def inner_towers(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the parts of a model's config that must name the folder, changed so."""
    text = config["model_cfg"].get("text_cfg") or {}
    if not text.get("hf_model_name"):
        return {}
    # Its config lies here; its weights are among those of the whole model.
    here = {"hf_model_name": str(folder), "hf_model_pretrained": False}
    return {"text_cfg": {**text, **here}}


@contextmanager
def hub_allowed(allowed: bool) -> Iterator[None]:
    """Load a model; where not `allowed`, calls to Hugging Face's hub fail at once.

    The setting is the process's own, so that models are loaded one after the other.
    """
    from huggingface_hub import constants

    with _loading:
        before = constants.HF_HUB_OFFLINE
        constants.HF_HUB_OFFLINE = before or not allowed
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE = before
