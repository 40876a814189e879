"""open_clip's evaluation transform, stopping at uint8.

Resizing happens in threads (Pillow frees the interpreter lock) on 3 bytes per pixel;
the normalisation that open_clip does per image in float32 is left to the encoder,
which does it once per batch on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

# Beyond, a resized picture is cropped before and not after: 30 times the usual width.
_LONGEST_SIDE = 10_000
# Below, a resized picture is always exact.
_LEAST_SIDE = 8

#: Raised when a picture has other pixels than before by `exact_decode: false` alone.
INEXACT = 2

Pixels = npt.NDArray[np.uint8]
#: An RGB image, its new (width, height) and the interpolation to the resized image.
_Resize = Callable[["Image.Image", tuple[int, int], str], "Image.Image"]


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

    def __call__(self, image: Image.Image, exact: bool = True) -> Pixels:
        """Return an RGB image as (height, width, 3) uint8, resized and cropped.

        Equal to open_clip's transform before its ToTensor, for RGB input; unless
        `exact`, what becomes half as large or less may be a few of 255 levels beside
        it, mostly by one at some three of 1,000 places, in a sixth of the time.
        """
        resize = _by_pillow if exact else _far_by_torch
        if self.resize_mode == "squash":
            image = resize(image, (self.width, self.height), self.interpolation)
        elif self.resize_mode == "shortest":
            image = self._fill(image, resize)
        else:
            image = self._fit(image, resize)
        return np.asarray(self._crop_or_pad(image))

    def _fill(self, image: Image.Image, resize: _Resize) -> Image.Image:
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
            return resize(image, (new_width, new_height), self.interpolation)
        # 1 × 1,000,000 pixels must not grow into 224 × 224,000,000: resize the
        # middle alone, which differs only in how the cut edges are filtered.
        crop = (min(self.width, new_width), min(self.height, new_height))
        across, down = width / new_width, height / new_height
        left, top = (width - crop[0] * across) / 2, (height - crop[1] * down) / 2
        box = (left, top, width - left, height - top)
        return image.resize(crop, _resampling(self.interpolation), box)

    def _fit(self, image: Image.Image, resize: _Resize) -> Image.Image:
        width, height = image.size
        ratio = max(height / self.height, width / self.width)
        size = (max(1, round(width / ratio)), max(1, round(height / ratio)))
        return resize(image, size, self.interpolation)

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


def _resampling(interpolation: str) -> Image.Resampling:
    from PIL.Image import Resampling

    bilinear = interpolation == "bilinear"
    return Resampling.BILINEAR if bilinear else Resampling.BICUBIC


def _by_pillow(
    image: Image.Image, size: tuple[int, int], interpolation: str
) -> Image.Image:
    return image.resize(size, _resampling(interpolation))


def _far_by_torch(
    image: Image.Image, size: tuple[int, int], interpolation: str
) -> Image.Image:
    """Resize by Pillow's filters with weights of 16 bits instead of 32, to the half.

    torch's vector instructions multiply these many at a time. Enlarged, they clip
    elsewhere; and to one pixel, processors without AVX2 give others (torch 2.13).
    """
    width, height = size
    if min(size) < _LEAST_SIDE or image.width < 2 * width or image.height < 2 * height:
        return _by_pillow(image, size, interpolation)
    import torch
    from PIL import Image

    # Writable, as torch asks of all memory, though it only reads.
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(
        pixels, (height, width), mode=interpolation, antialias=True
    )
    return Image.fromarray(resized[0].permute(1, 2, 0).contiguous().numpy())


def _offset(target: int, size: int) -> int:
    if size <= target:
        return (target - size) // 2
    return -round((size - target) / 2)


def _triple(values: Any) -> tuple[float, float, float]:
    if isinstance(values, (int, float)):
        return (float(values),) * 3
    red, green, blue = (float(value) for value in values)
    return red, green, blue
