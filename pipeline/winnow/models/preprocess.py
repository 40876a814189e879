"""open_clip's evaluation transform, stopping at uint8.

Resizing happens in threads (Pillow frees the interpreter lock) on 3 bytes per pixel;
the normalisation that open_clip does per image in float32 is left to the encoder,
which does it once per batch on the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

# Beyond, a resized picture is cropped before and not after: 30 times the usual width.
_LONGEST_SIDE = 10_000

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a model expects of its images; the fields of open_clip's PreprocessCfg."""

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    resize_mode: Literal["shortest", "longest", "squash"] = "shortest"
    fill_color: int = 0

    @classmethod
    def of(cls, cfg: Mapping[str, Any]) -> Preprocessing:
        """Read open_clip's `preprocess_cfg` (size: int or (height, width))."""
        size = cfg["size"]
        height, width = size if isinstance(size, (tuple, list)) else (size, size)
        mean, std = (_triple(cfg[name]) for name in ("mean", "std"))
        return cls(
            height,
            width,
            mean,
            std,
            # open_clip takes every other word for bicubic.
            "bilinear" if cfg.get("interpolation") == "bilinear" else "bicubic",
            cfg.get("resize_mode") or "shortest",
            int(cfg.get("fill_color") or 0),
        )

    def __call__(self, image: Image.Image) -> Pixels:
        """Return an RGB image as (height, width, 3) uint8, resized and cropped.

        Equal to open_clip's transform before its ToTensor, for RGB input.
        """
        if self.resize_mode == "squash":
            image = image.resize((self.width, self.height), self._resample)
        elif self.resize_mode == "shortest":
            image = self._fill(image)
        else:
            image = self._fit(image)
        return np.asarray(self._crop_or_pad(image))

    @property
    def _resample(self) -> Image.Resampling:
        from PIL.Image import Resampling

        bilinear = self.interpolation == "bilinear"
        return Resampling.BILINEAR if bilinear else Resampling.BICUBIC

    def _fill(self, image: Image.Image) -> Image.Image:
        """Resize so that the shorter side fits; the longer one is cropped later."""
        width, height = image.size
        if self.height == self.width:
            short = min(width, height)
            # torchvision rounds the longer side down.
            new_width = self.width * width // short
            new_height = self.height * height // short
        else:
            ratio = min(height / self.height, width / self.width)
            new_width, new_height = round(width / ratio), round(height / ratio)
        if max(new_width, new_height) <= _LONGEST_SIDE:
            return image.resize((new_width, new_height), self._resample)
        # 1 × 1,000,000 pixels must not grow into 224 × 224,000,000: resize the
        # middle alone, which differs only in how the cut edges are filtered.
        crop = (min(self.width, new_width), min(self.height, new_height))
        across, down = width / new_width, height / new_height
        left, top = (width - crop[0] * across) / 2, (height - crop[1] * down) / 2
        box = (left, top, width - left, height - top)
        return image.resize(crop, self._resample, box)

    def _fit(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        ratio = max(height / self.height, width / self.width)
        size = (max(1, round(width / ratio)), max(1, round(height / ratio)))
        return image.resize(size, self._resample)

    def _crop_or_pad(self, image: Image.Image) -> Image.Image:
        from PIL import Image

        width, height = image.size
        if (width, height) == (self.width, self.height):
            return image
        # Only `longest` has a colour of its own; torchvision's crop pads with black.
        fill = self.fill_color if self.resize_mode == "longest" else 0
        canvas = Image.new("RGB", (self.width, self.height), (fill, fill, fill))
        canvas.paste(image, (_offset(self.width, width), _offset(self.height, height)))
        return canvas


def _offset(target: int, size: int) -> int:
    if size <= target:
        return (target - size) // 2
    return -round((size - target) / 2)


def _triple(values: Any) -> tuple[float, float, float]:
    if isinstance(values, (int, float)):
        return (float(values),) * 3
    red, green, blue = (float(value) for value in values)
    return red, green, blue
