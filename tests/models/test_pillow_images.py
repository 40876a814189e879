"""Pillow's own test pictures: golden decodes, and who is refused, by what name."""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from winnow.models.images import FORMATS, ImageRejected, decode_rgb

GOLDEN = Path(__file__).parents[1] / "golden" / "pillow_images.json"


@pytest.fixture(scope="module")
def files(shared: Path) -> dict[str, bytes]:
    table = pq.read_table(shared / "data/outside/pillow_images.parquet")
    pairs = zip(table["uid"].to_pylist(), table["image"].to_pylist(), strict=True)
    return {uid: data or b"" for uid, data in pairs}


def opened(files: dict[str, bytes]) -> Iterator[tuple[str, Image.Image]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for uid, data in files.items():
            try:
                yield uid, Image.open(io.BytesIO(data))
            except Exception:  # as Pillow's own crash tests have it
                continue


def kind_of(image: Image.Image) -> str | None:
    """Return why a picture's decoding needs thought."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return "transparent"
    if image.mode.startswith("I") or image.mode == "F":
        return "deep"
    if "icc_profile" in image.info:
        return "profile"
    return "ink" if image.mode == "CMYK" else None


def decode(data: bytes) -> list[Any]:
    try:
        image = decode_rgb(data)
    except ImageRejected as rejected:
        return [str(rejected)]
    means = np.asarray(image, float).reshape(-1, 3).mean(axis=0)
    return [*image.size, *(round(mean, 1) for mean in means.tolist())]


@pytest.mark.slow
def test_golden_decodes(files: dict[str, bytes]):
    """Size and mean colour of every picture that is not plain, to one level."""
    odd = {
        uid: kind
        for uid, image in opened(files)
        if image.format in FORMATS and (kind := kind_of(image))
    }
    decoded = {uid: decode(files[uid]) for uid in odd}
    if os.environ.get("WINNOW_RECORD_GOLDEN"):
        lines = ",\n ".join(
            f"{json.dumps(uid)}: {json.dumps([odd[uid], *decoded[uid]])}"
            for uid in sorted(odd)
        )
        GOLDEN.write_text("{\n " + lines + "\n}\n")
    golden = json.loads(GOLDEN.read_text())
    assert sorted(golden) == sorted(odd)
    assert sum(kind == "transparent" for kind in odd.values()) >= 53
    for uid, (_, *expected) in golden.items():
        assert len(decoded[uid]) == len(expected), uid
        if len(expected) > 1:
            assert decoded[uid] == pytest.approx(expected, abs=1.0), uid


@pytest.mark.slow
def test_what_pillow_opens_is_decoded_or_named(files: dict[str, bytes]):
    refused: dict[str, str] = {}
    for uid, image in opened(files):
        reason = decode(files[uid])[0]
        if isinstance(reason, str) and image.format not in FORMATS:
            refused[uid] = str(image.format)
            assert reason == f"image_undecodable: {image.format} is not decoded", uid
        elif isinstance(reason, str):
            assert reason != "image_undecodable: unknown format", uid
    # Of a thousand files all but these are of a format that is decoded.
    assert 0 < len(refused) < 60
    assert {"EPS", "FITS"} <= set(refused.values())


@pytest.mark.parametrize(
    ("beginning", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIF"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"<?xml version='1.0'?>\n<svg xmlns='x'></svg>", "SVG"),
        (b"<!DOCTYPE html><html></html>", "HTML"),
        (b"%PDF-1.7\n", "PDF"),
    ],
)
def test_what_is_no_picture_of_pillows_is_named(beginning: bytes, name: str):
    with pytest.raises(ImageRejected, match=f"^image_undecodable: {name} is not"):
        decode_rgb(beginning + bytes(64))


@pytest.mark.parametrize("kind", ["ICO", "TGA", "PCX", "SGI", "DDS", "MSP", "XBM"])
def test_another_lossless_file_has_the_same_pixels(kind: str):
    mode = "1" if kind in ("MSP", "XBM") else "RGB"
    values = np.random.default_rng(2).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    image = Image.fromarray(values).convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **({"sizes": [(32, 32)]} if kind == "ICO" else {}))
    expected = np.asarray(image.convert("RGB"))
    assert (np.asarray(decode_rgb(file.getvalue())) == expected).all()


@pytest.mark.filterwarnings("ignore:Image was not the expected size")
def test_an_icon_larger_inside_than_its_header_says_is_refused():
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "ICO", sizes=[(16, 16)])
    inner = io.BytesIO()
    Image.new("RGB", (300, 200)).save(inner, "PNG")
    header = bytearray(file.getvalue()[:22])
    header[14:18] = len(inner.getvalue()).to_bytes(4, "little")
    data = bytes(header) + inner.getvalue()
    with pytest.raises(ImageRejected, match="image_too_large: 300x200 > 4096"):
        decode_rgb(data, max_pixels=4096)
