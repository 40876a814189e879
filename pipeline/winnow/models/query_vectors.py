"""A text or a picture as a vector of the model that made a run's vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.core.errors import InputError, QueryError, WinnowError

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class QueryModel:
    """The model of a run, loaded by the first question.

    settings: the section `model` of its recipe. made_by: what the run noted of the
    model that made its vectors; None where they were ready-made.
    """

    settings: Mapping[str, Any]
    made_by: Mapping[str, Any] | None

    def why_not(self, asked: str = "text-to-image search") -> str:
        """Return why nothing can be asked by a text or a picture; '' if it can."""
        if self.made_by:
            return ""
        return f"this run's vectors were ready-made; {_needs(asked)}"

    def of_text(self, text: str) -> Vector:
        """Return the unit vector of a text, (dim,); QueryError without the model."""
        asked = "text-to-image search"
        encoder = self._encoder(asked)
        vector: Vector = encoder.encode_texts([text])[0]
        return vector

    def of_image(self, data: bytes) -> Vector:
        """Return the unit vector of an encoded picture, (dim,).

        Raises QueryError without the model, InputError if it cannot be decoded.
        """
        from winnow.models.images import ImageRejected

        encoder = self._encoder("a search by a picture")
        try:
            pixels = encoder.prepare(data)
        except ImageRejected as error:
            raise InputError(f"the picture cannot be used: {error}") from error
        vector: Vector = encoder.encode_images(pixels[None])[0]
        return vector

    def _encoder(self, asked: str) -> Any:
        if why := self.why_not(asked):
            raise QueryError(why)
        from winnow.models.checkpoint import local_files
        from winnow.models.encoder import ModelSpec, load_encoder

        given = self.settings
        try:
            spec = ModelSpec(
                name=given["name"],
                pretrained=given["pretrained"],
                precision=given["precision"],
                batch_size=1,
                max_pixels=given["max_pixels"],
                background=given["background"],
                files=" ".join(local_files(given["name"], given["pretrained"])),
            )
            encoder = load_encoder(spec)
        except (WinnowError, OSError) as error:
            raise QueryError(f"the run's model cannot be loaded: {error}") from error
        sha256 = encoder.identity["weights_sha256"]
        if sha256 != (self.made_by or {}).get("weights_sha256"):
            raise QueryError(
                f"the weights of {given['name']} have changed since the run; "
                f"{_needs(asked)}"
            )
        return encoder


def _needs(asked: str) -> str:
    return f"{asked} needs the model that made the vectors"
