"""Two views of an image in a training, and words that no training caption has."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import winnow
from PIL import Image
from safetensors.numpy import load_file
from winnow.core.errors import ConfigError
from winnow.models.encoder import ModelSpec, load_encoder

from tests.trusted_pool import MODEL_CFG, recipe, trusted_table, write_pool

ROWS = 64


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return write_pool(tmp_path_factory.mktemp("trusted"), trusted_table(ROWS))


def encoded_again(data: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).save(buffer, "JPEG", quality=40)
    return buffer.getvalue()


def copies_lie_apart(result) -> tuple[float, float]:
    """Mean cosine distance of images to their copies, and to each other."""
    encoder = load_encoder(ModelSpec(result.name, precision="float32"))
    files = trusted_table(24, seed=9)["image"].to_pylist()
    vectors = []
    for data in (files, [encoded_again(file) for file in files]):
        pixels = np.stack([encoder.prepare(file) for file in data])
        vectors.append(encoder.encode_images(pixels))
    copies = 1 - (vectors[0] * vectors[1]).sum(axis=1).mean()
    return float(copies), float(1 - (vectors[0] @ vectors[0].T).mean())


def test_comparing_two_views_draws_copies_together(pool, tmp_path):
    shares = {}
    for weight in (0.0, 2.0):
        wanted = recipe(
            pool, tmp_path / str(weight), epochs=8, image_weight=weight,
            learning_rate=1e-2,
        )  # fmt: skip
        wanted["augment"] = {"crop": [0.9, 1.0], "jpeg": 0.5, "resize": 0.3}
        copies, others = copies_lie_apart(winnow.train_filter(wanted))
        shares[weight] = copies / others
    assert shares[2.0] < 0.7 * shares[0.0]


@pytest.mark.parametrize(
    ("section", "value", "said"),
    [
        ("augment", {}, "augment changes nothing"),
        ("augment", {"views": 2}, "augment changes nothing"),
        ("freeze", ["visual"], "the image tower is frozen"),
        ("freeze", ["visual.trunk"], "augment.views"),
    ],
)
def test_views_that_cannot_teach_anything_are_refused(tmp_path, section, value, said):
    wanted = recipe(tmp_path, tmp_path / "out", image_weight=0.3)
    wanted["augment"] = {"jpeg": 0.5}
    if section == "augment":
        wanted["augment"] = value
    else:
        wanted["model"]["freeze"] = value
    with pytest.raises(ConfigError, match=said):
        winnow.train_filter(wanted)


def test_the_second_stage_is_checked_as_the_first(tmp_path):
    wanted = recipe(tmp_path, tmp_path / "out")
    wanted["fine_tune"] = {
        "data": wanted["data"],
        "optimise": {"image_weight": 0.3},
    }
    with pytest.raises(ConfigError, match=r"fine_tune\.augment changes nothing"):
        winnow.train_filter(wanted)


def test_words_that_no_training_caption_has_say_nothing(pool, tmp_path):
    wanted = recipe(pool, tmp_path / "out", epochs=1)
    wanted["model"]["zero_unseen_tokens"] = True
    result = winnow.train_filter(wanted)
    table = load_file(Path(result.path) / "open_clip_model.safetensors")
    rows = np.abs(table["token_embedding.weight"]).sum(axis=1) > 0
    assert len(rows) == MODEL_CFG["text_cfg"]["vocab_size"]
    # Six colours, four places, `is`, digits, start and end: and few others.
    assert 20 < rows.sum() < 60
    encoder = load_encoder(ModelSpec(result.name, precision="float32"))

    def vector(text: str) -> np.ndarray:
        return np.asarray(encoder.encode_texts([text])[0])

    assert np.array_equal(vector("zebra left"), vector("quartz left"))
    assert not np.array_equal(vector("red left"), vector("blue left"))
