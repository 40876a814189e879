"""A run's vectors as what is searched: one path for the command, Python and the app."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.core.errors import ConfigError, InputError, QueryError
from winnow.models.inverted_lists import Bits, Passing
from winnow.models.query_vectors import QueryModel
from winnow.reports.run_view import RunView
from winnow.reports.vector_files import vector_files
from winnow.search.run_vectors import open_vectors
from winnow.steps.nearest_vectors import Near, NearestVectors, passing_rows

#: A text's vector is unlike those of pictures, which the lists were measured with.
_WIDER = 2
#: Answers that one question may ask for.
MOST = 10_000

Vector = npt.NDArray[np.float32]


def picture(file: str | os.PathLike[str]) -> bytes:
    """Return a picture's bytes; raises InputError if the file cannot be read."""
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise InputError(
            f"the picture {file} cannot be read: {error.strerror}"
        ) from error


@dataclass(frozen=True)
class Asked:
    """What is searched for: a text, an encoded picture, or a row; one of them."""

    text: str | None = None
    image: bytes | None = None
    like: str | None = None

    def require_one(self) -> None:
        """Raise ConfigError unless one of the three is given."""
        if sum(part is not None for part in (self.text, self.image, self.like)) != 1:
            raise ConfigError("search: give a text, an image or a row, one of them")


class SearchedVectors:
    """The vectors of a run; the first question opens, or makes, what is searched.

    modality: image or text; None: of images, or of texts where there are no others.
    bits: of a number in the codes of inverted lists.

    Raises QueryError if the run has no such vectors.
    """

    def __init__(
        self, view: RunView, *, modality: str | None = None, bits: Bits = 8
    ) -> None:
        self._folder, self._bits = view.folder, bits
        self._marker, self._files, self.modality = _vectors(view, modality)
        made_by = self._marker.facts.get("model")
        self.model = QueryModel(view.config["model"], made_by)
        self._stack = ExitStack()

    def close(self) -> None:
        """Remove what was made for these questions alone."""
        self._stack.close()

    @cached_property
    def nearest(self) -> NearestVectors:
        """The vectors, opened."""
        index = open_vectors(
            self._folder, self._marker, self._files, self.modality, self._stack
        )
        return NearestVectors(index, self._bits)

    def near(
        self, asked: Asked, k: int, passing: list[Passing | None] | None = None
    ) -> list[Near]:
        """Return the k nearest rows, a row that is asked with among them.

        passing: the rows that may be found, as `passing` gives them; None: all. Raises
        QueryError for a text or a picture without the run's model, InputError for a row
        that has no vector.
        """
        wider = _WIDER if asked.text is not None and self.modality == "image" else 1
        return self.nearest.near(self._query(asked), k, passing, wider=wider)

    def passing(self, uids: pa.Array | None) -> list[Passing | None]:
        """Return which rows of each segment may be found; None: all of them."""
        masks = []
        for segment in self.nearest.segments:
            mask = np.ones(segment.size, np.bool_)
            if uids is not None:
                named = pc.is_in(segment.table.column("uid"), value_set=uids)
                mask = named.to_numpy(zero_copy_only=False)
            masks.append(mask)
        return passing_rows(self.nearest.index, masks)

    def _query(self, asked: Asked) -> Vector:
        if asked.like is not None:
            return self._vector_of(asked.like)
        if asked.text is not None:
            vector = self.model.of_text(asked.text)
        else:
            assert asked.image is not None
            if self.modality != "image":
                raise QueryError("the run has vectors of texts alone; ask with a text")
            vector = self.model.of_image(asked.image)
        dim = self.nearest.segments[0].vectors.shape[1]
        if len(vector) != dim:
            raise QueryError(
                f"the model gives {len(vector)} numbers, the run's vectors have {dim}"
            )
        return vector

    def _vector_of(self, uid: str) -> Vector:
        for segment in self.nearest.segments:
            rows = segment.rows_of(pa.array([uid], pa.large_string()))
            if len(rows):
                return np.asarray(segment.vectors[int(rows[0])], np.float32)
        raise InputError(f"{uid} has no vector; it left the run before `embed`")


def _vectors(view: RunView, modality: str | None) -> tuple[Any, list[Path], str]:
    folder, markers = view.folder, view.markers
    if modality is not None:
        return *vector_files(folder, markers, modality), modality
    try:
        return *vector_files(folder, markers, "image"), "image"
    except QueryError as error:
        try:
            return *vector_files(folder, markers, "text"), "text"
        except QueryError:
            raise error from None
