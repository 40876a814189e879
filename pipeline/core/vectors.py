"""Arrow's fixed-size lists of float16 to NumPy matrices and back, without copies."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def to_matrix(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.float16]:
    """Return an (n, dim) view of a `fixed_size_list<halffloat>` column.

    Zero copies for one chunk. Raises ValueError if the column holds a null, since a
    null row has no place in a matrix.
    """
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks != 1:
            column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0)
    if column.null_count:
        raise ValueError(f"{column.null_count} of {len(column)} vectors are null")
    dim = column.type.list_size
    flat = column.flatten().to_numpy(zero_copy_only=True)
    return flat.reshape(len(column), dim)


def to_column(
    matrix: npt.NDArray[np.float16], valid: npt.NDArray[np.bool_] | None = None
) -> pa.FixedSizeListArray:
    """Return an Arrow column over an (n, dim) float16 matrix; `valid` masks nulls."""
    flat = pa.array(np.ascontiguousarray(matrix).reshape(-1))
    mask = None if valid is None or valid.all() else pa.array(~valid)
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1], mask=mask)
