"""Colours as their profile means them: any ICC profile to sRGB, by littleCMS."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from winnow.core.run_log import DECODERS

if TYPE_CHECKING:
    from PIL import Image

#: What the values of a mode are in a profile's words.
_SPACES = {"RGB": "RGB ", "RGBA": "RGB ", "CMYK": "CMYK", "L": "GRAY"}
_SRGB = re.compile(r"\bsRGB\b")


def in_srgb(image: Image.Image) -> Image.Image:
    """Return an image with its ICC profile applied: RGB, or RGBA where it was that.

    Values of an image without a profile, with one that says sRGB, or with one that is
    broken or of another kind of values, are taken for sRGB and stay as they are; the
    last two are logged. Perceptual intent, as viewers choose.
    """
    from PIL import ImageCms

    icc = image.info.get("icc_profile")
    if not icc or image.mode not in _SPACES:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if _SRGB.search(ImageCms.getProfileDescription(profile)):
            return image
        space = profile.profile.xcolor_space
        if space != _SPACES[image.mode]:
            raise ImageCms.PyCMSError(f"a profile of {space.strip()}, not {image.mode}")
        return _applied(image, profile)
    except Exception as error:  # a profile is as untrusted as the rest of the file
        fault = str(error).partition("\n")[0][:120] or type(error).__name__
        DECODERS.warning(
            "its colour profile cannot be used (%s); its values are taken for sRGB",
            fault,
        )
        return image


def _applied(image: Image.Image, profile: Any) -> Image.Image:
    from PIL import ImageCms

    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    srgb = ImageCms.createProfile("sRGB")
    changed = ImageCms.profileToProfile(image, profile, srgb, outputMode=mode)
    assert changed is not None
    return changed
