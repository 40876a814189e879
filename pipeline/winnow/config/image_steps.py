"""The settings of the steps that judge and compare pictures without a model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from winnow.config.keeper import Keeper
from winnow.config.section import Fraction, StepConfig

Issue = Literal[
    "dark",
    "light",
    "odd_aspect_ratio",
    "low_information",
    "blurry",
    "grayscale",
    "odd_size",
]


class ImageQualityConfig(StepConfig):
    """Poor pictures, by CleanVision's scores; one below its threshold drops the row."""

    #: Which issues drop a row, tried in this order; `grayscale` may be added.
    issues: tuple[Issue, ...] = (
        "dark",
        "light",
        "odd_aspect_ratio",
        "low_information",
        "blurry",
        "odd_size",
    )
    #: Least brightness, 0 to 1, of the brightest hundredth of the pixels.
    dark: Fraction = 0.32
    #: Least darkness, 0 to 1, of the darkest twentieth of the pixels.
    light: Fraction = 0.05
    #: Least ratio of the shorter side to the longer.
    odd_aspect_ratio: Fraction = 0.35
    #: Least entropy of the colours, in tens of bits.
    low_information: Fraction = 0.3
    #: Least sharpness; 0 is a flat picture.
    blurry: Fraction = 0.29
    #: Spread of greys below which a picture has none to make up for its blur.
    blurry_flat: Fraction = 0.18
    #: How many interquartile ranges a size may lie beyond the pool's quartiles.
    odd_size: Annotated[float, Field(ge=0.0)] = 3.0

    @model_validator(mode="after")
    def _something(self) -> ImageQualityConfig:
        if not self.issues:
            raise ValueError("issues: name one issue at least, or take the step out")
        if len(set(self.issues)) < len(self.issues):
            raise ValueError("issues: an issue stands there twice")
        return self


class PerceptualHashConfig(StepConfig):
    """Near copies of a picture: resized, encoded again, cropped a little."""

    #: phash: by the lowest frequencies; dhash: by which of two neighbours is brighter.
    hash: Literal["phash", "dhash"] = "phash"
    #: Of the 64 bits of two pictures' hashes, how many may differ.
    max_bits: Annotated[int, Field(ge=0, le=16)] = 6
    #: Whether a copy that lacks up to a tenth of a side is found: parts of each picture
    #: are hashed too, as `decontaminate` does.
    crops: bool = True
    #: representatives: a dropped row is near the row kept for it; components: chains of
    #: near rows go together.
    mode: Literal["representatives", "components"] = "representatives"
    #: Which row stays: input columns or pixels, bytes, sharpness, alignment, each with
    #: asc or desc. Empty: the smallest uid.
    keeper: Keeper = ()
    #: Pictures that span fewer grey levels are kept and compared with nothing.
    min_contrast: Annotated[int, Field(ge=0, le=255)] = 8
