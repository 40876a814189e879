"""The life of an index of vectors: built from a run's kept rows, grown by runs, asked.

What removes rows, compacts, checks and repairs an index of texts does so here, too
(`flows.near_index`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.core.errors import ConfigError, QueryError, RunError
from winnow.flows.near_index import as_built, told_before
from winnow.indexes.vector_index import VectorIndex, named_rows
from winnow.models.query_vectors import QueryModel
from winnow.reports.database import RunDatabase
from winnow.reports.run_view import RunView
from winnow.reports.vector_files import vector_files
from winnow.search.run_vectors import stored_vectors
from winnow.search.searched_vectors import Asked
from winnow.steps.indexed_vectors import deciding
from winnow.steps.nearest_vectors import NearestVectors

Halves = npt.NDArray[np.float16]
#: Of a recipe's section `model`: what embeds a question.
_MODEL = ("name", "pretrained", "precision", "max_pixels", "background")


@dataclass(frozen=True)
class _KeptVectors:
    """The vectors of the rows that a run keeps, and what made them."""

    run: str
    files: list[Path]
    modality: str
    uids: pa.Array
    settings: dict[str, Any]

    def blocks(self) -> Iterator[tuple[pa.Array, Halves]]:
        """Yield (uids, vectors) of kept rows, in the order of their uids."""
        for uids, vectors in stored_vectors(self.files, self.modality):
            kept = pc.is_in(uids, value_set=self.uids)
            rows = np.flatnonzero(kept.to_numpy(zero_copy_only=False))
            names = uids.take(pa.array(rows))
            order = pc.sort_indices(names)
            yield names.take(order), vectors[rows[order.to_numpy()]]


def build(
    run: str, out: str | os.PathLike[str], *, modality: str = "image"
) -> dict[str, Any]:
    """Build an index over the vectors of the rows that a finished run keeps.

    Given again for the same rows it changes nothing, and `built_before` says so.
    Returns counts. Raises RunError if the run is not finished, QueryError if it has no
    vectors of the modality, ConfigError if `out` holds anything else.
    """
    kept = _kept(run, modality)
    columns = {"uid": "uid", "vector": f"{modality}_vector"}
    source = os.path.abspath(kept.run)
    with VectorIndex.built(out, kept.settings, columns, [source]) as index:
        with index.locked():
            counts = _added(index, kept)
        counts["rows"] = index.rows
    return as_built(index, counts, out)


def add(path: str | os.PathLike[str], runs: Sequence[str]) -> dict[str, Any]:
    """Append the kept rows of runs; rows that are there are not touched.

    A row is there if one of the same name and the same vector is. Raises ConfigError
    for a run whose vectors are of another model than the index's.
    """
    index = VectorIndex(path)
    several = [_kept(run, index.settings["modality"]) for run in runs]
    for kept in several:
        if kept.settings["model"] != index.settings["model"]:
            raise ConfigError(
                f"{kept.run}: its vectors are of another model than those of "
                f"{index.path}, or of other settings of it; cosines between them say "
                "nothing"
            )
    total = dict.fromkeys(_COUNTS, 0)
    with index.locked():
        for kept in several:
            for name, count in _added(index, kept).items():
                total[name] += count
    return {**total, "index": str(index.path), "rows": index.rows}


_COUNTS = ("added", "already_there", "same_name_other_vector")


def _added(index: VectorIndex, kept: _KeptVectors) -> dict[str, int]:
    counts = dict.fromkeys(_COUNTS, 0)
    source = os.path.abspath(kept.run)
    number = index.begin_addition((source,), (), named=True)
    for uids, vectors in kept.blocks():
        rows = named_rows(uids, vectors, number)
        known = index.known(rows.column("uid"))
        fresh = np.ones(len(rows), np.bool_)
        contents = rows.column("content").to_pylist()
        for i, name in enumerate(uids.to_pylist()):
            others = known.get(name, set())
            fresh[i] = contents[i] not in others
            counts["same_name_other_vector"] += bool(others) and bool(fresh[i])
        counts["added"] += int(fresh.sum())
        counts["already_there"] += int((~fresh).sum())
        if fresh.any():
            index.add(rows.filter(pa.array(fresh)), vectors[fresh])
    index.end_addition()
    return counts


def _kept(run: str, modality: str) -> _KeptVectors:
    view = RunView(run)
    marker, files = vector_files(view.folder, view.markers, modality)
    if not view.finished:
        raise RunError(
            f"{run} is not finished; the same `winnow run` goes on, and then its rows "
            "may be indexed"
        )
    view.folder.require_whole(marker, "artifacts/")
    with RunDatabase(run) as database:
        rows = database.query("SELECT uid FROM fates WHERE fate = 'kept'")
    model = marker.facts.get("model")
    settings = {
        "modality": modality,
        "model": deciding(model),
        "made_by": model,
        "encoder": {name: view.config["model"][name] for name in _MODEL},
    }
    uids = pa.concat_arrays(rows["uid"].cast(pa.string()).chunks or [pa.array([], "")])
    return _KeptVectors(run, files, modality, uids, settings)


def near(
    path: str | os.PathLike[str], asked: Asked, *, k: int = 10
) -> list[dict[str, Any]]:
    """Return the indexed rows nearest to a text, a picture or an indexed row.

    Each has `uid`, `cosine` and `source`, the run that it came in with; nearest first,
    ties by uid; a row that is asked with is left out. Raises InputError for a uid that
    the index does not have, QueryError without the model that made its vectors.
    """
    asked.require_one()
    index = VectorIndex(path)
    if not index.rows:
        return []
    model = QueryModel(index.settings["encoder"], index.settings["made_by"])
    besides = None
    if asked.like is not None:
        segment, row = index.row_of(asked.like)
        query = np.asarray(segment.vectors[row], np.float32)
        besides = asked.like
    elif asked.text is not None:
        query = model.of_text(asked.text)
    else:
        assert asked.image is not None
        if index.settings["modality"] != "image":
            raise QueryError(f"{index.path} holds vectors of texts; ask with a text")
        query = model.of_image(asked.image)
    answers = NearestVectors(index).near(query, k + (besides is not None))
    return [
        {
            "uid": answer.uid,
            "cosine": answer.cosine,
            "source": ", ".join(index.addition(answer.addition)["sources"]),
        }
        for answer in answers
        if answer.uid != besides
    ][:k]


def tell_added(counts: dict[str, Any]) -> str:
    """Return what was added to an index of vectors as text."""
    if counts.get("built_before"):
        return told_before(counts)
    told = (
        f"{counts['added']:,} rows added, {counts['already_there']:,} were there; "
        f"{counts['index']} holds {counts['rows']:,}"
    )
    if counts["same_name_other_vector"]:
        told += (
            f"\n{counts['same_name_other_vector']:,} of the added rows have the name "
            "of another row but another vector"
        )
    return told
