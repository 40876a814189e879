"""Images of several pools come out as each pool gives them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from winnow.filters.train.augment import augmented
from winnow.filters.train.images import (
    FeatureImages,
    FileImages,
    JoinedImages,
    frozen_encoder,
)
from winnow.filters.train.recipe import Augmentation
from winnow.models.preprocess import Preprocessing


def test_joined_images_are_those_of_their_parts():
    rng = np.random.default_rng(0)
    one = FeatureImages(rng.normal(size=(4, 2, 3)).astype(np.float32))
    other = FeatureImages(rng.normal(size=(5, 1, 3)).astype(np.float32))
    part = np.array([0, 1, 1, 0, 1])
    order = np.array([2, 4, 0, 3, 1])
    joined = JoinedImages([one, other], part, order)
    rows = np.array([4, 0, 2, 3])
    for epoch in (0, 1):
        given = joined.training(rows, epoch)
        assert np.array_equal(given[0], other.features[1, 0])
        assert np.array_equal(given[1], one.features[2, epoch])
        assert np.array_equal(given[2], other.features[0, 0])
        assert np.array_equal(given[3], one.features[3, epoch])
    assert np.array_equal(joined.plain(rows)[1], one.features[2, 0])


def test_an_image_changes_with_uid_and_epoch_and_with_nothing_else():
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    image = Image.fromarray(pixels)
    how = Augmentation(crop=(0.5, 0.9), flip=0.5, jitter=0.3, grey=0.2)

    def change(uid: str, salt: str) -> bytes:
        return augmented(image, how, uid, salt).tobytes()

    assert change("a", "0:1") == change("a", "0:1")
    assert len({change(uid, salt) for uid in "ab" for salt in ("0:1", "0:2")}) == 4
    assert augmented(image, Augmentation(), "a", "0:1") is image
    cropped = augmented(image, Augmentation(crop=(0.5, 0.5)), "a", "x")
    assert 0.4 < cropped.width * cropped.height / 600 < 0.65


def test_a_second_view_is_another_one():
    features = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    images = FeatureImages(features)
    rows = np.array([1, 0])
    for epoch in range(4):
        for view in range(2):
            given = images.training(rows, epoch, view)
            assert np.array_equal(given, features[rows, (epoch + view) % 3])
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (40, 60, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    data = np.frombuffer(file.getvalue(), np.uint8)
    preprocess = Preprocessing(16, 16, (0.5,) * 3, (0.5,) * 3, "bicubic", "squash")
    files = FileImages(
        data, np.array([[0, len(data)]]), ["a"], preprocess,
        Augmentation(crop=(0.5, 0.9)), seed=1,
    )  # fmt: skip
    one = np.array([0])
    seen = {files.training(one, e, v).tobytes() for e in (0, 1) for v in (0, 1)}
    assert len(seen) == 4
    assert np.array_equal(files.training(one, 0), files.training(one, 0, 0))


def test_images_come_in_other_sizes_and_encodings():
    pixels = np.random.default_rng(0).integers(0, 255, (50, 100, 3)).astype(np.uint8)
    image = Image.fromarray(pixels)
    sizes = np.array(
        [
            augmented(image, Augmentation(resize=1.0), str(n), "s").size
            for n in range(60)
        ]
    )
    assert (abs(sizes[:, 0] - 2 * sizes[:, 1]) <= 1).all()
    assert 60 <= sizes[:, 0].min() < 70
    assert 150 < sizes[:, 0].max() <= 170
    again = augmented(image, Augmentation(jpeg=1.0), "a", "s")
    apart = np.abs(np.asarray(again).astype(int) - pixels)
    assert again.size == image.size
    assert 1 < apart.mean() < 60
    rare = Augmentation(resize=0.2, jpeg=0.2)
    kept = [augmented(image, rare, str(n), "s") for n in range(60)]
    assert 25 < sum(np.array_equal(np.asarray(k), pixels) for k in kept) < 50


def test_a_large_image_only_becomes_smaller():
    image = Image.new("RGB", (2001, 1000))
    for n in range(8):
        assert augmented(image, Augmentation(resize=1.0), str(n), "s").width <= 2001


@pytest.fixture(scope="module")
def timm_model():
    """Return an untrained model whose trunk has batch norms that fold."""
    from winnow.models.torchvision_ops import ensure_torchvision

    ensure_torchvision()
    import open_clip
    import torch
    from open_clip.model import set_model_preprocess_cfg

    from tests.conftest import PREPROCESS, TEXT

    torch.manual_seed(2)
    vision = {
        "timm_model_name": "resnet10t",
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 32,
    }
    model = open_clip.CLIP(embed_dim=24, vision_cfg=vision, text_cfg=TEXT)
    generator = torch.Generator().manual_seed(3)
    for module in model.visual.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean of all batches
    model.visual.train()
    with torch.no_grad():  # its batch norms learn what they would be given
        for _ in range(6):
            model.visual(torch.randn((4, 3, 32, 32), generator=generator))
    model.eval()
    set_model_preprocess_cfg(model, {**PREPROCESS, "size": 32, "mode": "RGB"})
    return model


# 8 bits of mantissa in bfloat16, 11 in float16, which a CPU computes as well.
@pytest.mark.parametrize(
    ("precision", "within"), [("float32", 1e-4), ("bfloat16", 0.1), ("float16", 0.01)]
)
@pytest.mark.parametrize("part", ["visual", "visual.trunk"])
def test_a_frozen_part_computes_in_every_precision(timm_model, part, precision, within):
    import torch

    encoder = frozen_encoder(timm_model, part, precision, 10**6)
    pixels = np.random.default_rng(5).integers(0, 256, (5, 32, 32, 3), np.uint8)
    features = encoder.image_features(pixels)
    scaled = pixels / 255 - timm_model.visual.preprocess_cfg["mean"]
    scaled = scaled / timm_model.visual.preprocess_cfg["std"]
    tower = timm_model.visual if part == "visual" else timm_model.visual.trunk
    with torch.inference_mode():
        reference = tower(torch.from_numpy(scaled).float().permute(0, 3, 1, 2)).numpy()
    assert np.abs(reference).max() > 0.01
    assert np.abs(features - reference).max() <= within * np.abs(reference).max()


def test_a_frozen_part_runs_folded_and_leaves_the_model_alone(timm_model):
    import torch

    before = {name: value.clone() for name, value in timm_model.state_dict().items()}
    encoder = frozen_encoder(timm_model, "visual.trunk", "bfloat16", 10**6)
    running = encoder._model.visual

    def norms(tower) -> int:
        return sum(isinstance(m, torch.nn.BatchNorm2d) for m in tower.modules())

    assert norms(running) <= 1 < norms(timm_model.visual.trunk)
    convolutions = [m for m in running.modules() if isinstance(m, torch.nn.Conv2d)]
    assert {conv.weight.dtype for conv in convolutions} == {torch.bfloat16}
    calls = []
    running.register_forward_hook(lambda *_: calls.append(1))
    encoder.image_features(np.zeros((1, 32, 32, 3), np.uint8))
    assert calls == [1]
    after = timm_model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
