"""What a scan finds of each pair of tables, stage by stage, column by column.

A pair is open until a stage settles it: the child is contained, it is not, or their
types cannot be compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.lake.compare.hashed_tables import HashedTables, TablePairs
from winnow.lake.kernels.tables import EDGES

#: In the order in which they settle pairs.
STAGES = ("schema", "min_max", "sketch", "sample", "content", "partial")

Ints = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]
_OPEN = -1


class Findings:
    """Pairs of tables by number, sorted; what was found of each, all `(n,)`."""

    def __init__(self, edges: TablePairs) -> None:
        self.edges = edges
        count = len(edges.child)
        self._stage = np.full(count, _OPEN, np.int8)
        self._refuted_by = np.full(count, _OPEN, np.int8)
        self.contained = np.zeros(count, np.bool_)
        self.incomparable = np.zeros(count, np.bool_)
        #: Exact share of the child that the parent holds; NaN where it was not counted.
        self.containment = np.full(count, np.nan)
        self._texts = {
            name: np.full(count, None, object)
            for name in ("witness", "rebuild_sql", "reason")
        }

    def open(self) -> Ints:
        """Return the pairs that no stage has settled."""
        return np.flatnonzero(self._stage == _OPEN)

    def refuted(self) -> Ints:
        """Return the pairs that could be compared and are not contained."""
        settled = (self._stage != _OPEN) & ~self.contained & ~self.incomparable
        return np.flatnonzero(settled)

    def refuted_in(self, stage: str) -> Ints:
        """Return the pairs that a stage found not to be contained."""
        return np.flatnonzero(self._refuted_by == STAGES.index(stage))

    def refute(
        self,
        at: Ints,
        stage: str,
        reasons: Sequence[str],
        containment: npt.NDArray[np.float64] | None = None,
    ) -> None:
        """Settle pairs as not contained, with the exact containment if known."""
        self._stage[at] = self._refuted_by[at] = STAGES.index(stage)
        self._texts["reason"][at] = reasons
        if containment is not None:
            self.containment[at] = containment

    def cannot_compare(self, at: Ints, stage: str, reasons: Sequence[str]) -> None:
        """Settle pairs as incomparable."""
        self._stage[at] = STAGES.index(stage)
        self.incomparable[at] = True
        self._texts["reason"][at] = reasons

    def reopen(self, at: Ints) -> None:
        """Take back what was found of pairs; rows will decide."""
        self._stage[at] = self._refuted_by[at] = _OPEN
        self.containment[at] = np.nan
        for texts in self._texts.values():
            texts[at] = None

    def confirm(self, at: Ints, reasons: Sequence[str]) -> None:
        """Settle pairs as contained: every row was compared."""
        self._stage[at] = STAGES.index("content")
        self.contained[at] = True
        self.containment[at] = 1.0
        self._texts["reason"][at] = reasons

    def tell(self, at: Ints, name: str, texts: Sequence[str | None]) -> None:
        """Set `witness` or `rebuild_sql` of pairs."""
        self._texts[name][at] = texts

    def count_partial(self, at: Ints, containment: npt.NDArray[np.float64]) -> None:
        """Set the exact containment of pairs that are not contained."""
        self._stage[at] = STAGES.index("partial")
        self.containment[at] = containment

    def relations(self, partial_from: float | None) -> npt.NDArray[np.object_]:
        """Return each pair's relation; `partial` from that containment on, or never."""
        found = np.full(len(self._stage), "refuted", object)
        if partial_from is not None:
            with np.errstate(invalid="ignore"):
                found[self.containment >= partial_from] = "partial"
        found[self.contained] = "contained"
        found[self._mutual()] = "duplicate"
        found[self.incomparable] = "incomparable"
        return found

    def _mutual(self) -> Ints:
        """Return the pairs that are contained both ways."""
        at = np.flatnonzero(self.contained)
        child, parent = self.edges.child[at], self.edges.parent[at]
        width = int(max(child.max(initial=0), parent.max(initial=0))) + 1
        return at[np.isin(child * width + parent, parent * width + child)]

    def as_table(self, tables: HashedTables, partial_from: float | None) -> pa.Table:
        """Return EDGES, sorted by the names of child and parent."""
        own = tables.reader.tables
        names = pa.array([table.name for table in own], pa.string())
        rows = pa.array([table.rows for table in own], pa.int64())
        shared = pa.array(
            [[by[key] for key in sorted(by)] for by in tables.names],
            pa.list_(pa.string()),
        )
        child, parent = pa.array(self.edges.child), pa.array(self.edges.parent)
        columns = {
            "child": names.take(child),
            "parent": names.take(parent),
            "relation": pa.array(self.relations(partial_from), pa.string()),
            "containment": pa.array(self.containment, from_pandas=True),
            "stage": _stages(self._stage),
            "child_rows": rows.take(child),
            "parent_rows": rows.take(parent),
            "shared_columns": shared.take(child),
            "refuted_by": _stages(self._refuted_by),
            **{name: pa.array(t, pa.string()) for name, t in self._texts.items()},
        }
        return pa.table([columns[name] for name in EDGES.names], schema=EDGES)


def _stages(codes: npt.NDArray[np.int8]) -> pa.Array:
    indices = pa.array(codes, mask=codes == _OPEN)
    return pa.array(STAGES, pa.string()).take(indices)
