"""The map of a run's rows, made once and kept with the run.

Up to `sample` rows are laid out by a library; of a larger run, so many drawn by a hash
of their uids, and every other row lies between its nearest of these.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from dataclasses import replace as replace_fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from winnow.core.errors import ConfigError, QueryError
from winnow.core.extras import require
from winnow.core.hashing import keys
from winnow.core.integrity import seals
from winnow.core.run_folder import RunFolder, remove, replace
from winnow.models.map_layout import PlacedRows, Singles, laid_out, normed
from winnow.reports.map_file import (
    LAYOUT,
    MAP_FOLDER,
    MapFacts,
    read_map,
    state_of,
    vectors_of,
    write_facts,
)
from winnow.search.run_vectors import stored_vectors

#: Rows that are laid out by the library; more of them take their place by neighbours.
SAMPLE = 50_000
_UNFINISHED = ".map"
_SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("x", pa.float32()),
        ("y", pa.float32()),
        ("sampled", pa.bool_()),
    ]
)


def make_map(
    run: str | os.PathLike[str],
    *,
    sample: int = SAMPLE,
    seed: int = 0,
    tell: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Lay out a run's rows in the plane, and keep the map with the run.

    run: folder of a run whose recipe has `embed`.
    sample: at most so many rows are laid out; the others lie between their nearest of
    these.
    seed: of the layout's draws and of the sample.
    tell: told, in words, what is done.

    Returns what the map says of itself; its file is `RUN/map/layout.parquet`, one row
    for each uid with a vector. Raises QueryError for a run without vectors,
    MissingExtraError without the extra `map`, OSError where nothing can be written.

    >>> make_map("runs/first")["rows"]
    1000
    """
    require("map", "winnow map")
    if sample < 3:
        raise ConfigError(f"--sample {sample}: give at least 3 rows")
    folder = RunFolder(run)
    say = tell or (lambda words: None)
    marker, files, modality = vectors_of(folder)
    folder.require_whole(marker, "artifacts/")
    source = _Vectors(files, modality, seed)
    uids, vectors = source.chosen(sample)
    say(f"laying out {len(uids):,} of {source.rows:,} rows")
    places = laid_out(vectors, seed)
    parts = _Parts(source, uids, vectors, places)
    facts = MapFacts(
        of=state_of(marker, files),
        modality=modality,
        rows=source.rows,
        sampled=len(uids),
        seed=seed,
        made_with=f"PaCMAP, pacmap {version('pacmap')}",
        files={},
    )
    facts = _written(folder, parts, facts, say)
    return {"run": str(folder.path), "map": f"{MAP_FOLDER}/{LAYOUT}", **asdict(facts)}


def layout_of(run: str | os.PathLike[str]) -> Path:
    """Return the file of a run's map, which is made if there is none of its vectors.

    Raises what `make_map` raises.
    """
    folder = RunFolder(run)
    vectors_of(folder)
    try:
        return read_map(folder)[0]
    except QueryError:
        make_map(run)
    return read_map(folder)[0]


def tell_map(facts: dict[str, Any]) -> str:
    """Return what was made as text."""
    between = facts["rows"] - facts["sampled"]
    others = (
        f"; {between:,} others lie between their nearest of these" if between else ""
    )
    return (
        f"{facts['sampled']:,} rows laid out by {facts['made_with']}{others}\n"
        f"look at it: winnow ui {facts['run']}"
    )


class _Vectors:
    """A run's vectors, read in blocks; `rows` is known once they were counted."""

    def __init__(self, files: list[Path], modality: str, seed: int) -> None:
        self._files, self._modality, self._salt = files, modality, f"map {seed}"
        self.rows = 0

    def blocks(self) -> Iterator[tuple[pa.Array, Singles]]:
        """Yield (uids, unit vectors)."""
        for uids, halves in stored_vectors(self._files, self._modality):
            yield uids, normed(halves)

    def chosen(self, sample: int) -> tuple[pa.Array, Singles]:
        """Return the rows whose uids have the least keys, at most `sample`, by uid."""
        names = [uids for uids, _ in stored_vectors(self._files, self._modality)]
        self.rows = sum(map(len, names))
        ranks = keys((uid for uids in names for uid in uids.to_pylist()), self._salt)
        last = np.sort(ranks)[: sample + 1][-1] if self.rows else 0
        held, vectors, start = [], [], 0
        for uids, block in self.blocks():
            rank = ranks[start : start + len(uids)]
            start += len(uids)
            rows = np.flatnonzero(rank < last if self.rows > sample else rank <= last)
            held.append(uids.take(pa.array(rows)))
            vectors.append(block[rows])
        joined = pa.concat_arrays(held)
        order = pc.sort_indices(joined)
        return joined.take(order), np.concatenate(vectors)[order.to_numpy()]


@dataclass(frozen=True)
class _Parts:
    """What a map is written from: all vectors, and the places of those laid out."""

    source: _Vectors
    uids: pa.Array
    vectors: Singles
    places: Singles

    def tables(self) -> Iterator[pa.Table]:
        """Yield every row's uid and place, block by block."""
        known = None
        if self.source.rows > len(self.uids):
            known = PlacedRows(self.vectors, self.places)
        for uids, vectors in self.source.blocks():
            rows = pc.index_in(uids, value_set=self.uids)
            sampled = rows.is_valid().to_numpy(zero_copy_only=False)
            places = np.empty((len(uids), 2), np.float32)
            places[sampled] = self.places[rows.drop_null().to_numpy()]
            if known is not None and not sampled.all():
                places[~sampled] = known.of(vectors[~sampled])
            columns = [uids, places[:, 0], places[:, 1], sampled]
            yield pa.table(columns, names=_SCHEMA.names).cast(_SCHEMA)


def _written(
    folder: RunFolder, parts: _Parts, facts: MapFacts, say: Callable[[str], None]
) -> MapFacts:
    """Write the map beside its place and give it its name.

    Raises RunError if another process writes the run.
    """
    beside = folder.file(_UNFINISHED)
    with folder.locked():
        remove(beside)  # of one that was killed
        beside.mkdir()
        done = 0
        with pq.ParquetWriter(beside / LAYOUT, _SCHEMA) as writer:
            for table in parts.tables():
                writer.write_table(table)
                done += len(table)
                say(f"{done:,} of {facts.rows:,} rows have a place")
        facts = replace_fields(facts, files=seals(beside, [beside / LAYOUT]))
        write_facts(beside, facts)
        replace(beside, folder.file(MAP_FOLDER))
    return facts
