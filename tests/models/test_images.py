"""Untrusted image bytes: what is decoded, how, and what is refused."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor
from winnow.models.images import (
    DEFAULT_MAX_PIXELS,
    DROPPED,
    ImageRejected,
    decode_rgb,
    header_size,
    pixel_digest,
)

from tests.examples import examples

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
SMOOTH = np.stack(np.meshgrid(*[np.linspace(0, 255, 64)] * 2), -1).mean(-1)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def reason(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> str:
    with pytest.raises(ImageRejected) as caught:
        decode_rgb(data, max_pixels)
    return str(caught.value)


@pytest.mark.parametrize("format", ["PNG", "BMP", "PPM", "TIFF"])
def test_lossless_formats_give_the_pixels_back(format: str) -> None:
    image = decode_rgb(encoded(Image.fromarray(NOISE), format))
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), NOISE)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_equals_what_open_clip_would_see(mode: str) -> None:
    data = encoded(Image.fromarray(NOISE).convert(mode), "JPEG")
    expected = Image.open(io.BytesIO(data)).convert("RGB")
    assert np.array_equal(np.asarray(decode_rgb(data)), np.asarray(expected))


def test_an_adobe_cmyk_jpeg_keeps_its_colours() -> None:
    # Pillow writes CMYK the way Photoshop does: inverted, with Adobe's marker.
    red = Image.new("RGB", (32, 32), (250, 10, 10))
    data = encoded(red.convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in data
    assert np.abs(np.asarray(decode_rgb(data), int) - (250, 10, 10)).max() < 12


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(format: str) -> None:
    deep = (SMOOTH * 257).astype(np.uint16)
    image = np.asarray(decode_rgb(encoded(Image.fromarray(deep), format)), int)
    assert np.abs(image - SMOOTH[..., None]).max() <= 1


def test_float_and_32_bit_tiffs_decode() -> None:
    unit = Image.fromarray((SMOOTH / 255).astype(np.float32))
    image = np.asarray(decode_rgb(encoded(unit, "TIFF")), int)
    assert np.abs(image - SMOOTH[..., None]).max() <= 1
    wide = Image.fromarray((SMOOTH * 257).astype(np.int32))
    image = np.asarray(decode_rgb(encoded(wide, "TIFF")), int)
    assert np.abs(image - SMOOTH[..., None]).max() <= 1


def test_transparency_is_dropped_as_open_clip_does_where_asked() -> None:
    alpha = np.dstack([NOISE, np.full(NOISE.shape[:2], 7, np.uint8)])
    image = decode_rgb(encoded(Image.fromarray(alpha)), background=DROPPED)
    assert np.array_equal(np.asarray(image), NOISE)
    grey = Image.fromarray(alpha).convert("LA")
    levels = np.asarray(grey)[..., :1].repeat(3, axis=2)
    image = decode_rgb(encoded(grey), background=DROPPED)
    assert np.array_equal(np.asarray(image), levels)


@pytest.mark.parametrize("background", ["white", "black", "#10c020"])
def test_what_is_transparent_shows_the_background(background: str) -> None:
    opacity = np.tile(np.arange(NOISE.shape[1], dtype=np.uint8) * 4, (len(NOISE), 1))
    data = encoded(Image.fromarray(np.dstack([NOISE, opacity])))
    image = np.asarray(decode_rgb(data, background=background), float)
    behind = np.array(ImageColor.getrgb(background), float)
    share = opacity[..., None] / 255
    assert np.abs(image - (NOISE * share + behind * (1 - share))).max() <= 1


def shape(number: int) -> Image.Image:
    """A black picture that its transparency alone gives a shape."""
    alpha = np.zeros((24, 24), np.uint8)
    alpha[number : number + 3, 3:20] = 255
    black = np.zeros((24, 24, 3), np.uint8)
    return Image.fromarray(np.dstack([black, alpha]))


def test_shapes_on_transparent_ground_are_not_one_picture() -> None:
    shapes = [encoded(shape(number)) for number in range(12)]
    assert len({pixel_digest(data) for data in shapes}) == 12
    assert len({decode_rgb(data).tobytes() for data in shapes}) == 12
    # A whole alpha channel says nothing.
    opaque = Image.fromarray(NOISE)
    assert pixel_digest(encoded(opaque.convert("RGBA"))) == pixel_digest(
        encoded(opaque)
    )


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_colour_that_is_called_transparent_shows_the_background(mode: str) -> None:
    picture = Image.new(mode, (8, 8), 0)
    clear = {"P": 0, "L": 0, "RGB": (0, 0, 0)}[mode]
    data = encoded(picture, "PNG", transparency=clear)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.asarray(decode_rgb(data)).min() == 255
        assert np.asarray(decode_rgb(data, background=DROPPED)).max() == 0


@pytest.mark.parametrize("bits", [1, 3, 8, 10, 12, 14, 16])
def test_grey_of_few_bits_in_a_deep_file_is_not_black(bits: int) -> None:
    ramp = np.linspace(0, 2**bits - 1, 4096).round().astype(np.uint16).reshape(64, 64)
    image = np.asarray(decode_rgb(encoded(Image.fromarray(ramp))), float)[..., 0]
    assert np.abs(image - ramp / (2**bits - 1) * 255).max() <= 1
    # Exact pixels are the values of the file.
    lower = encoded(Image.fromarray(ramp // 2))
    assert pixel_digest(lower) != pixel_digest(encoded(Image.fromarray(ramp)))


def test_a_palette_with_transparency_becomes_its_colours_without_a_warning() -> None:
    palette = Image.fromarray(NOISE).quantize(16)
    data = encoded(palette, "PNG", transparency=bytes(range(16)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = decode_rgb(data, background=DROPPED)
    assert np.array_equal(np.asarray(image), np.asarray(palette.convert("RGB")))


def test_one_bit_images_are_black_and_white() -> None:
    bits = Image.fromarray(NOISE).convert("1")
    image = np.asarray(decode_rgb(encoded(bits)))
    assert np.array_equal(image[..., 0] == 255, np.asarray(bits))
    assert set(np.unique(image)) == {0, 255}


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_an_animation_gives_its_first_frame(format: str) -> None:
    frames = [Image.new("RGB", (20, 10), c) for c in ("red", "blue", "green")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(
        frames[0], format, save_all=True, append_images=frames[1:], **options
    )
    assert np.abs(np.asarray(decode_rgb(data), int)[5, 5] - (255, 0, 0)).max() < 5


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(format: str, orientation: int) -> None:
    quarters = np.zeros((40, 60, 3), np.uint8)
    quarters[:20, :30] = 250  # bright top left
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(quarters), format, exif=exif.tobytes())
    upright = decode_rgb(data)
    # Where the first stored row and column lie (EXIF 2.32, table 6).
    row, column = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("top", "left"),
        6: ("top", "right"),
        7: ("bottom", "right"),
        8: ("bottom", "left"),
    }[orientation]
    assert upright.size == ((60, 40) if orientation < 5 else (40, 60))
    assert header_size(data) == upright.size
    x = 0.2 if column == "left" else 0.8
    y = 0.2 if row == "top" else 0.8
    spots = {
        (a, b): upright.getpixel((int(a * upright.width), int(b * upright.height)))
        for a in (0.2, 0.8)
        for b in (0.2, 0.8)
    }
    assert {spot for spot, colour in spots.items() if colour[0] > 128} == {(x, y)}


def test_damaged_exif_does_not_reject_the_picture() -> None:
    data = encoded(Image.fromarray(NOISE), "PNG", exif=b"Exif\0\0garbage")
    assert decode_rgb(data).size == header_size(data) == (60, 40)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "TIFF"])
def test_truncated_pixels_are_refused(format: str) -> None:
    data = encoded(
        Image.fromarray(RNG.integers(0, 255, (200, 200, 3), np.uint8)), format
    )
    assert reason(data[: len(data) // 2]).startswith(
        ("image_truncated", "image_undecodable")
    )
    if format in ("JPEG", "PNG"):
        assert reason(data[: len(data) // 2]) == "image_truncated"


@pytest.mark.parametrize(
    "data", [b"no image", b"\0" * 100, b"<svg></svg>", b"\xff\xd8"]
)
def test_other_bytes_are_undecodable_for_a_stable_reason(data: bytes) -> None:
    assert reason(data).startswith("image_undecodable: ")
    assert reason(data) == reason(data)
    assert "0x" not in reason(data)


def test_no_bytes_are_an_empty_image() -> None:
    assert reason(b"") == "image_empty"


def test_postscript_never_reaches_its_interpreter() -> None:
    data = encoded(Image.fromarray(NOISE), "EPS")
    assert reason(data) == "image_undecodable: EPS is not decoded"


def test_a_bomb_is_refused_from_its_header_and_pillow_stays_silent() -> None:
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for side in (10_000, 12_000, 60_000):
            bomb = png_header(side, side)
            assert reason(bomb) == (
                f"image_too_large: {side}x{side} > {DEFAULT_MAX_PIXELS}"
            )
            with pytest.raises(ImageRejected, match="image_too_large"):
                header_size(bomb)
        assert header_size(png_header(12_000, 12_000), 200_000_000) == (12_000, 12_000)
    assert before == Image.MAX_IMAGE_PIXELS


def test_the_limit_is_inclusive() -> None:
    data = encoded(Image.fromarray(NOISE))
    assert decode_rgb(data, 40 * 60).size == (60, 40)
    assert reason(data, 40 * 60 - 1) == "image_too_large: 60x40 > 2399"


@settings(max_examples=examples(45, 150), deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF"]), st.data())
def test_flipped_bytes_decode_or_are_rejected(format: str, data: st.DataObject) -> None:
    raw = bytearray(encoded(Image.fromarray(NOISE[:16, :16]), format))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = None
        # Anything but an image or a rejection fails the test.
        with contextlib.suppress(ImageRejected):
            image = decode_rgb(bytes(raw), 10_000)
    assert image is None or image.mode == "RGB"
    assert image is None or 0 < image.width * image.height <= 10_000


def test_pixel_digests_see_pixels_and_shape_but_not_the_container() -> None:
    image = encoded(Image.fromarray(NOISE))
    assert pixel_digest(encoded(Image.fromarray(NOISE), "BMP")) == pixel_digest(image)
    assert len(pixel_digest(image)) == 16
    other = NOISE.copy()
    other[0, 0, 0] ^= 1
    assert pixel_digest(encoded(Image.fromarray(other))) != pixel_digest(image)
    reshaped = encoded(Image.fromarray(NOISE.reshape(60, 40, 3)))
    assert pixel_digest(reshaped) != pixel_digest(image)


def a_photograph(mode: str = "RGB", orientation: int = 1) -> bytes:
    """Return a JPEG of 640 × 480 with soft shapes, as a camera would turn it."""
    across, down = np.meshgrid(np.linspace(0, 6, 640), np.linspace(0, 5, 480))
    waves = [np.sin(across * k) * np.cos(down + k) for k in (1, 2, 3)]
    pixels = ((np.stack(waves, -1) + 1) * 127).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(pixels).convert(mode)
    return encoded(image, "JPEG", quality=95, exif=exif)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("least", "shorter"), [(481, 480), (240, 240), (121, 240), (100, 120), (7, 60)]
)
def test_a_jpeg_is_reduced_by_whole_steps_and_looks_the_same(
    mode: str, orientation: int, least: int, shorter: int
) -> None:
    data = a_photograph(mode, orientation)
    exact, small = decode_rgb(data), decode_rgb(data, least_side=least)
    assert min(small.size) == shorter
    assert (small.width > small.height) == (exact.width > exact.height)
    seen = [np.asarray(i.resize((32, 32)), int) for i in (exact, small)]
    assert np.abs(seen[0] - seen[1]).mean() < 1.5


def test_only_a_jpeg_is_reduced_and_limits_stay_those_of_the_file() -> None:
    pixels = Image.fromarray(np.asarray(Image.open(io.BytesIO(a_photograph()))))
    assert decode_rgb(encoded(pixels), least_side=60).size == (640, 480)
    with pytest.raises(ImageRejected, match="image_too_large: 640x480"):
        decode_rgb(a_photograph(), 640 * 480 - 1, least_side=60)
    with pytest.raises(ImageRejected, match="image_truncated"):
        decode_rgb(a_photograph()[:-2_000], least_side=60)
