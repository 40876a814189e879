"""Pictures of every kind of poor quality, drawn without an encoder that loses."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter


def _noise(seed: int, width: int, height: int) -> Image.Image:
    """Return soft blobs of colour with sharp edges between them."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((width, height), Image.Resampling.NEAREST)


def _scaled(image: Image.Image, factor: float, shift: float = 0.0) -> Image.Image:
    return image.point([min(255, int(v * factor + shift)) for v in range(256)] * 3)


def pictures() -> dict[str, Image.Image]:
    """Return pictures by name: plain ones, and ones with an issue each."""
    plain = {f"plain{i}": _noise(i, 90 + 7 * i, 80 + 5 * i) for i in range(6)}
    base = _noise(9, 96, 84)
    ramp = np.linspace(0, 255, 96).astype(np.uint8)
    return {
        **plain,
        "dark": _scaled(base, 0.2),
        "light": _scaled(base, 0.02, 250),
        "wide": _noise(10, 300, 60),
        "flat": Image.new("RGB", (90, 80), (120, 130, 140)),
        "blurred": base.filter(ImageFilter.GaussianBlur(14)),
        "grey": base.convert("L"),
        "ramp": Image.fromarray(np.tile(ramp, (84, 1))),
        "large": _noise(11, 900, 800),
        "tiny": _noise(12, 3, 2),
    }


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
