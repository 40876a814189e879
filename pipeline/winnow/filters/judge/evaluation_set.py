"""Images with their right captions, and the vectors that a model gives them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.config.filter_steps import OutsideSet
from winnow.config.model import ModelConfig
from winnow.core.errors import ConfigError, InputError
from winnow.core.hashing import keys
from winnow.core.vectors import to_matrix
from winnow.formats.shard_discovery import find_pool, read_footers
from winnow.models.embed import embed_batches
from winnow.models.encoder import ModelSpec
from winnow.models.local_model import LOCAL_DIR
from winnow.steps.contract import model_spec
from winnow.steps.outside_sets import read_outside

Matrix = npt.NDArray[np.float16]
Ids = npt.NDArray[np.int64]

#: Column of several right captions, taken where it is there.
CAPTIONS = "captions"
_CHUNK_ROWS = 1024


@dataclass(frozen=True)
class EvaluationColumns:
    """What the columns of images with captions mean.

    image: column of the images: bytes, or paths relative to the shard.
    text: column of the captions, a list for several of an image. None: `captions` if
        there is such a column, else `text`.
    uid: column that names an image. None: a hash of its content.
    by: columns of which each value gets figures of its own.

    >>> winnow.EvaluationColumns(text="title").image
    'image'
    """

    image: str = "image"
    text: str | None = None
    uid: str | None = "uid"
    by: tuple[str, ...] = ()


@dataclass(frozen=True)
class EvaluationSet:
    """n images in the order of their uids, with ids of their captions in `texts`."""

    name: str
    given: OutsideSet
    uids: list[str]
    #: Place of each image among all rows of the data.
    places: Ids
    captions: list[tuple[int, ...]]
    texts: list[str]
    #: Values of the columns to group by: (n,) strings each.
    groups: dict[str, list[str]]
    unusable: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.uids)

    def only(self, rows: npt.NDArray[np.bool_]) -> EvaluationSet:
        """Return the images of `rows`."""
        return self.take(rows, Counter())

    def keys(self, salt: str) -> npt.NDArray[np.uint64]:
        """Return a uniform number for each image."""
        return keys(self.uids, salt)

    def take(
        self, rows: npt.NDArray[np.bool_], unusable: Counter[str]
    ) -> EvaluationSet:
        """Return the images of `rows`; captions that nobody has any more go."""
        chosen = np.flatnonzero(rows).tolist()
        kept = [self.captions[row] for row in chosen]
        ids, texts = _numbered([[self.texts[i] for i in some] for some in kept])
        return replace(
            self,
            uids=[self.uids[row] for row in chosen],
            places=self.places[rows],
            captions=ids,
            texts=texts,
            groups={n: [v[row] for row in chosen] for n, v in self.groups.items()},
            unusable=dict(Counter(self.unusable) + unusable),
        )


def model_of(name: str, precision: str = "auto") -> ModelSpec:
    """Return the encoder of `local-dir:FOLDER`, a folder, `hf-hub:…`, or `ARCH@TAG`.

    Raises ConfigError for an unknown precision.
    """
    if not name.startswith(LOCAL_DIR) and Path(name).expanduser().is_dir():
        name = f"{LOCAL_DIR}{Path(name).expanduser()}"
    architecture, separator, tag = name.partition("@")
    if name.startswith(LOCAL_DIR):
        architecture, separator, tag = name, "", ""
    config = ModelConfig(name=architecture, pretrained=tag if separator else None)
    spec = model_spec(config)
    return replace(spec, precision=precision)


def load_set(
    path: str, columns: EvaluationColumns, only: Collection[str] | None = None
) -> EvaluationSet:
    """Read uids, captions and groups of `path`; images stay where they are.

    only: uids to take. Rows without a caption are counted as unusable. Raises
    InputError if nothing is left, or for a column that the data lacks.
    """
    given = _described(path, columns)
    assert given.text is not None
    uids: list[str] = []
    captions: list[list[str]] = []
    places: list[int] = []
    groups: dict[str, list[str]] = {name: [] for name in columns.by}
    unusable: Counter[str] = Counter()
    for row_number, uid, values in _rows(given, columns.by):
        if only is not None and uid not in only:
            continue
        row_captions = _captions(values[0])
        if not row_captions:
            unusable["caption_missing"] += 1
            continue
        uids.append(uid)
        captions.append(row_captions)
        places.append(row_number)
        for name, value in zip(columns.by, values[1:], strict=True):
            groups[name].append("(none)" if value is None else str(value))
    if not uids:
        wanted = f" of the {len(only)} that were asked for" if only is not None else ""
        raise InputError(f"{path}: no row{wanted} has a caption")
    order = sorted(range(len(uids)), key=lambda row: (uids[row], places[row]))
    ids, texts = _numbered([captions[row] for row in order])
    return EvaluationSet(
        name=given.title,
        given=given,
        uids=[uids[row] for row in order],
        places=np.array(places)[order],
        captions=ids,
        texts=texts,
        groups={n: [v[row] for row in order] for n, v in groups.items()},
        unusable=dict(unusable),
    )


def _described(path: str, columns: EvaluationColumns) -> OutsideSet:
    if path.endswith(".npy"):
        raise ConfigError(f"{path}: give images and captions, not a matrix of vectors")
    pool = find_pool(path)
    _, schema, _ = read_footers(pool.paths, kind=pool.kind)
    text = columns.text or (CAPTIONS if CAPTIONS in schema.names else "text")
    uid = columns.uid if columns.uid in schema.names else None
    if columns.uid not in (None, "uid") and uid is None:
        raise InputError(f"{path}: no column '{columns.uid}'")
    return OutsideSet(path=path, image=columns.image, text=text, uid=uid)


def load_uids(data: EvaluationSet) -> list[str]:
    """Return the uids of all rows of the data, those that are not in the set too."""
    return [
        uid
        for part in read_outside(data.given, ())
        for uid in part.column("uid").to_pylist()
    ]


def _rows(
    given: OutsideSet, by: Sequence[str]
) -> Iterator[tuple[int, str, tuple[Any, ...]]]:
    row_number = 0
    names = [str(given.text), *by]
    for part in read_outside(given, (), tuple(dict.fromkeys(names))):
        values = [part.column(f"extra.{name}").to_pylist() for name in names]
        for uid, row in zip(
            part.column("uid").to_pylist(), zip(*values, strict=True), strict=True
        ):
            yield row_number, uid, row
            row_number += 1


def _captions(value: Any) -> list[str]:
    several = value if isinstance(value, list) else [value]
    return list(dict.fromkeys(str(text) for text in several if text is not None))


def _numbered(captions: Iterable[list[str]]) -> tuple[list[tuple[int, ...]], list[str]]:
    """Return captions as ids into their distinct texts, by first appearance."""
    number: dict[str, int] = {}
    ids = [
        tuple(number.setdefault(text, len(number)) for text in row_captions)
        for row_captions in captions
    ]
    return ids, list(number)


def with_image_vectors(
    data: EvaluationSet, spec: ModelSpec
) -> tuple[EvaluationSet, Matrix]:
    """Return the images that can be embedded and their (n, dim) unit vectors.

    Raises InputError if there is none, ConfigError (see `load_encoder`).
    """
    row_of = {row_number: row for row, row_number in enumerate(data.places.tolist())}
    matrix: Matrix | None = None
    valid = np.zeros(len(data), bool)
    unusable: Counter[str] = Counter()
    for batch in embed_batches(_images(data, row_of), spec=spec, modalities=("image",)):
        reasons = batch.column("reason").to_pylist()
        unusable.update(reason.partition(":")[0] for reason in reasons if reason)
        good = [reason is None for reason in reasons]
        rows = [int(row) for row in batch.column("uid").to_pylist()]
        rows = [row for row, fine in zip(rows, good, strict=True) if fine]
        vectors = to_matrix(batch.column("image_vector").filter(pa.array(good)))
        if matrix is None:
            matrix = np.zeros((len(data), vectors.shape[1]), np.float16)
        matrix[rows] = vectors
        valid[rows] = True
    if matrix is None or not valid.any():
        raise InputError(f"{data.given.path}: no image can be used ({dict(unusable)})")
    if valid.all():
        return data, matrix
    return data.take(valid, unusable), matrix[valid]


def _images(data: EvaluationSet, row_of: dict[int, int]) -> Iterator[pa.RecordBatch]:
    """Yield (row, image) of the set's images, in the order of the data."""
    before = 0
    for part in read_outside(data.given, ("image",)):
        wanted = [
            (row_of[before + i], i) for i in range(len(part)) if before + i in row_of
        ]
        before += len(part)
        if wanted:
            rows = pa.array([str(row) for row, _ in wanted], pa.string())
            images = part.column("image").take(pa.array([i for _, i in wanted]))
            yield pa.RecordBatch.from_arrays([rows, images], names=["uid", "image"])


def image_bytes(data: EvaluationSet, rows: Iterable[int]) -> dict[int, bytes | None]:
    """Return the encoded images of some rows of the set."""
    row_of = {int(data.places[row]): row for row in rows}
    image_of: dict[int, bytes | None] = {}
    for batch in _images(data, row_of) if row_of else ():
        numbers = [int(row) for row in batch.column("uid").to_pylist()]
        image_of |= dict(zip(numbers, batch.column("image").to_pylist(), strict=True))
    return image_of


def text_vectors(texts: Sequence[str], spec: ModelSpec) -> Matrix:
    """Return (m, dim) unit vectors of texts.

    Raises InputError for a text whose vector is zero or not finite.
    """

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(texts), _CHUNK_ROWS):
            some = list(texts[start : start + _CHUNK_ROWS])
            uids = pa.array([str(start + i) for i in range(len(some))])
            columns = [uids, pa.array(some, pa.string())]
            yield pa.RecordBatch.from_arrays(columns, names=["uid", "text"])

    parts = []
    for batch in embed_batches(batches(), spec=spec, modalities=("text",)):
        column = batch.column("text_vector")
        if column.null_count:
            raise InputError("the model gives a caption no finite vector")
        parts.append(to_matrix(column))
    return np.concatenate(parts)
