"""Rows that are near a text or near another row, by the run's own image vectors.

The vectors are read block by block and never held together; what stays is one number
for each row, as a table that pages join and sort by.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.app.rows import IndexedRows
from winnow.core.errors import QueryError
from winnow.core.sql_text import AS_STORED, literal
from winnow.core.vectors import to_matrix
from winnow.models.query_vectors import QueryModel

_BLOCK = 16_384
_COLUMN = "image_vector"
_MODEL = "text-to-image search needs the model that made the vectors"
#: Answers that are kept for the pages that follow.
_KEPT = 8

Vector = npt.NDArray[np.float32]


class Nearest:
    """Similarities of all rows to a text or a row.

    model: turns a text into a unit vector; `why_no_text` says why that cannot be
    done, if it cannot.
    """

    def __init__(self, rows: IndexedRows, files: list[Path], model: QueryModel) -> None:
        self._rows, self._files, self._model = rows, files, model
        self.why_no_text = model.why_not()
        self._numbers: npt.NDArray[np.int64] | None = None
        self._views: OrderedDict[Any, str] = OrderedDict()
        self._made = 0
        self._lock = Lock()

    def to_text(self, text: str) -> str:
        """Return the view of (n, similarity) to a text; raises QueryError."""
        if self.why_no_text:
            raise QueryError(self.why_no_text)
        return self._view(("text", text), lambda: self._model.of_text(text))

    def to_row(self, n: int) -> str:
        """Return the view of (n, similarity) to a row; QueryError without a vector."""
        return self._view(("row", n), lambda: self._vector_of(n))

    def has(self, n: int) -> bool:
        """Whether a row has a vector."""
        with self._lock:
            return bool((self._row_numbers() == n).any())

    def _view(self, key: Any, vector: Callable[[], Vector]) -> str:
        # One at a time: a scan takes all cores, and the model is not shared.
        with self._lock:
            if key in self._views:
                self._views.move_to_end(key)
                return self._views[key]
            similarities = self._similarities(vector())
            name, self._made = f"similar_{self._made}", self._made + 1
            file = self._rows.sql.scratch / f"{name}.parquet"
            pq.write_table(similarities, file)
            self._rows.sql.define(
                f"CREATE VIEW {name} AS FROM read_parquet("
                f"[{literal(str(file))}], {AS_STORED})"
            )
            self._views[key] = name
            while len(self._views) > _KEPT:
                _, old = self._views.popitem(last=False)
                (self._rows.sql.scratch / f"{old}.parquet").unlink(missing_ok=True)
            return name

    def _similarities(self, query: Vector) -> pa.Table:
        numbers = self._row_numbers()
        scores = np.full(len(numbers), np.nan, np.float32)
        for start, matrix in _blocks(self._files):
            if matrix.shape[1] != len(query):
                raise QueryError(
                    f"the model gives {len(query)} numbers, the run's vectors have "
                    f"{matrix.shape[1]}; {_MODEL}"
                )
            scores[start : start + len(matrix)] = matrix.astype(np.float32) @ query
        known = (numbers >= 0) & np.isfinite(scores)
        order = np.argsort(numbers[known])
        # Six places: what is left of the order of sums in a product is below that.
        similar = np.round(scores[known][order].astype(np.float64), 6)
        return pa.table({"n": numbers[known][order], "similarity": similar})

    def _row_numbers(self) -> npt.NDArray[np.int64]:
        """Return each vector's row number, in the order of the files; -1: none."""
        if self._numbers is None:
            listed = ", ".join(literal(str(file)) for file in self._files)
            table = self._rows.table(
                "SELECT coalesce(r.n, -1) AS n FROM (SELECT uid, filename AS f, "
                "file_row_number AS place FROM read_parquet("
                f"[{listed}], {AS_STORED}, filename = true, file_row_number = true)) v "
                "LEFT JOIN (SELECT uid, n FROM rows WHERE step IS DISTINCT FROM "
                "'index') r USING (uid) ORDER BY f, place"
            )
            self._numbers = table["n"].to_numpy()
        return self._numbers

    def _vector_of(self, n: int) -> Vector:
        positions = np.flatnonzero(self._row_numbers() == n)
        if not len(positions):
            raise QueryError("that row has no vector; it left the run before `embed`")
        first = int(positions[0])
        for start, matrix in _blocks(self._files):
            if start <= first < start + len(matrix):
                vector: Vector = matrix[first - start].astype(np.float32)
                return vector
        raise QueryError("the run's vectors are not whole; run the recipe again")


def _blocks(files: list[Path]) -> Iterator[tuple[int, npt.NDArray[np.float16]]]:
    """Yield (place of the first one, vectors); a missing vector is all NaN."""
    start = 0
    for file in files:
        with pq.ParquetFile(file, memory_map=True) as opened:
            for batch in opened.iter_batches(_BLOCK, columns=[_COLUMN]):
                column = batch.column(0)
                yield start, _matrix(column)
                start += len(column)


def _matrix(column: pa.Array) -> npt.NDArray[np.float16]:
    if not column.null_count:
        return to_matrix(column)
    dim = column.type.list_size
    matrix = np.full((len(column), dim), np.nan, np.float16)
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    matrix[valid] = to_matrix(column.drop_null())
    return matrix
