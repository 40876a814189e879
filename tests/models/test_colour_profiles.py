"""Colours by their profile: Display P3 by its formula, a press profile, broken ones."""

from __future__ import annotations

import contextlib
import io
import logging
import struct
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageCms
from winnow.core.run_log import DECODERS
from winnow.models.images import decode_plain, decode_rgb, pixel_digest

#: Colours in the gamut of sRGB.
COLOURS = np.random.default_rng(5).integers(60, 190, (12, 16, 3), dtype=np.uint8)
#: Linear Display P3 to linear sRGB (CSS Color Module Level 4, §10).
P3_TO_SRGB = [
    [1.2249401762805598, -0.22494017628055996, 0.0],
    [-0.042056954709688163, 1.0420569547096881, 0.0],
    [-0.019637554590334432, -0.078636045550631889, 1.0982736001409663],
]


def saved(image: Image.Image, profile: bytes | None, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind, icc_profile=profile)
    return file.getvalue()


@pytest.fixture(scope="module")
def display_p3(shared: Path) -> bytes:
    """Return the profile of one of Pillow's test pictures."""
    table = pq.read_table(shared / "data/outside/pillow_images.parquet")
    for data in table["image"].to_pylist():
        if data and b"mntrRGB" in data and b"acsp" in data:
            image = Image.open(io.BytesIO(data))
            profile = image.info.get("icc_profile") or b""
            with contextlib.suppress(OSError):  # broken ones stand there, too
                if _named(profile).startswith("Display P3"):
                    return profile
    pytest.skip("no picture in Display P3")


def _named(profile: bytes) -> str:
    return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))


def linear(values: np.ndarray) -> np.ndarray:
    values = values / 255
    return np.where(
        values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4
    )


def encoded(light: np.ndarray) -> np.ndarray:
    light = np.clip(light, 0, 1)
    return 255 * np.where(
        light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055
    )


def test_display_p3_is_its_formula(display_p3: bytes):
    data = saved(Image.fromarray(COLOURS), display_p3)
    expected = encoded(linear(COLOURS.astype(float)) @ np.array(P3_TO_SRGB).T)
    decoded = np.asarray(decode_rgb(data), float)
    assert np.abs(decoded - expected).max() <= 2
    assert np.abs(decoded - COLOURS).max() > 5


def test_transparency_and_profile_together(display_p3: bytes):
    opaque = np.dstack([COLOURS, np.full(COLOURS.shape[:2], 255, np.uint8)])
    opaque[:6, :, 3] = 0
    data = saved(Image.fromarray(opaque, "RGBA"), display_p3)
    decoded = np.asarray(decode_rgb(data, background="#0000ff"))
    assert (decoded[:6] == [0, 0, 255]).all()
    plain = np.asarray(decode_rgb(saved(Image.fromarray(COLOURS), display_p3)))
    assert (decoded[6:] == plain[6:]).all()


def test_equal_numbers_of_another_profile_are_other_pixels(display_p3: bytes):
    plain = saved(Image.fromarray(COLOURS), None)
    assert pixel_digest(plain) != pixel_digest(
        saved(Image.fromarray(COLOURS), display_p3)
    )
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert pixel_digest(plain) == pixel_digest(saved(Image.fromarray(COLOURS), srgb))


def press_profile() -> bytes:
    """Return a CMYK profile with two points an ink, paper white and one black.

    ICC.1:2001-04: a header, and a lut8 from inks to L*a*b*. Any black ink, and all of
    the others, are L* = 0; one ink alone is grey of L* = 50.
    """
    identity = bytes(range(256))
    points = []
    for inks in np.ndindex(2, 2, 2, 2):
        black, others = inks[3], sum(inks[:3])
        level = 0 if black or others > 1 else 50 if others else 100
        points += [round(level * 255 / 100), 128, 128]
    matrix = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix
    lut += identity * 4 + bytes(points) + identity * 3
    text = b"desc" + bytes(4) + struct.pack(">I", 6) + b"press\0" + bytes(78)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    copying = b"text" + bytes(4) + b"none\0\0\0\0"
    body, table = b"", b""
    tags = {b"desc": text, b"wtpt": white, b"cprt": copying, b"A2B0": lut}
    start = 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        table += name + struct.pack(">2I", start + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    size = start + len(body)
    header = struct.pack(
        ">I4sI4s4s4s", size, b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab "
    )
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp")
    header += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    header += bytes(128 - len(header))
    return header + struct.pack(">I", len(tags)) + table + body


def test_inks_by_the_profile_of_a_press():
    inks = np.zeros((8, 8, 4), np.uint8)
    inks[4:, :4, 0] = 255
    inks[:, 4:, 3] = 255
    image = Image.fromarray(inks, "CMYK")
    data = saved(image, press_profile(), "TIFF")
    decoded = np.asarray(decode_rgb(data))
    assert np.abs(decoded[:4, :4].astype(int) - 255).max() <= 1
    assert decoded[:, 4:].max() <= 1
    # L* = 50 is 18.4 % of the light.
    grey = encoded(np.array(0.18419))
    assert np.abs(decoded[4:, :4] - grey).max() <= 2
    assert np.abs(np.asarray(image.convert("RGB"), int)[4:, :4] - grey).max() > 50


@pytest.mark.parametrize("profile", [b"no profile", press_profile()[:300]])
def test_a_broken_profile_is_ignored_and_logged(
    profile: bytes,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    data = saved(Image.fromarray(COLOURS), profile)
    monkeypatch.setattr(DECODERS, "handlers", [caplog.handler])
    with caplog.at_level(logging.WARNING):
        assert (np.asarray(decode_rgb(data)) == COLOURS).all()
    assert "colour profile cannot be used" in caplog.text


def test_a_profile_of_other_values_is_ignored(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    data = saved(Image.fromarray(COLOURS), press_profile())
    monkeypatch.setattr(DECODERS, "handlers", [caplog.handler])
    with caplog.at_level(logging.WARNING):
        assert (np.asarray(decode_rgb(data)) == COLOURS).all()
    assert "a profile of CMYK, not RGB" in caplog.text


def test_grey_stays_grey(display_p3: bytes):
    image = Image.fromarray(COLOURS).convert("L")
    decoded = decode_plain(saved(image, None))
    assert decoded.mode == "L"
    assert (np.asarray(decoded) == np.asarray(image)).all()
