"""Sets beside the pool (targets, evaluation sets): their vectors, images, captions.

They are read on the driver, which holds their vectors; whatever cannot be used is
counted by its reason.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.config.filter_steps import OutsideSet
from winnow.core.errors import ConfigError, InputError
from winnow.core.hashing import digest, fingerprint
from winnow.core.vectors import to_matrix, unit_vectors
from winnow.formats.clip_retrieval import map_numbers
from winnow.formats.column_names import column_hint
from winnow.formats.reader import SampleReader, single
from winnow.formats.shard_discovery import (
    common_root,
    find_pool,
    pool_folders,
    read_footers,
)
from winnow.formats.shard_protocol import FoundPool
from winnow.models.embed import embed_batches
from winnow.models.encoder import ModelSpec

#: What the vectors of one outside set may take on the driver and in each worker.
MAX_BYTES = 512 * 2**20

_REFERENCES = pa.schema(
    [("uid", pa.string()), ("source", pa.string()), ("row", pa.int64())]
)
_CHUNK_ROWS = 1024

#: Names and a list column; names, unit vectors and the reason of each that is none.
Part = tuple[list[str], Any]
Usable = tuple[list[str], Any, list[str | None]]


@dataclass(frozen=True)
class OutsideVectors:
    """An outside set's unit vectors, (n, dim) float16, and what each row is called."""

    names: list[str]
    matrix: npt.NDArray[np.float16]
    unusable: dict[str, int] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest says of them."""
        return {
            "vectors": len(self.names),
            "digest": digest(self.matrix.tobytes()).hex(),
            "unusable": self.unusable,
        }


def state_of(given: OutsideSet) -> str:
    """Return a fingerprint of the set's files.

    Raises InputError if there is none, or if they do not fit together.
    """
    if _is_matrix(given):
        file = Path(given.path).expanduser()
        map_numbers(file)
        status = file.stat()
        return fingerprint(f"{status.st_size}:{status.st_mtime_ns}")
    pool = _found(given)
    shards, _, _ = read_footers(pool.paths, kind=pool.kind)
    return fingerprint(repr([(shard.name, shard.fingerprint) for shard in shards]))


def embeds(given: OutsideSet) -> bool:
    """Whether the set's vectors have to be made from its images."""
    return given.vectors is None and not _is_matrix(given)


def has_images(given: OutsideSet) -> bool:
    """Whether the set says that it has images."""
    return given.image is not None and not _is_matrix(given)


def has_captions(given: OutsideSet) -> bool:
    """Whether the set says that it has captions."""
    return given.text is not None and not _is_matrix(given)


def outside_vectors(given: OutsideSet, spec: ModelSpec, dim: int) -> OutsideVectors:
    """Return the set's vectors, of length `dim` like the pool's.

    `spec` is the model that embeds images where the set has no vectors.
    Raises InputError for vectors of another length, for none at all, or for more than
    512 MiB of them; ConfigError if there is neither a vector nor an image column.
    """
    names: list[str] = []
    matrices: list[npt.NDArray[np.float16]] = []
    unusable: Counter[str] = Counter()
    for some, matrix, reasons in outside_parts(given, spec, dim):
        names += some
        matrices.append(matrix)
        unusable.update(reasons)
        if len(names) * dim * 2 > MAX_BYTES:
            raise InputError(
                f"{given.path}: more than {MAX_BYTES >> 20} MiB of vectors; give a "
                "sample of it"
            )
    if not names:
        why = f" ({dict(unusable)})" if unusable else ""
        raise InputError(f"{given.path}: it holds no usable vector{why}")
    return OutsideVectors(names, np.concatenate(matrices), dict(unusable))


def outside_parts(
    given: OutsideSet, spec: ModelSpec, dim: int
) -> Iterator[tuple[list[str], npt.NDArray[np.float16], list[str]]]:
    """Yield the names and unit vectors that can be used, and the others' reasons.

    Arguments and errors as of `outside_vectors`, which holds them all at once.
    """
    if not embeds(given):
        parts = _matrix_parts(given) if _is_matrix(given) else _column_parts(given)
        usable: Iterator[Usable] = (_checked(*part, dim) for part in parts)
    elif given.image is None:
        raise ConfigError(f"{given.path}: name its column of vectors or of images")
    else:
        usable = _embedded(given, spec)
    for names, vectors, reasons in usable:
        good = [reason is None for reason in reasons]
        matrix = to_matrix(vectors.filter(pa.array(good, pa.bool_())))
        fine = [name for name, is_fine in zip(names, good, strict=True) if is_fine]
        yield fine, matrix, [reason for reason in reasons if reason is not None]


def read_outside(
    given: OutsideSet, modalities: Sequence[str], extra: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """Yield uid (the row's name), the asked-for modalities, reason, extra columns.

    Raises InputError if the set lacks a column.
    """
    pool = _found(given)
    shards, schema, _ = read_footers(pool.paths, kind=pool.kind)
    root = common_root(pool.paths)
    columns = {"image": given.image, "text": given.text}
    wanted = [columns[modality] or "" for modality in modalities]
    named = (given.uid,) if given.uid else ()
    for column in (*wanted, *extra, *named):
        if column not in schema.names:
            raise InputError(
                f"{given.path}: no column '{column}'; " + column_hint(column, schema)
            )
    by_name = {shard.name: shard.path for shard in shards}
    folders = pool_folders(given.path)
    reader = SampleReader(
        root, by_name, given.image, given.text, schema, folders, pool.kind
    )
    for shard in shards:
        references = _references(shard.name, shard.rows)
        for part in reader.read(references, modalities, (*extra, *named)):
            yield _named(part, given)


def _references(source: str, rows: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, rows, _CHUNK_ROWS):
        row = np.arange(start, min(rows, start + _CHUNK_ROWS))
        uids = [f"{source}:{number}" for number in row.tolist()]
        yield pa.RecordBatch.from_arrays(
            [pa.array(uids), pa.array([source] * len(row)), pa.array(row)],
            schema=_REFERENCES,
        )


def _named(part: pa.RecordBatch, given: OutsideSet) -> pa.RecordBatch:
    """Call rows by their own uid where they have one."""
    if given.uid is None:
        return part
    given_uids = part.column(f"extra.{given.uid}").cast(pa.string()).to_pylist()
    places = part.column("uid").to_pylist()
    names = [o if o is not None else p for o, p in zip(given_uids, places, strict=True)]
    return part.set_column(0, "uid", pa.array(names, pa.string()))


def _checked(names: list[str], column: pa.Array, dim: int) -> Usable:
    vectors, reasons = unit_vectors(column, dim)
    return names, vectors, reasons.to_pylist()


def _matrix_parts(given: OutsideSet) -> Iterator[Part]:
    matrix = map_numbers(Path(given.path).expanduser())
    if matrix.ndim != 2:
        raise InputError(f"{given.path}: an array of shape {matrix.shape}, no matrix")
    for start in range(0, len(matrix), _CHUNK_ROWS):
        rows = np.asarray(matrix[start : start + _CHUNK_ROWS], np.float64)
        flat = pa.array(rows.reshape(-1))
        names = [str(start + n) for n in range(len(rows))]
        yield names, pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])


def _column_parts(given: OutsideSet) -> Iterator[Part]:
    column = str(given.vectors)
    for part in read_outside(given, (), (column,)):
        yield part.column("uid").to_pylist(), part.column(f"extra.{column}")


def _embedded(given: OutsideSet, spec: ModelSpec) -> Iterator[Usable]:
    faults: dict[str, str] = {}

    def readable() -> Iterator[pa.RecordBatch]:
        for part in read_outside(given, ("image",)):
            for name, fault in zip(
                part.column("uid").to_pylist(),
                part.column("reason").to_pylist(),
                strict=True,
            ):
                if fault is not None:
                    faults[name] = fault
            yield part.select(["uid", "image"])

    for batch in embed_batches(readable(), spec=spec, modalities=("image",)):
        names = batch.column("uid").to_pylist()
        reasons = batch.column("reason").to_pylist()
        told = [
            faults.get(name, reason) if reason is not None else None
            for name, reason in zip(names, reasons, strict=True)
        ]
        yield names, single(pa.chunked_array([batch.column("image_vector")])), told


def _found(given: OutsideSet) -> FoundPool:
    try:
        return find_pool(os.path.expanduser(given.path))
    except InputError as error:
        message = str(error).removeprefix("input.path: ")
        raise InputError(f"{given.path}: {message}") from error


def _is_matrix(given: OutsideSet) -> bool:
    return given.path.endswith(".npy")
