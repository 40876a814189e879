"""Rows of a run against an index of vectors: what is within epsilon of one goes.

Every row is compared with every indexed one: float32 products nominate, cosines in
float64 decide, as within a pool. A row is not its own duplicate: an indexed row of the
same name and the same vector is the row itself, so that a run whose rows have joined
the index may be repeated.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.algorithms.cosine import Best, VectorRows, prepare
from winnow.core.engine import Frame
from winnow.core.errors import ConfigError
from winnow.core.run_folder import RunFolder
from winnow.core.schemas import DECISIONS
from winnow.core.vectors import to_matrix
from winnow.indexes.vector_index import VectorIndex, vector_contents
from winnow.indexes.vector_segment import VectorSegment
from winnow.steps.contract import Context

#: Rows of the run, and of the index, that are compared at once.
_ROWS, _BLOCK = 2_048, 4_096
#: Why a row goes that an index has one like.
IN_INDEX = "semantic_duplicate_in_index"
#: What of a model does not decide its vectors.
_NAMES = ("name", "pretrained", "weights", "open_clip", "torch")

Ids = npt.NDArray[np.int64]


def index_version(folder: str) -> str:
    """Return the fingerprint of an index of vectors; ConfigError if there is none."""
    return VectorIndex(folder).version


def deciding(identity: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what decides a model's vectors, of what a run noted of it."""
    if identity is None:
        return None
    return {name: value for name, value in identity.items() if name not in _NAMES}


def taken_by_index(context: Context, vectors: Frame) -> Frame:
    """Return the decisions, a frame of DECISIONS, on rows that the index takes out.

    vectors: (uid, vector) of the rows that enter. Raises ConfigError if the index holds
    vectors of another model, or of other lengths.
    """
    config, engine = context.config, context.engine
    index = VectorIndex(config.index)
    made_by = context.artifacts[f"{config.modality}_vectors"].resolve()
    marker = RunFolder(made_by.parents[2]).marker(made_by.parent.name)
    model = deciding(marker.facts.get("model")) if marker else None
    if model is not None and index.settings["model"] not in (None, model):
        raise ConfigError(
            f"{index.path}: the index was built from vectors of another model, or of "
            "other settings of it; cosines to these say nothing. Build an index from "
            "runs of this recipe"
        )
    kernel = partial(
        rows_in_index,
        index=os.path.abspath(config.index),
        epsilon=config.epsilon,
    )
    path = os.fspath(context.folder / "indexed")
    engine.write(engine.map_batches(vectors, kernel, DECISIONS), path, ["uid"])
    return engine.scan(path)


def rows_in_index(
    batches: Iterator[pa.RecordBatch], *, index: str, epsilon: float
) -> Iterator[pa.RecordBatch]:
    """Yield DECISIONS on the rows of (uid, vector) that are near one of the index."""
    segments = VectorIndex(index).segments
    for batch in batches:
        for start in range(0, len(batch), _ROWS):
            part = batch.slice(start, _ROWS)
            cosine, twin = nearest_indexed(part, segments)
            near = np.flatnonzero(cosine > 1.0 - epsilon)
            count = len(near)
            columns = {
                "uid": part.column("uid").take(pa.array(near)),
                "keep": pa.array(np.zeros(count, np.bool_)),
                "reason": pa.array([IN_INDEX] * count, pa.string()),
                "score": pa.array(cosine[near]),
                "threshold": pa.array(np.full(count, 1.0 - epsilon)),
                "kept_twin": pa.array([twin[i] for i in near], pa.string()),
            }
            arrays = [columns[name] for name in DECISIONS.names]
            yield pa.RecordBatch.from_arrays(arrays, schema=DECISIONS)


def nearest_indexed(
    rows: pa.RecordBatch, segments: list[VectorSegment]
) -> tuple[npt.NDArray[np.float64], list[str | None]]:
    """Return each row's largest cosine to an indexed one but itself, and whose it is.

    rows: (uid, vector). Of equal cosines the one of the smallest uid in the first
    segment counts. −inf and None for an empty index. Raises ConfigError for vectors of
    other lengths than the index's.
    """
    given = to_matrix(rows.column("vector"))
    names, contents = rows.column("uid").cast(pa.large_string()), vector_contents(given)
    best = Best(prepare(given))
    scratch = np.empty(len(given) * _BLOCK, np.float32)
    first = 0
    for segment in segments:
        if segment.vectors.shape[1] != given.shape[1]:
            raise ConfigError(
                f"{segment.folder.parent}: the index holds vectors of "
                f"{segment.vectors.shape[1]} numbers, the run of {given.shape[1]}"
            )
        itself = _itself(segment, names, contents)
        standing = np.flatnonzero(segment.standing(np.arange(segment.size)))
        for start in range(0, len(standing), _BLOCK):
            block = standing[start : start + _BLOCK]
            candidates = prepare(np.asarray(segment.vectors[block]))
            _see(best, candidates, block, first, itself, scratch)
        first += segment.size
    uids = [segment.table.column("uid") for segment in segments]
    ends = np.cumsum([segment.size for segment in segments])
    twins: list[str | None] = []
    for number in best.ids.tolist():
        which = int(np.searchsorted(ends, number, side="right"))
        twin = None
        if number >= 0:
            twin = uids[which][number - (int(ends[which - 1]) if which else 0)].as_py()
        twins.append(twin)
    return best.cosine, twins


def _itself(
    segment: VectorSegment, names: pa.Array, contents: npt.NDArray[np.uint64]
) -> dict[int, int]:
    """Return the run's row, by number, that an indexed row is, by its number."""
    numbers = {name: i for i, name in enumerate(names.to_pylist())}
    out: dict[int, int] = {}
    stored = segment.table.column("content")
    for row in segment.rows_of(names).tolist():
        number = numbers[segment.table.column("uid")[row].as_py()]
        if stored[row].as_py() == int(contents[number]):
            out[row] = number
    return out


def _see(
    best: Best,
    candidates: VectorRows,
    block: Ids,
    first: int,
    itself: Mapping[int, int],
    scratch: npt.NDArray[np.float32],
) -> None:
    """Show candidates to all rows, but to none the one that it is itself."""
    ids = block + first
    same = [(i, itself[row]) for i, row in enumerate(block.tolist()) if row in itself]
    apart = np.array([number for _, number in same], np.int64)
    before = best.taken(apart)
    best.see(candidates, ids, np.zeros(len(block), np.int64), scratch)
    best.put_back(apart, before)
    for i, number in same:
        others = np.delete(np.arange(len(block)), i)
        alone = Best(best.rows[number : number + 1])
        left = VectorRows(
            candidates.exact[others],
            candidates.unit[others],
            candidates.squares[others],
        )
        alone.see(left, ids[others], np.zeros(len(others), np.int64), scratch)
        best.improve(number, alone)
