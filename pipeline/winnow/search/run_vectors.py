"""A run's vectors as an index that can be searched, kept beside the run.

    RUN/search/MODALITY/    an index of vectors, one name for each row that has one

It is made by the first search, known by the checksums of the run's own files, and made
again when these differ, or when it is damaged or gone.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from winnow.core.errors import ConfigError, InputError
from winnow.core.hashing import fingerprint
from winnow.core.marker import Marker
from winnow.core.run_folder import RunFolder, remove
from winnow.core.vectors import to_matrix
from winnow.indexes.segment import DamagedIndex
from winnow.indexes.vector_index import SEGMENT_ROWS, VectorIndex, named_rows

FOLDER = "search"


def open_vectors(
    folder: RunFolder,
    marker: Marker,
    files: Sequence[Path],
    modality: str,
    stack: ExitStack,
) -> VectorIndex:
    """Return the index of a run's vectors; makes it if there is none as they are now.

    marker, files: the step that made them, and where they lie.
    stack: what ends the index where the run's folder cannot be written.
    """
    path = folder.file(FOLDER) / modality
    state = _state(marker, files)
    try:
        index = VectorIndex(path)
        if index.settings["of"] == state and index.segments is not None:
            return index
    except (ConfigError, DamagedIndex):
        pass
    # The vectors are read whole now, so what is read must be what was written.
    folder.require_whole(marker, "artifacts/")
    try:
        path.parent.mkdir(exist_ok=True)
        remove(path)
        return _built(path, state, files, modality)
    except (OSError, ConfigError):
        # Only to be read, or another process is about to: for this one alone, then.
        scratch = stack.enter_context(tempfile.TemporaryDirectory("winnow"))
        return _built(Path(scratch, modality), state, files, modality)


def _state(marker: Marker, files: Sequence[Path]) -> str:
    named = {file.name for file in files}
    seals = [seal for name, seal in marker.files.items() if Path(name).name in named]
    return fingerprint(json.dumps([marker.fingerprint, sorted(map(str, seals))]))


def _built(path: Path, state: str, files: Sequence[Path], modality: str) -> VectorIndex:
    columns = {"uid": "uid", "vector": f"{modality}_vector"}
    with VectorIndex.built(path, {"of": state}, columns, ()) as index:
        add_vectors(index, stored_vectors(files, modality))
    return VectorIndex(path)


def add_vectors(
    index: VectorIndex, blocks: Iterator[tuple[pa.Array, npt.NDArray[np.float16]]]
) -> None:
    """Add blocks of (uids, vectors), none of them there yet, as one addition."""
    with index.locked():
        number = index.begin_addition((), (), named=True)
        for uids, vectors in blocks:
            order = pc.sort_indices(uids)
            rows = named_rows(uids, vectors, number).take(order)
            index.add(rows, vectors[order.to_numpy()])
        index.end_addition()


def stored_vectors(
    files: Sequence[Path], modality: str
) -> Iterator[tuple[pa.Array, npt.NDArray[np.float16]]]:
    """Yield (uids, vectors) of rows that have a vector, in large blocks."""
    held: list[pa.RecordBatch] = []
    name = f"{modality}_vector"
    for file in files:
        with pq.ParquetFile(file, memory_map=True) as opened:
            for batch in opened.iter_batches(65_536, columns=["uid", name]):
                held.append(batch.filter(pc.is_valid(batch.column(name))))
                if sum(map(len, held)) >= SEGMENT_ROWS:
                    yield _block(held, name)
                    held = []
    if sum(map(len, held)):
        yield _block(held, name)


def _block(
    held: Sequence[pa.RecordBatch], name: str
) -> tuple[pa.Array, npt.NDArray[np.float16]]:
    table = pa.Table.from_batches(held).combine_chunks()
    if not len(table):
        raise InputError("the run has no vectors")
    return table["uid"].chunk(0), to_matrix(table[name])
