"""OpenVINO's towers: torch's vectors but for rounding, and each by its sample alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from winnow.config.run import parse
from winnow.core.errors import ConfigError
from winnow.flows.fingerprints import _plain
from winnow.models import openvino_runtime
from winnow.models.encoder import Encoder, ModelSpec, load_encoder
from winnow.models.preprocess import INEXACT

RNG = np.random.default_rng(0)
TEXTS = ["a red ball", "", "Ein Hund", "two trees & a house", "猫"]
BATCH = 4


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / "cache"))
    load_encoder.cache_clear()
    return tmp_path / "cache" / "openvino"


def spec_of(name: str, runtime: str = "openvino", **others: object) -> ModelSpec:
    settings = {"precision": "float32", "batch_size": BATCH, **others}
    return ModelSpec(name, runtime=runtime, **settings)  # type: ignore[arg-type]


def pixels_of(encoder: Encoder, rows: int = 6) -> np.ndarray:
    size = (rows, encoder.preprocess.height, encoder.preprocess.width, 3)
    return RNG.integers(0, 256, size, np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("tower", ["vit", "resnet"])
def test_vectors_are_torchs_and_depend_on_their_sample_alone(
    tower: str,
    save_checkpoint: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
) -> None:
    name = save_checkpoint(tower)
    by_torch = load_encoder(spec_of(name, "torch"))
    encoder = load_encoder(spec_of(name))
    pixels, tokens = pixels_of(encoder), encoder.tokenize(TEXTS)
    images, texts = encoder.encode_images(pixels), encoder.encode_tokens(tokens)
    assert np.abs(images - by_torch.encode_images(pixels)).max() < 1e-5
    assert np.abs(texts - by_torch.encode_tokens(tokens)).max() < 1e-5
    assert encoder.identity["runtime"].startswith("openvino 20")
    # Another order, other neighbours, padding, a batch of another size, one thread.
    order = RNG.permutation(len(pixels))
    assert (encoder.encode_images(pixels[order]) == images[order]).all()
    assert (encoder.encode_images(pixels[5:]) == images[5:]).all()
    assert (encoder.encode_tokens(tokens[::-1].copy()) == texts[::-1]).all()
    assert (encoder.encode_tokens(tokens[3:4]) == texts[3:4]).all()
    monkeypatch.setattr(openvino_runtime, "available_cores", lambda: 1)
    other = load_encoder(spec_of(name, batch_size=3))
    assert (other.encode_images(pixels) == images).all()
    assert (other.encode_tokens(tokens) == texts).all()
    # Nobody was told.
    assert sys.modules.get("openvino_telemetry") is None


AFTER = """
import hashlib, os, sys
name, runtimes, cores = sys.argv[1], sys.argv[2].split(), int(sys.argv[3])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
import numpy as np
from winnow.models.encoder import ModelSpec, load_encoder
for runtime in runtimes:
    encoder = load_encoder(ModelSpec(name, batch_size=8, runtime=runtime))
    size = (8, encoder.preprocess.height, encoder.preprocess.width, 3)
    pixels = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    vectors = encoder.encode_images(pixels)
assert "ONEDNN_MAX_CPU_ISA" not in os.environ
print(hashlib.sha256(vectors.tobytes()).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_vectors_do_not_depend_on_models_before_them_or_on_cores(
    runtime: str, save_checkpoint: Callable[..., str]
) -> None:
    # By whatever is fastest on this processor: tiles, where it has any.
    other = {"openvino": "torch", "torch": "openvino"}[runtime]
    name = save_checkpoint("wide")
    free = {n: v for n, v in os.environ.items() if n != "ONEDNN_MAX_CPU_ISA"}
    digests = {
        subprocess.run(
            [sys.executable, "-c", AFTER, name, *given],
            env=free,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for given in ([runtime, "2"], [f"{other} {runtime}", "2"], [runtime, "1"])
    }
    assert len(digests) == 1


@pytest.mark.slow
def test_graphs_are_kept_and_damaged_ones_made_again(
    save_checkpoint: Callable[..., str], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    spec = spec_of(save_checkpoint("vit"))
    tokens = load_encoder(spec).tokenize(TEXTS)
    texts = load_encoder(spec).encode_tokens(tokens)
    (folder,) = cache.iterdir()
    load_encoder.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(openvino_runtime._Tower, "_converted", None)
        assert (load_encoder(spec).encode_tokens(tokens) == texts).all()
    (folder / "tower.xml").write_text("<net")
    load_encoder.cache_clear()
    assert (load_encoder(spec).encode_tokens(tokens) == texts).all()
    assert [path.name for path in cache.iterdir()] == [folder.name]


def test_what_it_does_not_compute_in_is_refused(
    save_checkpoint: Callable[..., str],
) -> None:
    with pytest.raises(ConfigError, match="float32 or bfloat16, not in float16"):
        load_encoder(spec_of(save_checkpoint("vit"), precision="float16"))


def test_the_runtime_is_in_the_fingerprint_where_it_is_not_the_usual_one() -> None:
    def printed(**settings: object) -> object:
        recipe = {"input": {"path": "pool"}, "steps": ["apply"]}
        model = {"name": "ViT-B-32", "pretrained": "openai", **settings}
        return _plain(parse({**recipe, "model": model}).model)

    usual = printed()
    assert printed(runtime="torch") == printed(runtime="auto") == usual
    assert "runtime" not in str(usual)
    assert "exact_decode" not in str(usual)
    assert "openvino 20" in str(printed(runtime="openvino"))
    assert printed(exact_decode=False) != usual
    # What it does to pixels has a version of its own.
    assert f"'exact_decode': {INEXACT}" in str(printed(exact_decode=False))
