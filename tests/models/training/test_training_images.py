"""Images of several pools come out as each pool gives them."""

from __future__ import annotations

import numpy as np

from pipeline.models.training.augment import augmented
from pipeline.models.training.images import FeatureImages, JoinedImages
from pipeline.models.training.recipe import Augmentation


def test_joined_images_are_those_of_their_parts():
    rng = np.random.default_rng(0)
    one = FeatureImages(rng.normal(size=(4, 2, 3)).astype(np.float32))
    other = FeatureImages(rng.normal(size=(5, 1, 3)).astype(np.float32))
    part = np.array([0, 1, 1, 0, 1])
    at = np.array([2, 4, 0, 3, 1])
    joined = JoinedImages([one, other], part, at)
    rows = np.array([4, 0, 2, 3])
    for epoch in (0, 1):
        found = joined.training(rows, epoch)
        assert np.array_equal(found[0], other.features[1, 0])
        assert np.array_equal(found[1], one.features[2, epoch])
        assert np.array_equal(found[2], other.features[0, 0])
        assert np.array_equal(found[3], one.features[3, epoch])
    assert np.array_equal(joined.plain(rows)[1], one.features[2, 0])


def test_an_image_changes_with_uid_and_epoch_and_with_nothing_else():
    from PIL import Image

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
