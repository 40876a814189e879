"""Resizing and cropping equal to open_clip's transform, to the pixel."""

from __future__ import annotations

import os
import subprocess
import sys

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


def photograph(width: int, height: int) -> Image.Image:
    """Return a picture that is as smooth as photographs are, with edges in it."""
    rng = np.random.default_rng(width * height)
    coarse = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    image.paste((250, 20, 90), (width // 3, height // 4, width // 2, height // 2))
    return image


@pytest.mark.parametrize("mode", ["squash", "shortest", "longest"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(512, 512), (700, 481), (300, 1100)])
def test_pictures_far_too_large_may_be_one_level_beside(
    size: tuple[int, int], mode: str, interpolation: str
) -> None:
    cfg = Preprocessing(64, 64, MEAN, STD, interpolation, mode, fill_color=77)
    image = photograph(*size)
    apart = np.abs(cfg(image, exact=False).astype(int) - cfg(image))
    assert apart.max() <= 1
    assert np.mean(apart > 0) < 0.1


@pytest.mark.parametrize("size", [(100, 120), (127, 127), (40, 9), (1500, 64)])
def test_pictures_not_far_too_large_are_exact_all_the_same(
    size: tuple[int, int],
) -> None:
    for mode in ("squash", "shortest", "longest"):
        cfg = Preprocessing(64, 64, MEAN, STD, "bicubic", mode)
        image = photograph(*size)
        assert np.array_equal(cfg(image, exact=False), cfg(image))


HASHED = """
import hashlib, numpy as np
from PIL import Image
from winnow.models.preprocess import Preprocessing

rng, pixels = np.random.default_rng(0), hashlib.sha256()
for size in [(500, 470), (900, 460), (3, 700), (2000, 30), (451, 1300)]:
    image = Image.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8))
    for mode in ("squash", "shortest", "longest"):
        cfg = Preprocessing(224, 224, (0.5,) * 3, (0.5,) * 3, "bicubic", mode)
        pixels.update(cfg(image, exact=False).tobytes())
print(pixels.hexdigest())
"""


@pytest.mark.slow
def test_inexact_pixels_do_not_depend_on_the_processor() -> None:
    def printed(instructions: str) -> str:
        environment = {**os.environ, "ATEN_CPU_CAPABILITY": instructions}
        command = [sys.executable, "-c", HASHED]
        return subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True
        ).stdout

    assert printed("default") == printed("avx2")


def test_settings_are_read_as_open_clip_reads_them() -> None:
    cfg = Preprocessing.of(
        {"size": 48, "mean": 0.5, "std": [0.1, 0.2, 0.3], "interpolation": "random"}
    )
    assert cfg == Preprocessing(
        48, 48, (0.5, 0.5, 0.5), (0.1, 0.2, 0.3), "bicubic", "shortest", 0
    )
