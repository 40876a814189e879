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

    def left_after(self, stage: str) -> int:
        """Return how many pairs no stage up to this one refuted or could not compare.

        Pairs that a sketch holds whole, and are not contained, count as left by sample.
        """
        last = STAGES.index(stage)
        lost = (self._refuted_by != _OPEN) & (self._refuted_by <= last)
        lost |= self.incomparable & (self._stage <= last)
        return int((~lost).sum())

    def refute(
        self,
        pairs: Ints,
        stage: str,
        reasons: Sequence[str],
        containment: npt.NDArray[np.float64] | None = None,
    ) -> None:
        """Settle pairs as not contained, with the exact containment if known."""
        self._stage[pairs] = self._refuted_by[pairs] = STAGES.index(stage)
        self._texts["reason"][pairs] = reasons
        if containment is not None:
            self.containment[pairs] = containment

    def cannot_compare(self, pairs: Ints, stage: str, reasons: Sequence[str]) -> None:
        """Settle pairs as incomparable."""
        self._stage[pairs] = STAGES.index(stage)
        self.incomparable[pairs] = True
        self._texts["reason"][pairs] = reasons

    def reopen(self, pairs: Ints) -> None:
        """Take back what was found of pairs; rows will decide."""
        self._stage[pairs] = self._refuted_by[pairs] = _OPEN
        self.containment[pairs] = np.nan
        for texts in self._texts.values():
            texts[pairs] = None

    def confirm(self, pairs: Ints, reasons: Sequence[str]) -> None:
        """Settle pairs as contained: every row was compared."""
        self._stage[pairs] = STAGES.index("content")
        self.contained[pairs] = True
        self.containment[pairs] = 1.0
        self._texts["reason"][pairs] = reasons

    def tell(self, pairs: Ints, name: str, texts: Sequence[str | None]) -> None:
        """Set `witness` or `rebuild_sql` of pairs."""
        self._texts[name][pairs] = texts

    def count_partial(self, pairs: Ints, containment: npt.NDArray[np.float64]) -> None:
        """Set the exact containment of pairs that are not contained."""
        self._stage[pairs] = STAGES.index("partial")
        self.containment[pairs] = containment

    def relations(self, partial_from: float | None) -> npt.NDArray[np.object_]:
        """Return each pair's relation; `partial` from that containment on, or never."""
        relations = np.full(len(self._stage), "refuted", object)
        if partial_from is not None:
            with np.errstate(invalid="ignore"):
                relations[self.containment >= partial_from] = "partial"
        relations[self.contained] = "contained"
        relations[self.mutual()] = "duplicate"
        relations[self.incomparable] = "incomparable"
        return relations

    def mutual(self) -> Ints:
        """Return the pairs that are contained both ways."""
        held = np.flatnonzero(self.contained)
        child, parent = self.edges.child[held], self.edges.parent[held]
        width = int(max(child.max(initial=0), parent.max(initial=0))) + 1
        return held[np.isin(child * width + parent, parent * width + child)]

    def as_table(self, tables: HashedTables, partial_from: float | None) -> pa.Table:
        """Return EDGES, sorted by the names of child and parent."""
        lake = tables.reader.tables
        names = pa.array([table.name for table in lake], pa.string())
        rows = pa.array([table.rows for table in lake], pa.int64())
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
