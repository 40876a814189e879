"""Verdicts on edges: gathered from an engine's frame, by number of the edge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.engine import Engine, Frame
from winnow.lake.kernels.containment import NOWHERE, Verdict
from winnow.lake.workers import ENDED

#: A verdict on a share of the hashes; an edge may have several.
VERDICTS = pa.schema(
    [("edge", pa.int64()), *((name, pa.int64()) for name in Verdict._fields)]
)
MAX_VERDICTS = 100_000_000

_Counts = npt.NDArray[np.int64]


class LostTables(Exception):
    """Tables at which a process ended; pairs of others can be compared without them.

    names: by the number of the table.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__(f"{', '.join(names.values())}: {ENDED}")
        self.reasons = {table: f"{name}: {ENDED}" for table, name in names.items()}


class Verdicts(NamedTuple):
    """How much of each edge's child its parent holds, all `(n,)`."""

    #: Rows and distinct rows of the child that were looked up, and distinct rows that
    #: the parent lacks.
    rows: _Counts
    distinct: _Counts
    missing: _Counts
    #: Rows found again, each row of the parent used once.
    matched: _Counts
    #: Position of the child's first row that the parent lacks (has less often); −1 if
    #: there is none.
    first_missing: _Counts
    first_scarcer: _Counts
    #: Whether all of the child's rows were looked up, and not a sample.
    exact: npt.NDArray[np.bool_]

    def take(self, chosen: npt.NDArray[np.bool_]) -> Verdicts:
        """Return some of the verdicts."""
        columns: Iterable[Any] = (column[chosen] for column in self)
        return Verdicts(*columns)

    def counts(self, bag: bool) -> list[tuple[int, int]]:
        """Return (looked up, found again): distinct rows, or as `bag` all rows."""
        whole = self.rows if bag else self.distinct
        held = self.matched if bag else self.distinct - self.missing
        return list(zip(whole.tolist(), held.tolist(), strict=True))

    def contained(self, bag: bool) -> npt.NDArray[np.bool_]:
        """Return which children were found again as far as they were looked up."""
        held = self.matched == self.rows if bag else self.missing == 0
        return np.asarray(held, np.bool_)

    def containment(self, bag: bool) -> npt.NDArray[np.float64]:
        """Return the share found again: of the distinct rows, or as `bag` of all.

        An empty table is contained in every other: 1.
        """
        whole = self.rows if bag else self.distinct
        held = self.matched if bag else self.distinct - self.missing
        return np.where(whole == 0, 1.0, held / np.maximum(whole, 1))

    def witness(self, bag: bool) -> _Counts:
        """Return the position of the first row that is not found again, or −1."""
        return self.first_scarcer if bag else self.first_missing


def as_table(verdicts: Iterable[tuple[int, Verdict]]) -> pa.Table:
    """Return verdicts on numbered edges as VERDICTS."""
    rows = np.array([(edge, *verdict) for edge, verdict in verdicts], np.int64)
    columns = rows.reshape(-1, len(VERDICTS)).T
    return pa.table([pa.array(column) for column in columns], schema=VERDICTS)


def gather(engine: Engine, frame: Frame, start: Verdicts) -> Verdicts:
    """Add what a frame of VERDICTS holds to `start`, verdicts on all edges."""
    return added(start, engine.collect(frame, MAX_VERDICTS))


def added(start: Verdicts, table: pa.Table) -> Verdicts:
    """Add VERDICTS, on shares of the hashes, to `start`, verdicts on all edges."""
    edge = table["edge"].to_numpy()
    totals: dict[str, Any] = {}
    for name in Verdict._fields:
        values, before = table[name].to_numpy(), getattr(start, name)
        if name.startswith("first"):
            total = np.where(before < 0, NOWHERE, before)
            np.minimum.at(total, edge, values)
            totals[name] = np.where(total == NOWHERE, -1, total)
        else:
            total = before.copy()
            np.add.at(total, edge, values)
            totals[name] = total
    return start._replace(**totals)


def nothing_looked_up(edges: int) -> Verdicts:
    """Return verdicts that hold of empty children."""

    def filled(value: int) -> _Counts:
        return np.full(edges, value, np.int64)

    return Verdicts(
        rows=filled(0),
        distinct=filled(0),
        missing=filled(0),
        matched=filled(0),
        first_missing=filled(-1),
        first_scarcer=filled(-1),
        exact=np.ones(edges, np.bool_),
    )
