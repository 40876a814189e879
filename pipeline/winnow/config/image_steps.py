"""The settings of the steps that judge and compare pictures without a model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

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
