"""The table flow: which tables of a lake are contained in which, stage by stage.

    RUN/edges.parquet     a row per pair whose column names are contained, with proof
    RUN/derived.parquet   a row per table that several hold together, or one renamed
    RUN/tables.parquet    a row per table, readable or not
    RUN/stages.parquet    how the pairs became fewer, and what that cost
    RUN/artifacts/        what the next scan need not work out again

Nothing is deleted here; `lake_plan` says what may go and `lake_apply` moves it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.config.lake import LakeConfig
from winnow.config.lock_file import lock_text, read_lock
from winnow.core.engine import Engine
from winnow.core.errors import ConfigError, InputError, RunError
from winnow.core.inside import is_url, lies_in
from winnow.core.marker import Marker
from winnow.core.meter import Meter
from winnow.core.progress import Progress, Silent, watched
from winnow.core.run_folder import RunFolder, remove, replace, write_text
from winnow.core.run_log import EVENTS, LoggedProgress, logged
from winnow.core.saved_files import DamagedError
from winnow.core.versions import versions
from winnow.lake.derived import DerivedMemory, DerivedTables
from winnow.lake.files.catalogue import Surveyed, survey
from winnow.lake.kernels.tables import DERIVED, STAGES, TABLES, Table
from winnow.lake.memory import Catalogue, Keys, PairMemory, SketchMemory, keys_of
from winnow.lake.run import hashed_tables, lake_of
from winnow.lake.stages import Stages, sizes_of
from winnow.lake.texts import add_rebuilds, add_witnesses

_TEXTS = ("csv", "jsonl")

#: Makes the engine, given a folder for its scratch files.
LakeEngineFactory = Callable[[LakeConfig, Path], Engine]


@dataclass(frozen=True)
class LakeResult:
    """What a scan found; `plan` is what `plan_lake` returned if it was asked for."""

    path: Path
    tables: int
    #: Stored bytes of the tables.
    bytes: int
    #: Tables that cannot be read or only in part, with the reason.
    reasons: dict[str, str]
    #: Pairs by relation.
    relations: dict[str, int]
    stages: list[dict[str, Any]]
    plan: dict[str, Any] | None = None
    #: Files that are no table's, by their ending.
    ignored: dict[str, int] = field(default_factory=dict)


def run(
    config: LakeConfig, make_engine: LakeEngineFactory, progress: Progress | None = None
) -> LakeResult:
    """Scan a lake and plan its deletions: what `winnow run` does with its recipe."""
    # The solver takes a while to import, and a scan alone needs none.
    from winnow.lake.plan import plan_lake

    result = scan(config, make_engine, progress)
    plan = plan_lake(str(result.path))
    return LakeResult(**{**vars(result), "plan": plan})


def scan(
    config: LakeConfig, make_engine: LakeEngineFactory, progress: Progress | None = None
) -> LakeResult:
    """Find which tables of a lake are contained in which; write what was found.

    Only tables that changed since an earlier scan of this run are read, and those that
    a changed one is compared with for the first time; the same command goes on where an
    earlier one stopped. Raises InputError if the lake does not exist or changes while
    it is read, ConfigError if the run's folder lies in the lake, RunError if it is in
    use or holds something else.
    """
    folder = RunFolder(config.output.path)
    if lies_in(str(folder.path), config.input.path):
        raise ConfigError(
            f"the run's folder {folder.path} lies in the lake {config.input.path}; "
            "choose a folder outside it with --out"
        )
    with folder.locked(), logged(folder.path):
        folder.refuse_run_of_samples()
        _refuse_other_lake(config, folder)
        write_text(folder.file("config.lock.yaml"), lock_text(config))
        engine = make_engine(config, folder.scratch("engine"))
        EVENTS.info("%s, %s", config.input.path, versions())
        told = LoggedProgress(progress or Silent())
        with watched(told, 0, engine.tasks):
            return _Scan(config, folder, engine, told).run()


def _refuse_other_lake(config: LakeConfig, folder: RunFolder) -> None:
    """Raise RunError if the folder holds a scan of another lake."""
    try:
        before = read_lock(folder.path).get("input")
    except DamagedError:
        return  # there is none, or it is written again
    old = before.get("path") if isinstance(before, dict) else None
    if isinstance(old, str) and _same(old) != _same(config.input.path):
        raise RunError(
            f"{folder.path} holds a scan of another lake, {old}, and perhaps its "
            "tables in the trash; choose another folder with --out, or restore and "
            "remove that one"
        )


def _no_tables(config: LakeConfig, ignored: dict[str, int]) -> InputError:
    """Return what to say of a lake without tables, whose scan would say nothing."""
    left = ", ".join(f"{count:,} {ending}" for ending, count in ignored.items())
    source = config.input
    chosen = [*source.include, *source.exclude] != ["**"]
    globs = ", or input.include and input.exclude leave them all out" if chosen else ""
    return InputError(
        f"{source.path}: there is no table in it{globs}"
        f"{f'; its files: {left}' if left else ''}. Is it the right folder?"
    )


def _same(lake: str) -> str:
    return lake if is_url(lake) else os.path.realpath(os.path.expanduser(lake))


@dataclass
class _Scan:
    config: LakeConfig
    folder: RunFolder
    engine: Engine
    progress: Progress
    rows: list[dict[str, Any]] = field(default_factory=list)
    #: Files that are no table's, by their ending.
    ignored: dict[str, int] = field(default_factory=dict)
    derived: pa.Table = field(default_factory=DERIVED.empty_table)
    keys: Keys = field(init=False)

    def run(self) -> LakeResult:
        """Run every stage, write what was found and return what it comes to."""
        self.keys = keys_of(self.config, self.folder)
        surveyed = self._catalogue()
        stages = self._stages(surveyed)
        try:
            self._decide(stages, len(surveyed))
        finally:
            self.engine.clear()
        relations = self._write(stages, surveyed)
        stages.sketch_memory.settle()
        stages.pair_memory.settle()
        remove(self.folder.file(".work"))
        return LakeResult(
            self.folder.path,
            len(surveyed),
            sum(table.bytes for table, _ in surveyed),
            _reasons(stages),
            relations,
            self.rows,
            ignored=self.ignored,
        )

    def _catalogue(self) -> list[Surveyed]:
        meter = self._started("catalogue", 0)
        memory = Catalogue(self.folder, self.keys)
        lake = lake_of(self.config, self.folder)
        surveyed = survey(lake, memory.known, self.ignored)
        if not surveyed:
            raise _no_tables(self.config, self.ignored)
        read = sum(
            part.surveyed_bytes
            for one in surveyed
            if memory.read(one)
            for part in one[0].parts
        )
        memory.remember(surveyed)
        pairs = len(surveyed) * (len(surveyed) - 1)
        self._finished("catalogue", (pairs, pairs), read, meter)
        return surveyed

    def _stages(self, surveyed: Sequence[Surveyed]) -> Stages:
        tables = [table for table, _ in surveyed]
        hashed = hashed_tables(self.config, tables)
        return Stages(
            self.config,
            self.engine,
            hashed,
            [
                {key: statistics[name] for key, name in names.items()}
                for (_, statistics), names in zip(surveyed, hashed.names, strict=True)
            ],
            SketchMemory(self.folder, self.keys, tables, sizes_of(self.config)),
            PairMemory(self.folder, self.keys, tables),
        )

    def _decide(self, stages: Stages, tables: int) -> None:
        before = tables * (tables - 1)
        for name in ("schema", "min_max", "sketch", "sample", "content"):
            meter = self._started(name, before)
            read = getattr(stages, name)()
            findings = stages.findings
            after = len(findings.open()) + int(findings.contained.sum())
            if name == "sample":
                # A child that its sketch holds whole was compared as a whole.
                after += len(findings.refuted_in("content"))
            self._finished(name, (before, after), read, meter)
            before = after
        meter = self._started("partial", len(findings.refuted()))
        suggested, near, read = stages.partial()
        self._finished("partial", (suggested, near), read, meter)
        stages.consistent()
        meter = self._started("witness", len(findings.refuted()))
        pairs, read = add_witnesses(stages)
        self._finished("witness", (pairs, pairs), read, meter)
        meter = self._started("rebuild", before)
        pairs, read = add_rebuilds(stages, self.folder)
        self._finished("rebuild", (pairs, pairs), read, meter)
        self._derive(stages)

    def _derive(self, stages: Stages) -> None:
        """Look for tables that several others hold, or one under other names."""
        config = self.config.derived
        if not (config.unions or config.renamed):
            return
        memory = DerivedMemory(self.folder, self.keys.derived)
        search = DerivedTables(stages, self.folder, memory)
        meter = self._started("derived", 0)
        self.derived = search.table()
        memory.settle()
        pairs = search.suggested, len(self.derived)
        self._finished("derived", pairs, search.read, meter)

    def _started(self, stage: str, pairs: int) -> Meter:
        self.progress.started(stage, pairs)
        return Meter()

    def _finished(
        self, stage: str, pairs: tuple[int, int], read: int, meter: Meter
    ) -> None:
        seconds, peak = meter.read()
        row = (stage, *pairs, seconds, read)
        self.rows.append(dict(zip(STAGES.names, row, strict=True)))
        marker = Marker(
            stage, stage, "", "", *pairs, 0, True, seconds=seconds, peak_rss_mb=peak
        )
        self.progress.finished(marker, again=False)

    def _write(self, stages: Stages, surveyed: Sequence[Surveyed]) -> dict[str, int]:
        """Write the results; while the manifest stands, they are of one scan."""
        partial = self.config.partial
        edges = stages.findings.as_table(
            stages.tables, partial.min_containment if partial.enabled else None
        )
        tables = _tables([table for table, _ in surveyed], _reasons(stages), stages)
        file = self.folder.file("edges.parquet")
        new = not file.is_file() or pq.read_table(file) != edges
        file = self.folder.file("derived.parquet")
        new |= not file.is_file() or pq.read_table(file) != self.derived
        for name in ("manifest.json", "report.html"):
            remove(self.folder.file(name))
        if new:
            # A plan of another graph must not be carried out.
            remove(self.folder.file("plan.parquet"))
        self._put("edges.parquet", edges)
        self._put("derived.parquet", self.derived)
        self._put("tables.parquet", tables)
        self._put("stages.parquet", pa.Table.from_pylist(self.rows, STAGES))
        relations = Counter(edges["relation"].to_pylist())
        derived = Counter(self.derived["kind"].to_pylist())
        manifest = {
            "flow": "table_lake",
            **versions(),
            "lake": self.config.input.path,
            "tables": len(tables),
            "relations": dict(sorted(relations.items())),
            "derived": dict(sorted(derived.items())),
            "ignored": self.ignored,
        }
        write_text(
            self.folder.file("manifest.json"),
            json.dumps(manifest, indent=1, sort_keys=True) + "\n",
        )
        return dict(sorted(relations.items()))

    def _put(self, name: str, table: pa.Table) -> None:
        beside = self.folder.file(f"{name}.tmp")
        pq.write_table(table, beside, compression="zstd")
        replace(beside, self.folder.file(name))


def _reasons(stages: Stages) -> dict[str, str]:
    """Return why tables cannot be read, or what of them only in part, by name."""
    tables = stages.tables.reader.tables
    reasons = {table.name: table.reason for table in tables if table.reason}
    for number, reason in stages.sketches.unreadable.items():
        reasons[tables[number].name] = reason
    for number, key in stages.sketches.raw:
        name = tables[number].name
        column = stages.tables.names[number][key]
        text = f"column {column} holds text that is not UTF-8; it is compared as bytes"
        reasons[name] = f"{reasons[name]}; {text}" if name in reasons else text
    return dict(sorted(reasons.items()))


def _readable(table: Table, failed: bool, read: bool) -> bool | None:
    """Whether a table can be read: None while only its footers were."""
    if table.reason is not None or failed:
        return False
    # A text file was read for its types.
    texts = all(part.dialect for part in table.parts) and table.format in _TEXTS
    whole = read or not table.parts or texts
    return True if whole else None


def _tables(
    tables: Sequence[Table], reasons: dict[str, str], stages: Stages
) -> pa.Table:
    unreadable = set(stages.sketches.unreadable)
    read = stages.sketches.tables
    rows = [
        {
            "table": table.name,
            "format": table.format,
            "location": table.location,
            "rows": table.rows if table.reason is None else None,
            "bytes": table.bytes,
            "parts": len(table.parts),
            "columns": [
                {"name": c.name, "type": str(c.type), "family": str(c.family)}
                for c in table.columns
            ],
            "writer": table.writer,
            "modified": datetime.fromtimestamp(table.modified, UTC),
            "fingerprint": table.fingerprint,
            "readable": _readable(table, number in unreadable, number in read),
            "reason": reasons.get(table.name),
        }
        for number, table in enumerate(tables)
    ]
    return pa.Table.from_pylist(rows, TABLES)
