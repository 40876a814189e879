"""The packaged CLIP, and the recipe that trains it."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from pipeline.demo import MODEL_FOLDER
from pipeline.demo.captions import describe
from pipeline.demo.copies import CHANGES, copy, decode
from pipeline.demo.drawing import jpeg, render
from pipeline.demo.scenes import compose, generator
from pipeline.demo.train import (
    MODEL_CONFIG,
    PREPROCESSING,
    Recipe,
    auc,
    fit,
    save,
    views,
)
from pipeline.models.torchvision_ops import ensure_torchvision

WEIGHTS = MODEL_FOLDER / "open_clip_model.safetensors"
SAMPLE, SEED = 150, 77


class Encoder:
    def __init__(self, folder):
        ensure_torchvision()
        import open_clip

        name = f"local-dir:{folder}"
        self.model, _, self.preprocess = open_clip.create_model_and_transforms(
            name, require_pretrained=True
        )
        self.model.eval()
        self.tokenize = open_clip.get_tokenizer(name)

    def images(self, files: list[bytes]) -> np.ndarray:
        import torch

        with torch.no_grad():
            batch = torch.stack([self.preprocess(decode(data)) for data in files])
            return self.model.encode_image(batch, normalize=True).numpy()

    def texts(self, texts: list[str]) -> np.ndarray:
        import torch

        with torch.no_grad():
            return self.model.encode_text(self.tokenize(texts), normalize=True).numpy()


@pytest.fixture(scope="module")
def packaged() -> Encoder:
    return Encoder(MODEL_FOLDER)


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return [jpeg(render(compose(SEED, i))) for i in range(SAMPLE)]


def test_the_package_is_small_and_its_card_names_these_weights():
    data = WEIGHTS.read_bytes()
    assert len(data) <= 10_000_000
    card = (MODEL_FOLDER / "README.md").read_text()
    assert hashlib.sha256(data).hexdigest() in card
    config = json.loads((MODEL_FOLDER / "open_clip_config.json").read_text())
    assert config == {"model_cfg": MODEL_CONFIG, "preprocess_cfg": PREPROCESSING}


def test_true_captions_score_above_those_of_other_scenes(packaged, files):
    texts = [describe(compose(SEED, i), generator("t", i)) for i in range(SAMPLE)]
    scores = packaged.images(files) @ packaged.texts(texts).T
    wrong = scores[~np.eye(SAMPLE, dtype=bool)]
    assert auc(scores.diagonal(), wrong) > 0.97


@pytest.mark.parametrize("change", CHANGES)
def test_copies_lie_nearer_than_other_scenes(packaged, files, change):
    originals = packaged.images(files)
    copies = packaged.images(
        [copy(data, change, generator("c", i)) for i, data in enumerate(files)]
    )
    similar = copies @ originals.T
    nearest = similar.argmax(axis=1)
    assert (nearest == np.arange(SAMPLE)).mean() > 0.97
    assert np.quantile(similar.diagonal(), 0.05) > 0.94


def test_auc_on_hand_made_scores():
    assert auc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert auc(np.array([0.0]), np.array([1.0, 2.0])) == 0
    assert auc(np.array([1.0, 1.0]), np.array([1.0, 1.0])) == 0.5
    assert auc(np.array([1.0, 3.0]), np.array([2.0, 0.0])) == 0.75


def test_training_sees_images_as_the_packaged_preprocessing_does(packaged):
    import torch

    seen = views(SEED, range(5))[:, 0]
    files = [jpeg(render(compose(SEED, i))) for i in range(5)]
    used = torch.stack([packaged.preprocess(decode(data)) for data in files])
    pixels = (used.permute(0, 2, 3, 1) * 0.5 + 0.5).mul(255).round().byte().numpy()
    assert (pixels == seen).all()


@pytest.mark.slow
def test_a_short_training_lowers_the_loss_and_its_model_loads(tmp_path, caplog):
    ensure_torchvision()
    recipe = Recipe(steps=12, batch=16, scenes=32, warmup=2)
    with caplog.at_level("INFO"):
        model = fit(recipe)
    losses = [r.args[1] for r in caplog.records if r.msg.startswith("step")]
    assert losses[-1] < losses[0]
    save(model, tmp_path, recipe)
    loaded = Encoder(tmp_path)
    import torch

    words = loaded.tokenize(["a red circle"])
    with torch.no_grad():
        before = model.encode_text(words, normalize=True)
    assert torch.allclose(
        before, torch.from_numpy(loaded.texts(["a red circle"])), atol=0.01
    )
