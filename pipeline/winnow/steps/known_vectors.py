"""Vectors that an earlier run has made: of the same rows, or of equal contents.

A vector depends on its sample and the model alone. Rows of the pool as it was are known
by their uid; rows of any other pool by a digest of what was embedded, for which they
are read once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pyarrow as pa

from winnow.core.engine import Frame
from winnow.core.hashing import digest
from winnow.formats.reader import SampleReader
from winnow.models.decode_ahead import BOXES
from winnow.models.masks import PixelBox, pixel_boxes
from winnow.steps.contract import Context

#: What is embedded: the samples as they are, their images flipped left to right, their
#: captions without digits, their images without what is under masks.
Variant = Literal["plain", "mirrored", "no_digits", "masked"]
#: Column of the digest of what a row's vectors are of.
CONTENT = "content"
#: Why a row has no vector of its masked image.
MASKS_MALFORMED = "masks_malformed"

_CONTENTS = pa.schema([("uid", pa.string()), (CONTENT, pa.binary())])


@dataclass(frozen=True)
class VectorsWanted:
    """Which vectors are looked for."""

    modalities: tuple[str, ...]
    variant: Variant = "plain"
    #: Of masked images, the pool's column of their masks.
    masks: str | None = None

    def read(
        self, reader: SampleReader, references: Iterator[pa.RecordBatch]
    ) -> Iterator[pa.RecordBatch]:
        """Yield uid, modalities, reason and `boxes`, where there are masks."""
        extra = () if self.masks is None else (self.masks,)
        for part in reader.read(references, self.modalities, extra):
            yield part if self.masks is None else with_boxes(part, self.masks)

    @property
    def columns(self) -> list[str]:
        """Columns of the vectors."""
        return [f"{modality}_vector" for modality in self.modalities]


def vectors_folder(variant: Variant) -> str:
    """Return where a step stores the vectors of a variant."""
    return "vectors" if variant == "plain" else f"vectors_{variant}"


def contents_folder(variant: Variant) -> str:
    """Return where a step stores what its vectors of a variant are of."""
    return "contents" if variant == "plain" else f"contents_{variant}"


def known_vectors(
    context: Context, samples: Frame, wanted: VectorsWanted
) -> tuple[list[Frame], Frame]:
    """Return (uid, vectors…, content) of samples that are known, and the other samples.

    Of rows with one content, all get the vectors of the row with the smallest uid.
    """
    known: list[Frame] = []
    todo = samples
    if context.reusable is not None and _has(context.reusable, wanted):
        stored = _stored(context, context.reusable, wanted)
        todo = _take(context, stored, todo, known)
    others = [p for p in context.alike if p != context.reusable and _has(p, wanted)]
    if not others:
        return known, todo
    engine = context.engine
    kernel = partial(digest_samples, reader=context.reader, wanted=wanted)
    digested = engine.map_batches(todo, kernel, _CONTENTS, order_by=("source", "row"))
    for folder in others:
        todo = _take(
            context, _of_equal_contents(context, folder, wanted, digested), todo, known
        )
    return known, todo


def _take(context: Context, stored: Frame, todo: Frame, known: list[Frame]) -> Frame:
    """Add what is stored of the samples to `known`; return the other samples."""
    engine = context.engine
    uids = engine.select(todo, {"uid": "uid"})
    taken = engine.join(stored, uids, "uid", "semi")
    known.append(taken)
    return engine.join(todo, engine.select(taken, {"uid": "uid"}), "uid", "anti")


def _of_equal_contents(
    context: Context, folder: Path, wanted: VectorsWanted, digested: Frame
) -> Frame:
    """Return (uid, vectors…, content) of samples whose content a folder has."""
    engine = context.engine
    contents = engine.scan(os.fspath(folder / contents_folder(wanted.variant)))
    firsts = engine.aggregate(contents, CONTENT, {"known": ("uid", "min")})
    equal = engine.join(digested, firsts, CONTENT, "inner")
    vectors = engine.scan(os.fspath(folder / vectors_folder(wanted.variant)))
    named = {"known": "uid", **{name: name for name in wanted.columns}}
    both = engine.join(equal, engine.select(vectors, named), "known", "inner")
    return engine.select(both, {n: n for n in ("uid", *wanted.columns, CONTENT)})


def _has(folder: Path, wanted: VectorsWanted) -> bool:
    variant = wanted.variant
    names = (vectors_folder(variant), contents_folder(variant))
    return all((folder / name).is_dir() for name in names)


def _stored(context: Context, folder: Path, wanted: VectorsWanted) -> Frame:
    engine = context.engine
    vectors = engine.scan(os.fspath(folder / vectors_folder(wanted.variant)))
    contents = engine.scan(os.fspath(folder / contents_folder(wanted.variant)))
    both = engine.join(vectors, contents, "uid", "inner")
    return engine.select(both, {n: n for n in ("uid", *wanted.columns, CONTENT)})


def digest_samples(
    batches: Iterator[pa.RecordBatch],
    *,
    reader: SampleReader,
    wanted: VectorsWanted,
) -> Iterator[pa.RecordBatch]:
    """Yield (uid, content) of each row that can be read."""
    for part in wanted.read(reader, batches):
        part = part.filter(part.column("reason").is_null())  # noqa: PLW2901
        contents = pa.array(content_digests(part, wanted.modalities), pa.binary())
        uids = part.column("uid").cast(pa.string())
        yield pa.RecordBatch.from_arrays([uids, contents], schema=_CONTENTS)


def content_digests(part: pa.RecordBatch, modalities: tuple[str, ...]) -> list[bytes]:
    """Return a digest of each row's image, caption and boxes, whichever it has."""
    columns = [part.column(name).to_pylist() for name in sorted(modalities)]
    if BOXES.name in part.schema.names:
        columns.append([repr(boxes) for boxes in part.column(BOXES.name).to_pylist()])
    return [digest(*map(_framed, row)) for row in zip(*columns, strict=True)]


def with_boxes(part: pa.RecordBatch, masks: str) -> pa.RecordBatch:
    """Put boxes in the place of masks; a row whose masks are none gets a reason."""
    reasons = part.column("reason").to_pylist()
    boxes: list[list[PixelBox]] = []
    for row, given in enumerate(part.column(f"extra.{masks}").to_pylist()):
        try:
            boxes.append(pixel_boxes(given))
        except ValueError:
            boxes.append([])
            reasons[row] = reasons[row] or MASKS_MALFORMED
    index = part.schema.get_field_index("reason")
    return (
        part.drop_columns([f"extra.{masks}"])
        .set_column(index, "reason", pa.array(reasons, pa.string()))
        .append_column(BOXES, pa.array(boxes, BOXES.type))
    )


def _framed(value: bytes | str | None) -> bytes:
    if value is None:
        return b"0"
    return b"1" + (value if isinstance(value, bytes) else value.encode())
