"""A map of a run of the tests, written without a library: rows on a grid."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from winnow.core.integrity import seals
from winnow.core.run_folder import RunFolder
from winnow.reports.map_file import (
    LAYOUT,
    MAP_FOLDER,
    MapFacts,
    state_of,
    vectors_of,
    write_facts,
)
from winnow.search.run_vectors import stored_vectors

WIDE = 16


def plant_map(run: Path, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Write a map of a run, its i-th vector at (i mod 16, i div 16); return places."""
    folder = RunFolder(run)
    marker, files, modality = vectors_of(folder)
    uids = [
        uid for block, _ in stored_vectors(files, modality) for uid in block.to_pylist()
    ]
    places = {u: (float(i % WIDE), float(i // WIDE)) for i, u in enumerate(uids)}
    beside = folder.file(MAP_FOLDER)
    beside.mkdir(exist_ok=True)
    x, y = zip(*places.values(), strict=True)
    columns = {"uid": uids, "x": pa.array(x, pa.float32())}
    columns |= {"y": pa.array(y, pa.float32()), "sampled": [True] * len(uids)}
    pq.write_table(pa.table(columns), beside / LAYOUT)
    state, rows = state_of(marker, files), len(uids)
    sealed = seals(beside, [beside / LAYOUT])
    facts = MapFacts(state, modality, rows, rows, seed, "the tests", sealed)
    write_facts(beside, facts)
    return places
