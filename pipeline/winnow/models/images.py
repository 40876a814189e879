"""Untrusted image bytes to RGB pixels.

Every refusal is an `ImageRejected` with a short, stable reason, so that one bad file
becomes one quarantined row and never the end of a run.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from winnow.core.errors import WinnowError
from winnow.core.hashing import digest
from winnow.models.colour_profiles import in_srgb
from winnow.models.decoder_warnings import decoding
from winnow.models.image_kinds import damaged_kind, is_plain_text, other_kind

if TYPE_CHECKING:
    from PIL import Image

# Formats whose decoders run inside this process, each after all that know their own
# magic number better (TGA has none; a JPEG may turn out to be a multi-picture MPO). EPS
# is absent because Pillow hands it to Ghostscript, a program of its own; FITS, because
# its data may be packed without a bound; the rest is not for pictures, or nobody's.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM"),
    *("ICO", "CUR", "ICNS", "PSD", "DDS", "QOI", "SGI", "SUN", "DIB", "BLP", "FTEX"),
    *("PCX", "DCX", "FLI", "GBR", "MSP", "PIXAR", "XBM", "XPM", "TGA"),
)

#: Raised when the same bytes are decoded to other pixels than before; then the versions
#: of steps that store what comes of pixels are raised, too.
DECODING = 2

#: Pillow's own threshold: an RGB image of 256 MiB.
DEFAULT_MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3

#: What stands behind a transparent picture, as on most pages that show it.
BACKGROUND = "white"
#: In place of a background: transparency is ignored.
DROPPED = "drop"
_GREY = ("1", "L", "LA", "La")
_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")

#: Modes of Pillow that a PNG holds as they are.
_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_EXIF_ORIENTATION = 0x0112
_EXIF_SOURCES = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
_opening = threading.Lock()


#: What is made of a decoded image.
Made = TypeVar("Made")


class ImageRejected(WinnowError):
    """The bytes are no usable image; `str(error)` is the reason for the ledger.

    One of "image_empty", "image_truncated", "image_undecodable: WHY",
    "image_too_large: WxH > LIMIT" (or "… tile", of a TIFF).
    """


def decode_rgb(
    data: bytes,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    background: str = BACKGROUND,
    least_side: int | None = None,
) -> Image.Image:
    """Decode `data` to an upright RGB image of at most `max_pixels` pixels.

    background: a colour by name or as `#rrggbb`, on which what is transparent is
    shown; DROPPED: transparency is ignored, as by open_clip (`convert("RGB")`), so that
    shapes of one colour are all one flat picture.
    least_side: a JPEG may come out at a half, a quarter or an eighth of its size, as
    long as both sides have so many pixels; None: every image at its own size.

    The size is checked in the header, before any pixel is decompressed. Animations
    give their first frame; palettes and CMYK (Adobe's inverted kind too) become their
    colours, and an ICC profile is applied, to sRGB. Unlike in open_clip, grey of more
    than 8 bits is scaled by the range of as
    many bits as its largest value takes, not clipped to white, and EXIF orientation is
    applied, because it is how people see the picture.

    libjpeg reduces by leaving out the high frequencies of each block of 8 × 8, before
    it computes a pixel (the scaled inverse DCT of its `scale_denom`).

    Raises ImageRejected.
    """
    return _decoded(
        data, max_pixels, lambda image: _to_rgb(image, background), least_side
    )


def decode_plain(
    data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS, background: str = BACKGROUND
) -> Image.Image:
    """Decode as `decode_rgb` does, but what is stored in one channel stays grey (L).

    Raises ImageRejected.
    """

    def plain(image: Image.Image) -> Image.Image:
        grey = _is_deep(image) or image.mode in _GREY
        rgb = _to_rgb(image, background)
        return rgb.convert("L") if grey else rgb

    return _decoded(data, max_pixels, plain)


def as_png(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> bytes:
    """Return an image as PNG of the same pixels, upright; of an animation the first.

    What PNG has no place for (CMYK, floating point) becomes 8-bit RGB.

    Raises ImageRejected.
    """
    return _decoded(data, max_pixels, _png)


def pixel_digest(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> bytes:
    """Return a 128-bit digest of an image's size and pixels, whatever file holds them.

    Of the upright picture: its RGB values, with its transparency where it has any, and
    the values themselves where they are deeper than 8 bits.

    Raises ImageRejected.
    """
    return _decoded(data, max_pixels, _digest)


@decoding()
def _decoded(
    data: bytes,
    max_pixels: int,
    use: Callable[[Image.Image], Made],
    least_side: int | None = None,
) -> Made:
    image = _open(data, max_pixels)
    try:
        if least_side is not None and image.format == "JPEG":
            image.draft(None, (least_side, least_side))
        image.load()
        # Of an icon the picture inside may be larger than the header says.
        _require_size(image, max_pixels)
        return use(_upright(image))
    except ImageRejected:
        raise
    except Exception as error:  # any decoder may raise anything on hostile bytes
        raise ImageRejected(_reason(error)) from None


def _png(image: Image.Image) -> bytes:
    if image.mode not in _PNG:
        alpha = _has_alpha(image)
        image = image.convert("RGBA") if alpha else _to_rgb(image, DROPPED)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _digest(image: Image.Image) -> bytes:
    width, height = image.size
    size = f"{width}x{height}".encode()
    if _is_deep(image):
        values = np.asarray(image)
        kind = "<f4" if image.mode == "F" else "<i4"
        return digest(size, image.mode[:1].encode(), values.astype(kind).tobytes())
    if _has_alpha(image):
        layered = image.convert("RGBA")
        if layered.getchannel("A").getextrema() != (255, 255):
            return digest(size, b"RGBA", layered.tobytes())
    return digest(size, _to_rgb(image, DROPPED).tobytes())


@decoding()
def header_size(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int]:
    """Return (width, height) as `decode_rgb` would give them, from the header alone.

    Raises ImageRejected under the same conditions, but for damage to the pixels.
    """
    image = _open(data, max_pixels)
    width, height = image.size
    # Pillow has already turned a TIFF's size.
    if image.format != "TIFF" and _orientation(image) >= 5:
        return height, width
    return width, height


Box = tuple[float, float, float, float]


def grey_pixels(
    image: Image.Image, size: tuple[int, int], boxes: Sequence[Box]
) -> npt.NDArray[np.uint8]:
    """Return parts of an RGB image squeezed to grey: (boxes, height, width) uint8.

    size: (width, height). A box is (left, top, right, bottom) in fractions of the
    image's.
    """
    from PIL.Image import Resampling

    grey, (width, height) = image.convert("L"), image.size
    parts = [
        grey.resize(
            size,
            Resampling.LANCZOS,
            (left * width, top * height, right * width, bottom * height),
        )
        for left, top, right, bottom in boxes
    ]
    return np.stack([np.asarray(part) for part in parts])


def _open(data: bytes, max_pixels: int) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise ImageRejected("image_empty")
    try:
        with _without_pillows_limit():
            image = Image.open(io.BytesIO(data), formats=_formats())
    except UnidentifiedImageError as error:
        raise ImageRejected(_unknown(data) or _reason(error)) from None
    except Exception as error:
        raise ImageRejected(_reason(error)) from None
    _require_size(image, max_pixels)
    return image


def _require_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageRejected(f"image_too_large: {width}x{height} > {max_pixels}")


def _unknown(data: bytes) -> str | None:
    """Return what data are that are not decoded; None: nothing that is known."""
    from PIL import Image

    name = other_kind(data)
    if name is None:
        others = tuple(sorted(set(Image.OPEN) - set(FORMATS)))
        try:
            # Headers alone; what draws them is never called.
            with _without_pillows_limit():
                name = str(Image.open(io.BytesIO(data), formats=others).format)
        except Exception:  # as any decoder may do
            name = None
    if name is not None:
        return f"image_undecodable: {name} is not decoded"
    damaged = damaged_kind(data)
    if damaged is not None:
        return f"image_undecodable: damaged {damaged}"
    return "image_undecodable: text, no picture" if is_plain_text(data) else None


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats that this build of Pillow has a decoder for."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Silence Pillow's bomb warning; the limit that counts is the caller's.

    A warning filter would not do: before Python 3.14 it is not safe in threads.
    """
    from PIL import Image

    with _opening:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _orientation(image: Image.Image) -> int:
    if not any(source in image.info for source in _EXIF_SOURCES):
        return 1
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # damaged metadata does not make the picture unusable
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(image: Image.Image) -> Image.Image:
    from PIL.Image import Transpose

    if image.format == "TIFF":  # Pillow has done it while loading
        return image
    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _is_deep(image: Image.Image) -> bool:
    """Whether a grey image has more than 8 bits a pixel."""
    return image.mode.startswith("I") or image.mode == "F"


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in _ALPHA or "transparency" in image.info


def _to_rgb(image: Image.Image, background: str) -> Image.Image:
    from PIL import Image

    if _is_deep(image):
        # What colour such a file calls transparent is one of its deep values.
        image = Image.fromarray(_to_8_bit(image))
    elif "icc_profile" in image.info:
        if image.mode not in ("L", "CMYK"):
            image = image.convert("RGBA" if _has_alpha(image) else "RGB")
        image = in_srgb(image)
    if background != DROPPED and _has_alpha(image):
        layered = image.convert("RGBA")
        canvas = Image.new("RGBA", layered.size, background)
        return Image.alpha_composite(canvas, layered).convert("RGB")
    if image.mode == "RGB":
        return image
    # Pillow warns that these bytes will be lost; losing them is what we ask for.
    image.info.pop("transparency", None)
    return image.convert("RGB")


def _to_8_bit(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Scale deep greys: whole numbers by the bits that the largest of them takes.

    Of 16 bits the high byte remains, as in Pillow for 16-bit RGB; a depth map or a
    12-bit picture in such a file is not black. Floats are taken as fractions of white
    if none exceeds 1, else as 0–255.
    """
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image, np.float32), nan=0.0)
        white = 255.0 if values.max() <= 1.0 else 1.0
        return np.asarray(np.rint(values * white).clip(0, 255), np.uint8)
    levels: npt.NDArray[np.int64] = np.asarray(image, np.int64)
    levels = levels.clip(0, 0xFFFF)
    bits = int(levels.max(initial=0)).bit_length()
    if bits >= 8:
        return np.asarray(levels >> (bits - 8), np.uint8)
    return np.asarray(levels * 255 // max(1, 2**bits - 1), np.uint8)


def _reason(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    message = str(error).partition("\n")[0]
    if isinstance(error, Image.DecompressionBombError):  # a tile beyond its image
        return "image_too_large: tile"
    if "truncated" in message.lower() or isinstance(error, EOFError):
        return "image_truncated"
    if isinstance(error, UnidentifiedImageError):
        return "image_undecodable: unknown format"
    # An address in memory would make the reason differ from run to run.
    message = re.sub(r"<[^>]* at 0x[0-9a-f]+>", "", message).strip()
    return f"image_undecodable: {message[:80] or type(error).__name__}"
