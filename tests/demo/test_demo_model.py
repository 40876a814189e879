"""The packaged CLIP, and the recipe that trains it."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow.parquet as pq
import pytest
import winnow
import yaml
from winnow.demo import MODEL_FOLDER
from winnow.demo.captions import describe
from winnow.demo.copies import CHANGES, copy, decode
from winnow.demo.drawing import jpeg, render
from winnow.demo.scenes import compose, generator
from winnow.demo.trusted import write_trusted
from winnow.filters.train.measure import auc
from winnow.models.torchvision_ops import ensure_torchvision

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


@pytest.fixture(scope="module")
def originals(packaged, files) -> np.ndarray:
    return packaged.images(files)


def test_the_package_is_small_and_its_card_names_these_weights():
    data = WEIGHTS.read_bytes()
    assert len(data) <= 10_000_000
    card = (MODEL_FOLDER / "README.md").read_text()
    assert hashlib.sha256(data).hexdigest() in card
    assert f"{len(data):,} bytes" in card


def test_true_captions_score_above_those_of_other_scenes(packaged, originals):
    texts = [describe(compose(SEED, i), generator("t", i)) for i in range(SAMPLE)]
    scores = originals @ packaged.texts(texts).T
    wrong = scores[~np.eye(SAMPLE, dtype=bool)]
    assert auc(scores.diagonal(), wrong) > 0.97


@pytest.mark.parametrize("change", CHANGES)
def test_copies_lie_nearer_than_other_scenes(packaged, files, originals, change):
    copies = packaged.images(
        [copy(data, change, generator("c", i)) for i, data in enumerate(files)]
    )
    similar = copies @ originals.T
    nearest = similar.argmax(axis=1)
    assert (nearest == np.arange(SAMPLE)).mean() > 0.97
    assert np.quantile(similar.diagonal(), 0.05) > 0.94


def test_words_that_no_scene_has_are_zeros(packaged):
    # They say nothing, and the file compresses.
    table = packaged.model.token_embedding.weight
    used = (table != 0).any(dim=1).sum()
    assert 50 < used < 400


@pytest.mark.slow
def test_the_command_makes_such_a_model(tmp_path):
    write_trusted(tmp_path / "trusted", scenes=64, captions=4)
    recipe = yaml.safe_load((MODEL_FOLDER / "filter_train.yaml").read_text())
    recipe["data"][0]["path"] = str(tmp_path / "trusted")
    recipe["optimise"] |= {"batch_size": 16, "epochs": 6}
    recipe["output"]["path"] = str(tmp_path / "model")
    result = winnow.train_filter(recipe)
    losses = pq.read_table(result.path / "curves.parquet")["loss"].to_pylist()
    assert losses[-1] < losses[0]
    size = (result.path / WEIGHTS.name).stat().st_size
    assert size == WEIGHTS.stat().st_size
    encoder = Encoder(result.path)
    assert encoder.texts(["a red circle"]).shape == (1, 128)
