"""Ready-made vectors in place of a model's: list columns, files of other tools.

They are scaled to unit length; a vector that is null, of another length, zero or not
finite rejects its row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from winnow.config.steps import EmbedConfig
from winnow.core import schemas
from winnow.core.engine import Frame
from winnow.core.errors import ConfigError, InputError
from winnow.core.task import taken_ahead
from winnow.core.vectors import unit_vectors
from winnow.formats.clip_retrieval import ClipRetrieval, native
from winnow.formats.npz_features import NpzFeatures
from winnow.formats.reader import SampleReader, by_source, first_vector_length
from winnow.numeric.threads import side_by_side
from winnow.steps.contract import Context
from winnow.steps.index import repeated_uids

_PART_ROWS = 8_192


def ready_vectors(context: Context) -> tuple[Frame, Mapping[str, Any]]:
    """Return (uid, vectors…, reason, valid), and where they come from."""
    config: EmbedConfig = context.config
    if config.clip_retrieval:
        return _from_clip_retrieval(context, Path(config.clip_retrieval))
    if config.npz:
        return _from_npz(context)
    given = {"image": config.image_column, "text": config.text_column}
    columns = tuple(given[m] or "" for m in config.modalities)
    dims = {column: _dimension(context, column) for column in columns}
    if len(set(dims.values())) > 1:
        lengths = " and ".join(f"'{c}' of length {dim}" for c, dim in dims.items())
        raise ConfigError(
            f"{context.step}: the vectors of {lengths} do not fit together; name "
            "columns of one model, or set modalities to one of the two"
        )
    dim = dims[columns[0]]
    schema = _schema(dim, config.modalities)
    kernel = partial(
        normalise_columns,
        reader=context.reader,
        columns=columns,
        modalities=config.modalities,
        dim=dim,
    )
    frame = context.engine.map_batches(
        context.samples, kernel, schema, order_by=("source", "row")
    )
    return frame, {"vectors_from": dict(zip(config.modalities, columns, strict=True))}


def normalise_columns(
    batches: Iterator[pa.RecordBatch],
    *,
    reader: SampleReader,
    columns: tuple[str, ...],
    modalities: tuple[str, ...],
    dim: int,
) -> Iterator[pa.RecordBatch]:
    """Turn list columns into unit float16 vectors; faulty ones get a reason."""

    def normalised(part: pa.RecordBatch) -> pa.RecordBatch:
        reason = part.column("reason")
        arrays = []
        for column in columns:
            unit, fault = unit_vectors(part.column(f"extra.{column}"), dim)
            arrays.append(unit)
            reason = pc.coalesce(reason, fault)
        return pa.RecordBatch.from_arrays(
            [part.column("uid"), *arrays, reason, pc.is_null(reason)],
            names=["uid", *(f"{m}_vector" for m in modalities), "reason", "valid"],
        )

    read = taken_ahead(reader.read(batches, (), columns))
    yield from side_by_side(normalised, read)


def _dimension(context: Context, column: str) -> int:
    """Return the vectors' length: of the type, or of the first vector there is."""
    kind = context.schema.field(column).type
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    length = first_vector_length(context.reader, column)
    if length:
        return length
    raise ConfigError(f"{context.step}: the column '{column}' holds no vector at all")


def _from_npz(context: Context) -> tuple[Frame, Mapping[str, Any]]:
    config: EmbedConfig = context.config
    names = {"image": config.npz_image, "text": config.npz_text}
    arrays = {str(modality): names[modality] for modality in config.modalities}
    features = NpzFeatures(str(config.npz), arrays)
    dim = features.check(context.shard_rows)
    frame = context.engine.map_batches(
        context.samples,
        partial(read_features, features=features, dim=dim),
        _schema(dim, config.modalities),
        order_by=("source", "row"),
    )
    return frame, {"vectors_from": {"npz": str(config.npz), **arrays}}


def read_features(
    batches: Iterator[pa.RecordBatch], *, features: NpzFeatures, dim: int
) -> Iterator[pa.RecordBatch]:
    """Read the rows' features as unit float16 vectors."""
    names = [f"{modality}_vector" for modality in features.arrays]
    for source, rows in by_source(batches):
        matrices = [features.read(source, modality) for modality in features.arrays]
        for part in rows.to_batches(_PART_ROWS):
            reason: pa.Array = pa.nulls(len(part), pa.string())
            arrays = []
            for matrix in matrices:
                given = native(matrix[part.column("row").to_numpy()])
                column = pa.FixedSizeListArray.from_arrays(
                    pa.array(given.reshape(-1)), dim
                )
                unit, fault = unit_vectors(column, dim)
                arrays.append(unit)
                reason = pc.coalesce(reason, fault)
            yield pa.RecordBatch.from_arrays(
                [
                    part.column("uid").cast(pa.string()),
                    *arrays,
                    reason,
                    pc.is_null(reason),
                ],
                names=["uid", *names, "reason", "valid"],
            )


def _from_clip_retrieval(
    context: Context, folder: Path
) -> tuple[Frame, Mapping[str, Any]]:
    config: EmbedConfig = context.config
    layout = ClipRetrieval.find(folder, config.clip_retrieval_uid, config.modalities)
    engine = context.engine
    schema = _schema(layout.dim, config.modalities)
    parts = engine.from_table(pa.table({"part": pa.array(layout.parts, pa.int64())}))
    stored = engine.map_batches(
        parts, partial(read_layout, layout=layout, dim=layout.dim), schema
    )
    uids = engine.select(context.samples, {"uid": "uid"})
    matched = engine.join(stored, uids, "uid", "semi")
    _refuse_repeated(context, matched, folder)
    absent = engine.join(uids, engine.select(stored, {"uid": "uid"}), "uid", "anti")
    lacking = engine.map_batches(absent, partial(reject_absent, schema=schema), schema)
    return engine.union([matched, lacking]), {"vectors_from": str(folder)}


def _refuse_repeated(context: Context, matched: Frame, folder: Path) -> None:
    engine = context.engine
    counts = engine.aggregate(matched, "uid", {"rows": ("uid", "count")})
    repeated = engine.map_batches(counts, repeated_uids, pa.schema([schemas.UID]))
    if engine.count(repeated):
        example = engine.collect(repeated, context.rows)["uid"][0]
        raise InputError(
            f"{folder}: the uid '{example}' stands there twice or more; keep one "
            "vector of each sample"
        )


def read_layout(
    batches: Iterator[pa.RecordBatch], *, layout: ClipRetrieval, dim: int
) -> Iterator[pa.RecordBatch]:
    """Read parts of clip-retrieval's layout as unit float16 vectors."""
    for batch in batches:
        for part in batch.column("part").to_pylist():
            for uids, matrices in layout.read(part):
                reason: pa.Array = pa.nulls(len(uids), pa.string())
                arrays = []
                for matrix in matrices.values():
                    unit, fault = unit_vectors(matrix, dim)
                    arrays.append(unit)
                    reason = pc.coalesce(reason, fault)
                yield pa.RecordBatch.from_arrays(
                    [uids, *arrays, reason, pc.is_null(reason)],
                    names=[
                        "uid",
                        *(f"{m}_vector" for m in matrices),
                        "reason",
                        "valid",
                    ],
                )


def reject_absent(
    batches: Iterator[pa.RecordBatch], *, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Give rows without a stored vector their reason."""
    for batch in batches:
        rows = len(batch)
        values: dict[str, pa.Array] = {
            "uid": batch.column("uid").cast(pa.string()),
            "reason": pa.array(["vector_missing"] * rows, pa.string()),
            "valid": pa.array([False] * rows),
        }
        yield pa.RecordBatch.from_arrays(
            [
                values[f.name] if f.name in values else pa.nulls(rows, f.type)
                for f in schema
            ],
            schema=schema,
        )


def _schema(dim: int, modalities: tuple[str, ...]) -> pa.Schema:
    stored = schemas.vectors(dim, *(f"{m}_vector" for m in modalities))
    return pa.schema([*stored, ("reason", pa.string()), ("valid", pa.bool_())])
