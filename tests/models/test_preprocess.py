"""Resizing and cropping equal to open_clip's transform, to the pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from winnow.models.preprocess import Preprocessing

from tests.examples import examples

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def expected(image: Image.Image, cfg: Preprocessing) -> np.ndarray:
    from winnow.models.torchvision_ops import ensure_torchvision

    ensure_torchvision()
    from open_clip import image_transform

    transform = image_transform(
        (cfg.height, cfg.width),
        False,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        resize_mode=cfg.resize_mode,
        interpolation=cfg.interpolation,
        fill_color=cfg.fill_color,
    )
    return (transform(image).permute(1, 2, 0).numpy() * 255).round().astype(int)


@settings(max_examples=examples(60, 200), deadline=None)
@given(
    st.integers(8, 150),
    st.integers(8, 150),
    st.sampled_from([(32, 32), (20, 36)]),
    st.sampled_from(["squash", "shortest", "longest"]),
    st.sampled_from(["bicubic", "bilinear"]),
)
def test_pixels_equal_open_clips(
    height: int, width: int, size: tuple[int, int], mode: str, interpolation: str
) -> None:
    if mode == "shortest" and size[0] != size[1]:
        interpolation = "bicubic"  # open_clip forgets the setting in this one case
    noise = np.random.default_rng(height * width).integers(0, 256, (height, width, 3))
    image = Image.fromarray(noise.astype(np.uint8))
    cfg = Preprocessing(*size, MEAN, STD, interpolation, mode, fill_color=77)
    assert np.array_equal(cfg(image).astype(int), expected(image, cfg))


@pytest.mark.parametrize("mode", ["squash", "shortest", "longest"])
@pytest.mark.parametrize("size", [(1, 200_000), (200_000, 1), (1, 1)])
def test_slivers_cost_no_more_memory_than_they_hold(
    mode: str, size: tuple[int, int]
) -> None:
    image = Image.new("RGB", size, (9, 80, 200))
    pixels = Preprocessing(224, 224, MEAN, STD, "bicubic", mode)(image)
    assert pixels.shape == (224, 224, 3)
    assert pixels[111, 111].tolist() == [9, 80, 200]


@pytest.mark.parametrize("turn", [0, 90])
def test_slivers_show_the_middle_of_the_picture(turn: int) -> None:
    ramp = np.linspace(0, 255, 3000)[None, :, None].repeat(3, axis=2).repeat(4, axis=0)
    image = Image.fromarray(ramp.astype(np.uint8)).rotate(turn, expand=True)
    cfg = Preprocessing(32, 32, MEAN, STD)
    assert np.abs(cfg(image).astype(int) - expected(image, cfg)).max() <= 2


def test_settings_are_read_as_open_clip_reads_them() -> None:
    cfg = Preprocessing.of(
        {"size": 48, "mean": 0.5, "std": [0.1, 0.2, 0.3], "interpolation": "random"}
    )
    assert cfg == Preprocessing(
        48, 48, (0.5, 0.5, 0.5), (0.1, 0.2, 0.3), "bicubic", "shortest", 0
    )
