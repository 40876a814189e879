"""What follows once a lake's tables are opened: their pairs settled, results written.

It loads all that compares tables, and `scan` opens tables meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from winnow.config.lake import LakeConfig
from winnow.core.engine import Engine
from winnow.core.run_folder import RunFolder
from winnow.core.task import with_aside
from winnow.lake.derived import DerivedMemory, DerivedTables
from winnow.lake.earlier import EarlierScan, graph_of, remember_scan
from winnow.lake.files.catalogue import Changes, whole
from winnow.lake.files.saved_parts import DamagedPart
from winnow.lake.kernels.tables import DERIVED
from winnow.lake.lake_result import LakeResult
from winnow.lake.logged_stages import add_texts, count_partial, stages_of
from winnow.lake.memory import Catalogue, Keys
from winnow.lake.rescan import Rescan
from winnow.lake.results import is_new, reasons_of, tables_of, write_results
from winnow.lake.stage_log import StageLog
from winnow.lake.stages import Stages


@dataclass(frozen=True)
class Settling:
    """Settles the pairs of a lake's tables and writes what a scan found."""

    config: LakeConfig
    folder: RunFolder
    engine: Engine
    log: StageLog
    keys: Keys

    def settled(
        self, memory: Catalogue, changed: Changes, earlier: EarlierScan | None
    ) -> LakeResult:
        """Run every stage, write what was found and return what it comes to."""
        result = self._again(memory, changed, earlier)
        return result or self._anew(memory, changed)

    def _again(
        self, memory: Catalogue, changed: Changes, earlier: EarlierScan | None
    ) -> LakeResult | None:
        """Decide the pairs of changed tables only; None if that cannot be done."""
        if earlier is None:
            return None
        before = list(self.log.rows)
        rescan = Rescan(
            self.config, self.folder, self.engine, self.log, memory.known, self.keys
        )
        try:
            decided = rescan.decided(earlier, changed)
        except DamagedPart:
            decided = None
        finally:
            self.engine.clear()
        if decided is None:
            self.log.rows = before
            return None
        result = self._written(decided.results, decided.graph, changed, new=decided.new)
        memory.add([one for one in changed.opened if one[0].name in decided.changed])
        decided.stages.sketch_memory.settle()
        decided.stages.pair_memory.settle()
        return result

    def _anew(self, memory: Catalogue, changed: Changes) -> LakeResult:
        """Decide all pairs, of whatever is remembered of unchanged tables."""
        surveyed = whole(changed, memory.known)
        stages = stages_of(self.config, self.folder, self.engine, surveyed, self.keys)
        try:
            self._settle(stages, len(surveyed), partial(memory.remember, surveyed))
            derived = self._derived(stages)
        finally:
            self.engine.clear()
        near = self.config.partial
        edges = stages.findings.as_table(
            stages.tables, near.min_containment if near.enabled else None
        )
        results = {"edges": edges, "derived": derived}
        new = is_new(self.folder, results)
        lake_tables = [table for table, _ in surveyed]
        results["tables"] = tables_of(lake_tables, reasons_of(stages), stages)
        graph = graph_of(stages, range(len(surveyed)))
        result = self._written(results, graph, changed, new=new)
        stages.sketch_memory.settle()
        stages.pair_memory.settle()
        return result

    def _written(
        self,
        results: Mapping[str, pa.Table],
        graph: pa.Table,
        changed: Changes,
        *,
        new: bool,
    ) -> LakeResult:
        relations = write_results(
            self.folder, self.config, results, self.log.rows, changed.ignored, new=new
        )
        remember_scan(self.folder, self.keys, self.config, graph)
        tables = results["tables"]
        partly = tables.filter(tables["reason"].is_valid())
        names, reasons = (partly[n].to_pylist() for n in ("table", "reason"))
        return LakeResult(
            self.folder.path,
            len(tables),
            pc.sum(tables["bytes"], min_count=0).as_py(),
            dict(zip(names, reasons, strict=True)),
            relations,
            self.log.rows,
            ignored=changed.ignored,
        )

    def _settle(
        self, stages: Stages, tables: int, remember: Callable[[], None]
    ) -> None:
        """Settle all pairs; `remember` the tables while other processes read them."""
        before = tables * (tables - 1)
        for name in ("schema", "min_max", "sketch", "sample", "content"):
            meter = self.log.started(name, before)
            if name == "sketch":
                read, _ = with_aside(stages.sketch, remember)
            else:
                read = getattr(stages, name)()
            findings = stages.findings
            after = len(findings.open()) + int(findings.contained.sum())
            if name == "sample":
                # A child that its sketch holds whole was compared as a whole.
                after += len(findings.refuted_in("content"))
            self.log.finished(name, (before, after), read, meter)
            before = after
        count_partial(self.log, stages)
        stages.consistent()
        add_texts(self.log, stages, self.folder, before)

    def _derived(self, stages: Stages) -> pa.Table:
        """Return DERIVED."""
        config = self.config.derived
        if not (config.unions or config.renamed):
            return DERIVED.empty_table()
        memory = DerivedMemory(self.folder, self.keys.derived)
        search = DerivedTables(stages, self.folder, memory)
        meter = self.log.started("derived", 0)
        derived = search.table()
        memory.settle()
        pairs = search.suggested, len(derived)
        self.log.finished("derived", pairs, search.read, meter)
        return derived
