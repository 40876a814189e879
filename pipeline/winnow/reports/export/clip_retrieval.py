"""clip-retrieval's files: img_emb/, text_emb/ and metadata/, numbered alike.

Vectors are the run's own: float16, of unit length. Metadata has `uid`, `caption` and
all other columns but the picture. A row stands once, however often it was drawn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.errors import RunError
from winnow.reports.export.kept_rows import VECTORS, KeptRows

_CAPTION = "caption"
_FOLDERS = dict(zip(VECTORS, ("img_emb", "text_emb"), strict=True))


def write_clip_retrieval(rows: KeptRows, folder: Path, shard_rows: int) -> int:
    """Write vectors and metadata in parts of `shard_rows`; return the rows.

    Raises RunError if the run has no vectors.
    """
    if not rows.has_vectors():
        raise RunError(
            "the run has embedded nothing, and clip-retrieval's files hold vectors; "
            "export parquet, or add the step `embed`"
        )
    writer = _VectorParts(folder, shard_rows)
    for batch in rows.batches(vectors=True):
        vectors = {name: _matrix(batch[name]) for name in VECTORS}
        writer.add(_metadata(rows, batch), vectors)
    writer.close()
    return writer.rows


class _VectorParts:
    """Numbered parts of metadata with their vectors."""

    def __init__(self, folder: Path, shard_rows: int) -> None:
        self.rows = 0
        self._folder, self._shard_rows, self._part = folder, shard_rows, 0
        self._held: list[pa.Table] = []
        self._vectors: dict[str, list[npt.NDArray[Any]]] = {n: [] for n in _FOLDERS}
        for name in ("metadata", *_FOLDERS.values()):
            (folder / name).mkdir(parents=True)

    def add(
        self, metadata: pa.Table, vectors: dict[str, npt.NDArray[Any] | None]
    ) -> None:
        start = 0
        while start < len(metadata):
            room = self._shard_rows - sum(map(len, self._held))
            self._held.append(metadata.slice(start, room))
            for name, matrix in vectors.items():
                if matrix is not None:
                    self._vectors[name].append(matrix[start : start + room])
            start += room
            if sum(map(len, self._held)) == self._shard_rows:
                self._flush()

    def close(self) -> None:
        if self._held:
            self._flush()
        for name in _FOLDERS.values():
            vectors = self._folder / name
            if not any(vectors.iterdir()):
                vectors.rmdir()

    def _flush(self) -> None:
        table = pa.concat_tables(self._held)
        file = self._folder / "metadata" / f"metadata_{self._part}.parquet"
        pq.write_table(table, file, compression="zstd")
        for name, parts in self._vectors.items():
            if parts:
                kind = _FOLDERS[name]
                np.save(
                    self._folder / kind / f"{kind}_{self._part}.npy",
                    np.concatenate(parts),
                )
            parts.clear()
        self.rows += len(table)
        self._part, self._held = self._part + 1, []


def _matrix(column: pa.Array) -> npt.NDArray[np.float16] | None:
    """Return vectors (n, d); None where the run has none of this kind."""
    if column.null_count == len(column):
        return None
    if column.null_count:
        raise RunError("some kept rows have no vector; run the recipe again")
    values = column.flatten().to_numpy(zero_copy_only=False)
    # They were float16 before SQL made them wider.
    matrix: npt.NDArray[np.float16] = values.reshape(len(column), -1).astype(np.float16)
    return matrix


def _metadata(rows: KeptRows, batch: pa.RecordBatch) -> pa.Table:
    columns = rows.columns
    arrays: dict[str, pa.Array] = {"uid": batch["uid"]}
    taken = {rows.name(name) for name in columns.others}
    if columns.text is not None:
        name = _CAPTION if _CAPTION not in taken else rows.name(columns.text)
        arrays[name] = batch["text"]
    for name in columns.others:
        arrays[rows.name(name)] = batch[f"extra.{name}"]
    arrays |= {name: batch[name] for name in columns.scores}
    return pa.table(arrays)
