"""Semantic duplicates of a pool: rows are compared across the borders of clusters.

A small pool is compared whole. In a large one a row is counted to its own cluster and
to those whose border with it is near (`algorithms.dedup.borders`), and rows that are
counted to one cluster are compared. How near is chosen once for a pool: 1,000 rows are
searched exactly, up to 8,000 where these form few pairs, and the least margin counts
that brings nearly all of their pairs together.

The driver holds, beside what `semantic_blocks` does, 32 bytes for each row that its
most similar earlier one does not decide, and 16 for each pair of such rows.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import shutil
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.algorithms.cosine_bounds import Targets, as_targets
from winnow.algorithms.dedup.borders import (
    MARGINS,
    first_come,
    margins,
)
from winnow.algorithms.dedup.semantic import (
    DROPPED,
    KEPT,
    OPEN,
    SPARED,
)
from winnow.config.steps import SemanticConfig
from winnow.core.engine import Frame
from winnow.steps.array_file import ArrayFile
from winnow.steps.contract import Context
from winnow.steps.large_clusters import MAX_FILES, Large, divide, label_tasks
from winnow.steps.pool_tasks import (
    COUNTED,
    GROUPS,
    LISTED,
    PAIRS,
    Sample,
    count_task,
    list_task,
    pairs_task,
    write_groups,
)
from winnow.steps.semantic_blocks import (
    Choice,
    by_nearest,
    nearest_kept,
    select_large,
    spared_rows,
    states_of,
)
from winnow.steps.semantic_tasks import Flags, nearest_in_block
from winnow.steps.vector_blocks import LISTED_ROW, GroupedBlocks
from winnow.steps.vector_layout import Numbers

#: Pools of so many rows at most are compared whole.
WHOLE_ROWS = 20_000
#: Rows that are searched exactly; more where their pairs are too few to tell .999 from
#: .998, but not more than the last number. The part of the pairs that has to be met.
_SAMPLE_ROWS, _SAMPLE_PAIRS, _MOST_SAMPLE_ROWS = 1_000, 3_000, 8_000
_RECALL = 0.9995
# Of fewer pairs the part says less: then the next margin is taken, of few this one.
_PAIRS, _FEW_PAIRS, _FEW_PAIRS_MARGIN = 20_000, 200, 0.06
#: Open rows that are decided together at first; twice as many each time.
_OPEN_ROWS = 4_096
_MAX_PAIRS = 1_000_000_000
#: What was measured, for a later run with another epsilon.
PROBES = "probes.json"


class Probes(NamedTuple):
    """The margin within which a row is counted to a cluster, and what it finds.

    recall: part of the `pairs` that `rows` rows form, with any row, at a cosine of at
    least `bar`.
    """

    margin: float
    recall: float
    pairs: int
    rows: int
    bar: float


def recall_bar(config: SemanticConfig) -> float:
    """Return the cosine of the pairs that recall is measured on: 0.9 or less.

    It is 1 − ε rounded down to tenths, so that ε may change without another search.
    """
    return min(0.9, math.floor((1.0 - config.epsilon) * 10) / 10)


def group_pool(
    context: Context, members: Frame, size: int
) -> tuple[Large, dict[str, float]]:
    """Sort a pool into files and list the groups in which its rows are compared.

    members: all rows, (uid, cluster, distance, vector). size: rows of a block.
    Returns it, and what the manifest says of the groups.
    """
    plain = divide(context, members, context.rows, size, together=True)
    known = as_targets(np.load(context.artifacts["centroids"]))
    probes = _stored(context) or _measured(plain, known, recall_bar(context.config))
    (context.folder / PROBES).write_text(json.dumps(probes._asdict()))
    listing = partial(list_task, known=known, margin=probes.margin)
    frame = plain.mapped(label_tasks(plain), listing, LISTED)
    blocks = _grouped(plain, frame)
    facts = {f"probe_{name}": value for name, value in probes._asdict().items()}
    facts["groups_per_row"] = len(blocks.listed) / max(context.rows, 1)
    return dataclasses.replace(plain, blocks=blocks), facts


def _grouped(plain: Large, listed: Frame) -> GroupedBlocks:
    """Return blocks whose rows are compared in the groups that LISTED rows say."""
    engine, path = plain.engine, plain.file("groups")
    writing = partial(write_groups, folder=os.fspath(plain.folder))
    written = engine.map_batches(listed, writing, GROUPS, order_by=("group", "number"))
    table = engine.collect(written, MAX_FILES)
    table = table.sort_by([("task", "ascending"), ("group", "ascending")])
    with open(path, "wb") as sink:
        for name in dict.fromkeys(table["file"].to_pylist()):
            with open(plain.folder / name, "rb") as source:
                shutil.copyfileobj(source, sink)
            os.unlink(plain.folder / name)
    group = table["group"].to_numpy()
    last = np.flatnonzero(np.diff(group, append=-1))
    ends = np.cumsum(table["rows"].to_numpy())[last].tolist()
    fields = {f.name: getattr(plain.blocks, f.name) for f in _fields(plain)}
    return GroupedBlocks(
        **fields,
        listed=ArrayFile(path, LISTED_ROW),
        groups=tuple(itertools.pairwise([0, *ends])),
    )


def _fields(large: Large) -> tuple[dataclasses.Field[object], ...]:
    return dataclasses.fields(large.blocks)


def _stored(context: Context) -> Probes | None:
    """Return what an earlier run over the same rows has measured."""
    if context.reusable is None:
        return None
    path = Path(context.reusable) / PROBES
    return Probes(**json.loads(path.read_text())) if path.is_file() else None


def _measured(large: Large, known: Targets, bar: float) -> Probes:
    """Search rows among all others, as many as form pairs enough."""
    first, others = _sample(len(large.blocks))
    counts, rows = _searched(large, known, bar, first), len(first)
    if counts.sum() < _SAMPLE_PAIRS and len(others):
        # A tenth more than should do.
        wanted = int(1.1 * rows * _SAMPLE_PAIRS / max(counts.sum(), 1)) - rows
        more = others[_spaced(len(others), wanted)]
        counts, rows = counts + _searched(large, known, bar, more), rows + len(more)
    met, pairs = np.cumsum(counts)[:-1], int(counts.sum())
    level = int(np.searchsorted(met, _RECALL * pairs)) + (pairs < _PAIRS)
    level = min(level, len(MARGINS) - 1)
    if pairs < _FEW_PAIRS:
        level = max(level, int(np.searchsorted(MARGINS, _FEW_PAIRS_MARGIN)))
    recall = float(met[level] / pairs) if pairs else 1.0
    return Probes(float(MARGINS[level]), recall, pairs, rows, bar)


def _sample(rows: int) -> tuple[Numbers, Numbers]:
    """Return the rows that are searched first, and those that may be after them.

    Both evenly spaced in the order of visits.
    """
    numbers = _spaced(rows, _MOST_SAMPLE_ROWS)
    first = _spaced(len(numbers), _SAMPLE_ROWS)
    return numbers[first], np.delete(numbers, first)


def _spaced(rows: int, count: int) -> Numbers:
    """Return `count` numbers below `rows`, all where there are fewer."""
    return np.unique(np.linspace(0, rows - 1, min(count, rows)).astype(np.int64))


def _searched(
    large: Large, known: Targets, bar: float, numbers: Numbers
) -> npt.NDArray[np.int64]:
    """Return how many pairs some rows form, by the margin that brings them together.

    numbers: (m,) the rows, ascending.
    """
    searched = as_targets(large.blocks.chosen(numbers))
    labels = large.blocks.labels(numbers)
    beside = margins(searched.rows, labels, known, MARGINS[-1])
    sample = Sample(searched, numbers, *beside, bar)
    counting = partial(count_task, known=known, sample=sample)
    frame = large.mapped(label_tasks(large), counting, COUNTED)
    table = large.engine.collect(frame, 10**8)
    counts = np.zeros(len(MARGINS) + 1, np.int64)
    np.add.at(counts, table["level"].to_numpy(), table["pairs"].to_numpy())
    return counts


def select_in_groups(
    large: Large, neighbours: ArrayFile, config: SemanticConfig
) -> Choice:
    """Decide as `select` does for one cluster, of rows that share a group."""
    return select_large(large, neighbours, config, greedy=_greedy)


def _greedy(large: Large, neighbours: ArrayFile, least: float) -> Choice:
    """Settle open rows some at a time, in visiting order; then measure to the kept.

    All of them are compared once with the rows that are known to be kept from the
    beginning on, nearly all that there are; after that with open ones alone.
    """
    state = states_of(neighbours, least)
    late = state == OPEN
    if not late.any():
        return by_nearest(large, neighbours, state == KEPT)
    known = nearest_kept(large, late, state, -np.inf)
    near = known["cosine"].to_numpy() > least
    state[known["number"].to_numpy()[near]] = DROPPED
    left, size = np.flatnonzero(state == OPEN), _OPEN_ROWS
    while len(left):
        _settle(large, left[:size], (state, late), least)
        left, size = left[size:], 2 * size
    choice = by_nearest(large, neighbours, state == KEPT)
    keep = choice.keep
    rows = (late & ~keep) | spared_rows(neighbours, keep, least)
    seen = _as_seen(keep & late, rows, np.int8(SPARED))
    table = pa.concat_tables([known, nearest_kept(large, rows, seen, -np.inf)])
    table = nearest_in_block(table.filter(pa.array(rows[table["number"].to_numpy()])))
    number, cosine = table["number"].to_numpy(), table["cosine"].to_numpy()
    # A kept row may share no group with an earlier kept one: the least cosine there is.
    choice.rows.change(number, similarity=np.maximum(cosine, -1.0))
    dropped = ~keep[number]
    choice.rows.change(number[dropped], twin=table["nearest"].to_numpy()[dropped])
    return choice


def _as_seen(kept: Flags, looking: Flags, both: np.int8) -> npt.NDArray[np.int8]:
    """Return states in which some rows look at kept ones; those that are both: `both`.

    kept, looking: (n,) flags.
    """
    seen = np.where(kept, KEPT, np.where(looking, OPEN, DROPPED))
    return np.where(kept & looking, both, seen).astype(np.int8)


def _settle(
    large: Large,
    rows: npt.NDArray[np.int64],
    states: tuple[npt.NDArray[np.int8], Flags],
    least: float,
) -> None:
    """Decide open rows, all earlier ones being decided: set their states.

    states: of all rows, and which were open at first; others are not looked at. 1.
    Those near one that is kept by now go. 2. Of the others all pairs are listed, and
    each goes if an earlier one of its pairs stays.
    """
    state, late = states
    wanted = np.zeros(len(state), np.bool_)
    wanted[rows] = True
    kept = late & (state == KEPT)
    if kept.any():
        seen = _as_seen(kept, wanted, np.int8(OPEN))
        table = nearest_kept(large, wanted, seen, least)
        near = table["cosine"].to_numpy() > least
        state[table["number"].to_numpy()[near]] = DROPPED
    rows = rows[state[rows] == OPEN]
    if not len(rows):
        return
    wanted[:] = False
    wanted[rows] = True
    flags = large.saved("pairs", wanted)
    listing = partial(pairs_task, wanted=flags, least=least)
    frame = large.mapped(large.tasks(wanted), listing, PAIRS)
    pairs = large.engine.collect(frame, _MAX_PAIRS)
    later, earlier = (
        np.searchsorted(rows, pairs[name].to_numpy()) for name in PAIRS.names
    )
    order = np.argsort(later, kind="stable")
    keep = np.ones(len(rows), np.bool_)
    first_come(later[order], earlier[order], keep)
    state[rows] = np.where(keep, KEPT, DROPPED)
    os.unlink(flags.path)
