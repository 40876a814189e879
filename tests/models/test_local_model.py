"""A model in a folder fetches nothing, whatever its config names."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from winnow.core.errors import ConfigError
from winnow.models.checkpoint import load_checkpoint
from winnow.models.local_model import hub_allowed


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every try to reach another machine, each of which fails."""
    tried: list[Any] = []

    def refuse(*where: Any, **_: Any) -> Any:
        tried.append(where)
        raise OSError("no network in this test")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tried


@pytest.fixture
def folder(tiny_vit: str, tmp_path: Path) -> Path:
    """A copy of a tiny model, to be changed."""
    copy = tmp_path / "model"
    shutil.copytree(tiny_vit.removeprefix("local-dir:"), copy)
    return copy


def change(folder: Path, section: str, **values: Any) -> str:
    file = folder / "open_clip_config.json"
    config = json.loads(file.read_text())
    config["model_cfg"][section].update(values)
    file.write_text(json.dumps(config))
    return f"local-dir:{folder}"


HOSTILE = [
    ("vision_cfg", {"timm_model_name": "hf-hub:timm/resnet18.a1_in1k"}),
    ("vision_cfg", {"timm_model_name": "hf_hub:timm/resnet18"}),
    ("vision_cfg", {"timm_model_name": "local-dir:/tmp"}),
    ("vision_cfg", {"timm_model_name": "timm/resnet18"}),
    ("text_cfg", {"hf_model_name": "roberta-base"}),
    ("text_cfg", {"hf_tokenizer_name": "roberta-base"}),
    ("text_cfg", {"tokenizer_kwargs": {"trust_remote_code": True}}),
]


@pytest.mark.parametrize(("section", "values"), HOSTILE)
def test_what_a_config_names_elsewhere_is_refused_and_not_fetched(
    folder: Path, calls: list[Any], section: str, values: dict[str, Any]
):
    name = change(folder, section, **values)
    with pytest.raises(ConfigError, match=str(next(iter(values)))):
        load_checkpoint(name, None)
    assert calls == []


@pytest.mark.parametrize(
    ("section", "values"),
    [
        # Files that look like a tokenizer's and a text tower's, but are none.
        ("text_cfg", {"hf_tokenizer_name": "roberta-base"}),
        ("text_cfg", {"hf_model_name": "roberta-base"}),
    ],
)
def test_a_folder_with_its_own_files_is_read_there_alone(
    folder: Path, calls: list[Any], section: str, values: dict[str, Any]
):
    for name in ("tokenizer_config.json", "config.json"):
        (folder / name).write_text('{"auto_map": {"AutoConfig": "a/b--c.D"}}')
    with pytest.raises(ConfigError, match="cannot load"):
        load_checkpoint(change(folder, section, **values), None)
    assert calls == []


def test_a_plain_folder_loads_without_the_network(folder: Path, calls: list[Any]):
    name = change(folder, "vision_cfg", timm_model_pretrained=True)
    assert load_checkpoint(name, None).dim == 24
    assert calls == []


def test_the_hub_is_out_of_reach_while_a_folder_is_loaded(calls: list[Any]):
    from huggingface_hub import constants, hf_hub_download

    before = constants.HF_HUB_OFFLINE
    with hub_allowed(False), pytest.raises(Exception, match=r"(?i)offline|locate|find"):
        hf_hub_download("winnow-no-such/repository", "config.json")
    assert calls == []
    assert before == constants.HF_HUB_OFFLINE


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', "[" * 100_000, "\xff"])
def test_a_damaged_config_is_named(folder: Path, text: str):
    file = folder / "open_clip_config.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"open_clip_config\.json"):
        load_checkpoint(f"local-dir:{folder}", None)
