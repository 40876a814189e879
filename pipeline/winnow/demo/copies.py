"""What the web does to an image that is posted again: new encoding, size or margins."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING, Literal

from winnow.demo.drawing import jpeg

if TYPE_CHECKING:
    from PIL import Image

Change = Literal["reencoded", "resized", "cropped"]
CHANGES: tuple[Change, ...] = ("reencoded", "resized", "cropped")


def decode(data: bytes) -> Image.Image:
    """Return the RGB image of a file that this room has written."""
    from PIL import Image

    return Image.open(io.BytesIO(data)).convert("RGB")


def copy(data: bytes, change: Change, rng: random.Random) -> bytes:
    """Return another JPEG file of the same picture."""
    from PIL import Image

    image = decode(data)
    if change == "reencoded":
        return jpeg(image, rng.randint(35, 75))
    if change == "resized":
        # Both clearly smaller and clearly larger, but above any sensible minimum.
        side = rng.choice((rng.randint(80, 112), rng.randint(144, 220)))
        return jpeg(image.resize((side, side), Image.Resampling.LANCZOS))
    side = round(image.width * rng.uniform(0.90, 0.95))
    left, top = (rng.randint(0, image.width - side) for _ in range(2))
    return jpeg(image.crop((left, top, left + side, top + side)))
