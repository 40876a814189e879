"""Connected components of any number of edges, by the verbs of any engine.

Up to a stated number of edges they come to the driver and are joined by union-find.
Above it, nodes are pulled together where the edges lie: Kiveris, Lattanzi, Mirrokni,
Rastogi and Vassilvitskii, "Connected Components in MapReduce and Beyond" (SoCC 2014),
alternating. A node's neighbours are never gathered in one place, since all that is
asked of them is the smallest: a node of any degree is spread over the workers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.algorithms.dedup.components import components
from winnow.core.engine import Engine, Frame
from winnow.core.errors import RunError
from winnow.core.run_folder import remove, write_text

#: An edge between two nodes, in any order; loops say that a node is there.
EDGES = pa.schema([("left", pa.int64()), ("right", pa.int64())])
#: Each node and the smallest node of its component.
COMPONENTS = pa.schema([("node", pa.int64()), ("component", pa.int64())])

#: A larger node and a smaller one that it is joined to.
_DOWN = pa.schema([("node", pa.int64()), ("other", pa.int64())])
_KEYED = pa.schema([("pair", pa.binary())])
_ROWS = "rows.json"
# log² of 10^10 nodes is 1,100; of graphs that are met, one or two dozen are needed.
_MOST_ROUNDS = 1_500


def component_labels(
    engine: Engine,
    nodes: int,
    ends: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    folder: Path,
) -> npt.NDArray[np.int64]:
    """Return the smallest node of each node's component, `(nodes,)`.

    ends: of each edge the two nodes, in any order. Up to `engine.driver_rows` edges are
    joined here, more of them by `connected_components`; the labels are the same.
    """
    if len(ends[0]) <= engine.driver_rows:
        return components(nodes, *ends)
    columns = [end.astype(np.int64) for end in ends]
    edges = engine.from_table(pa.table(columns, schema=EDGES))
    table = engine.collect(connected_components(engine, edges, folder), nodes)
    labels = np.arange(nodes)
    labels[table["node"].to_numpy()] = table["component"].to_numpy()
    return labels


def connected_components(engine: Engine, edges: Frame, folder: Path) -> Frame:
    """Return COMPONENTS of the nodes that EDGES name.

    folder: where each round leaves its edges; emptied first. As soon as no more than
    `engine.driver_rows` edges are left, one machine joins them. Raises RunError if a
    round's edges are not there any more when the next one reads them.
    """
    # 1. Every pair once, larger node first; 2. rounds of large-star and small-star,
    # until few enough edges are left or all are stars; 3. a label for each node.
    remove(folder)
    rounds = _Rounds(engine, folder)
    loops = engine.map_batches(edges, only_loops, COMPONENTS)
    down = rounds.keep(_distinct(engine, engine.map_batches(edges, downwards, _DOWN)))
    for _ in range(_MOST_ROUNDS):
        if rounds.rows <= engine.driver_rows:
            labels = _on_driver(engine, down)
            break
        if _is_stars(engine, down):
            labels = _labels(engine, down)
            break
        large = _distinct(engine, _large_star(engine, down))
        small = _distinct(engine, _small_star(engine, rounds.keep(large)))
        down = rounds.keep(small)
    else:
        raise RunError(f"{folder}: no components after {_MOST_ROUNDS} rounds")
    every = engine.union([loops, labels])
    return engine.aggregate(every, "node", {"component": ("component", "min")})


@dataclass
class _Rounds:
    """Writes each round's edges and reads them back, if they are all there."""

    engine: Engine
    folder: Path
    rows: int = 0
    number: int = 0

    def keep(self, edges: Frame) -> Frame:
        """Write edges and return a frame over them; the round before last goes."""
        round_folder = self.folder / f"round-{self.number:04d}"
        round_folder.parent.mkdir(parents=True, exist_ok=True)
        self.rows = self.engine.write(edges, os.fspath(round_folder / "edges"), ())
        write_text(round_folder / _ROWS, json.dumps(self.rows))
        remove(self.folder / f"round-{self.number - 2:04d}")
        self.number += 1
        return self._read(round_folder)

    def _read(self, round_folder: Path) -> Frame:
        try:
            wanted = json.loads((round_folder / _ROWS).read_text())
            frame = self.engine.scan(os.fspath(round_folder / "edges"))
            there = self.engine.count(frame)
        except (OSError, ValueError) as error:
            raise _gone(round_folder, str(error)) from error
        if there != wanted:
            raise _gone(
                round_folder, f"{wanted:,} edges were written, {there:,} are there"
            )
        return frame


def _gone(round_folder: Path, why: str) -> RunError:
    return RunError(
        f"{round_folder}: a round's edges are lost ({why}); run the step again"
    )


def _large_star(engine: Engine, down: Frame) -> Frame:
    """Join every larger neighbour of a node to the node's smallest neighbour."""
    up = engine.select(down, {"node": "other", "other": "node"})
    both = engine.union([down, up])
    least = engine.aggregate(both, "node", {"least": ("other", "min")})
    joined = engine.join(both, least, "node", "inner")
    return engine.map_batches(joined, larger_to_least, _DOWN)


def _small_star(engine: Engine, down: Frame) -> Frame:
    """Join a node and its smaller neighbours to the smallest of them."""
    least = engine.aggregate(down, "node", {"least": ("other", "min")})
    to_least = engine.select(least, {"node": "node", "other": "least"})
    joined = engine.join(down, least, "node", "inner")
    return engine.union([to_least, engine.map_batches(joined, smaller_to_least, _DOWN)])


def _is_stars(engine: Engine, down: Frame) -> bool:
    """Say whether each node has one smaller neighbour, which has none itself."""
    nodes = engine.aggregate(down, "node", {"edges": ("other", "count")})
    if engine.count(nodes) < engine.count(down):
        return False
    centres = engine.select(down, {"node": "other"})
    leaves = engine.select(nodes, {"node": "node"})
    return engine.count(engine.join(leaves, centres, "node", "semi")) == 0


def _labels(engine: Engine, stars: Frame) -> Frame:
    leaves = engine.select(stars, {"node": "node", "component": "other"})
    centres = engine.select(stars, {"node": "other", "component": "other"})
    return engine.union([leaves, centres])


def _on_driver(engine: Engine, down: Frame) -> Frame:
    table = engine.collect(down, engine.driver_rows)
    ends = [table[name].to_numpy() for name in _DOWN.names]
    nodes, places = np.unique(np.concatenate(ends), return_inverse=True)
    left, right = places[: len(table)], places[len(table) :]
    labels = nodes[components(len(nodes), left, right)]
    return engine.from_table(pa.table([nodes, labels], schema=COMPONENTS))


def _distinct(engine: Engine, edges: Frame) -> Frame:
    """Return every edge once."""
    keyed = engine.map_batches(edges, as_pairs, _KEYED)
    each = engine.aggregate(keyed, "pair", {"times": ("pair", "count")})
    return engine.map_batches(each, from_pairs, _DOWN)


def _ends(batch: pa.RecordBatch, *names: str) -> Iterator[npt.NDArray[np.int64]]:
    for name in names:
        yield batch.column(name).to_numpy()


def _batch(node: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(node), pa.array(other)], schema=_DOWN)


def only_loops(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Label the nodes that an edge joins to themselves."""
    for batch in batches:
        left, right = _ends(batch, "left", "right")
        loops = pa.array(left[left == right])
        yield pa.RecordBatch.from_arrays([loops, loops], schema=COMPONENTS)


def downwards(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Put the larger node first and leave loops out."""
    for batch in batches:
        left, right = _ends(batch, "left", "right")
        apart = left != right
        ends = left[apart], right[apart]
        yield _batch(np.maximum(*ends), np.minimum(*ends))


def larger_to_least(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Join a node's larger neighbours to the least of the node and its neighbours."""
    for batch in batches:
        node, other, least = _ends(batch, "node", "other", "least")
        larger = other > node
        yield _batch(other[larger], np.minimum(node, least)[larger])


def smaller_to_least(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Join a node's smaller neighbours to the least of them."""
    for batch in batches:
        other, least = _ends(batch, "other", "least")
        apart = other > least
        yield _batch(other[apart], least[apart])


def as_pairs(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Write both ends of an edge as one value of 16 bytes."""
    for batch in batches:
        ends = np.stack(list(_ends(batch, "node", "other")), axis=1)
        offsets = pa.py_buffer(np.arange(0, 16 * len(ends) + 1, 16, dtype=np.int32))
        data = pa.py_buffer(np.ascontiguousarray(ends))
        pairs = pa.Array.from_buffers(pa.binary(), len(ends), [None, offsets, data])
        yield pa.RecordBatch.from_arrays([pairs], schema=_KEYED)


def from_pairs(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Read both ends of an edge from its 16 bytes."""
    for batch in batches:
        pairs = batch.column("pair").cast(pa.binary())
        ends = np.frombuffer(b"".join(pairs.to_pylist()), np.int64).reshape(-1, 2)
        yield _batch(ends[:, 0].copy(), ends[:, 1].copy())
