"""The views over a run of samples, as SQL over its files.

Nothing is copied: a view reads the ledger's and the artifacts' Parquet files, and of
those the columns and row groups that a query asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from winnow.config.step_kinds import INDEX
from winnow.core.errors import RunError
from winnow.core.marker import Marker
from winnow.core.run_folder import RunFolder
from winnow.core.sql_text import AS_STORED, literal
from winnow.reports.run_columns import (
    COMPLEXITY,
    LEDGER,
    MEASURED,
    MEMBERS,
    NEIGHBOURS,
    REJECTS,
    REPEATS,
    STEPS,
    VECTORS,
    union,
    values_of,
)
from winnow.reports.stored_tables import has_table, table_files


class RunSql:
    """Writes the views of one run and remembers which files they open.

    `prefix` goes before the views' names, for several runs in one database.
    """

    def __init__(
        self, folder: RunFolder, markers: Sequence[Marker], prefix: str = ""
    ) -> None:
        self._folder, self._markers, self._prefix = folder, list(markers), prefix
        self._root = folder.path.resolve()
        self.files: list[str] = []

    @property
    def rejected(self) -> bool:
        """Whether the first step has left rows of the input out."""
        return any(m.kind == INDEX and m.quarantined for m in self._markers)

    def views(self) -> dict[str, str]:
        """Return the SELECT of each view, each after those that it builds on."""
        return {
            "steps": self._steps(),
            "ledger": self._ledger(),
            "members": self._members(),
            "quarantine": self._quarantine(),
            "fates": self._fates(),
            "duplicates": self._duplicates(),
            "neighbours": self._neighbours(),
            "clusters": self._clusters(),
            "index_places": self.places(),
            "measured": self._measured(),
            "repeats": self._repeats(),
            "vectors": self._vectors(),
        }

    def _measured(self) -> str:
        """Return what the page has measured on samples; see reports.page.measured."""
        if self.has(INDEX, "measured"):
            return f"SELECT * FROM {self.artifact('index', 'measured')}"
        return values_of(MEASURED, [])

    def _repeats(self) -> str:
        """Return how often each row was drawn, where rows may be drawn repeatedly."""
        folder = self._folder.file("repeats")
        if folder.is_dir():
            return f"SELECT uid, count::BIGINT AS count FROM {self.scan(folder)}"
        return values_of(REPEATS, [])

    def _vectors(self) -> str:
        """Return the vectors of every embedding step, null where it has none."""
        parts = [
            f"SELECT *, {literal(m.step)} AS step FROM "
            + self.artifact(m.step, "vectors")
            for m in self._markers
            if provided_vectors(m) and self.has(m.step, "vectors")
        ]
        return " UNION ALL BY NAME ".join([values_of(VECTORS, []), *parts])

    def scan(self, folder: Path) -> str:
        """Return a scan of a folder's Parquet files, which the engine may then open.

        Raises RunError for a file that is a link to somewhere outside the run,
        DamagedError for one that is lost.
        """
        files = [self.file(file) for file in table_files(self._folder, folder)]
        return f"read_parquet([{', '.join(map(literal, files))}], {AS_STORED})"

    def file(self, file: Path) -> str:
        """Return the real path of a file of the run, which the engine may then open."""
        real = file.resolve()
        if not real.is_relative_to(self._root):
            raise RunError(f"{file} is a link out of the run; it is not opened")
        self.files.append(str(real))
        return str(real)

    def artifact(self, step: str, name: str) -> str:
        """Return a scan of a table that a step has stored."""
        return self.scan(self._folder.artifacts(step) / name)

    def has(self, step: str, name: str) -> bool:
        """Whether a step has stored this table."""
        return has_table(self._folder, self._markers, step, name)

    @property
    def _deciding(self) -> list[tuple[int, Marker]]:
        return [(i, m) for i, m in enumerate(self._markers) if m.decides]

    def _steps(self) -> str:
        rows = []
        for position, marker in enumerate(self._markers):
            texts = f"{literal(marker.step)}, {position}, {literal(marker.kind)}"
            numbers = (
                marker.rows_in,
                marker.kept,
                marker.dropped,
                marker.quarantined,
                marker.seconds,
                marker.peak_rss_mb,
            )
            rows.append(f"({texts}, {', '.join(map(str, numbers))})")
        return values_of(STEPS, rows)

    def _ledger(self) -> str:
        parts = [
            f"SELECT uid, {literal(m.step)} AS step, {position} AS position, keep, "
            "reason, score, threshold, kept_twin "
            f"FROM {self.scan(self._folder.ledger(m.step))}"
            for position, m in self._deciding
        ]
        return union(parts, LEDGER)

    def _members(self) -> str:
        parts = [
            f"SELECT uid, {literal(m.step)} AS step, cluster AS cluster_id, distance "
            f"FROM {self.artifact(m.step, 'clusters')}"
            for m in self._markers
            if "clusters" in m.provides and self.has(m.step, "clusters")
        ]
        return union(parts, MEMBERS)

    def _quarantine(self) -> str:
        self._folder.require_closed()
        folder = self._folder.file("quarantine")
        if folder.is_dir():
            return f"SELECT * FROM {self.scan(folder)}"
        # An unfinished run has put no raw rows there yet.
        return (
            "SELECT r.uid, p.source, p.row, r.reason, r.step FROM "
            f"({self._rejects()}) r LEFT JOIN ({self._all_places()}) p USING (uid)"
        )

    def _rejects(self) -> str:
        parts = [
            f"SELECT uid, reason, {literal(m.step)} AS step "
            f"FROM {self.artifact(m.step, 'rejects')}"
            for m in self._markers
            if m.quarantined and self.has(m.step, "rejects")
        ]
        return union(parts, REJECTS)

    def places(self) -> str:
        """Return (uid, source, row) of every indexed row."""
        samples = self.artifact(INDEX, "samples")
        return f"SELECT uid, source, row FROM {samples}"

    def _all_places(self) -> str:
        parts = [
            f"SELECT uid, source, row FROM {self.artifact('index', name)}"
            for name in ("samples", "rejected")
            if self.has(INDEX, name)
        ]
        return union(parts, {"uid": "VARCHAR", "source": "VARCHAR", "row": "BIGINT"})

    def _fates(self) -> str:
        """Return what became of every row: kept, dropped, quarantined or undecided."""
        if not self.has(INDEX, "samples"):
            return values_of({"uid": "VARCHAR", "fate": "VARCHAR"}, [])
        finished = self._folder.file("manifest.json").is_file()
        last = literal("kept" if finished else "undecided")
        gone = (
            "SELECT uid, 'dropped' AS fate, step, position, reason, score, threshold, "
            f"kept_twin FROM {self._prefix}ledger WHERE NOT keep UNION ALL BY NAME "
            "SELECT r.uid, 'quarantined' AS fate, r.step, s.position, r.reason "
            f"FROM ({self._rejects()}) r JOIN {self._prefix}steps s USING (step)"
        )
        return (
            f"{gone} UNION ALL BY NAME SELECT uid, {last} AS fate FROM ({self._left()})"
        )

    def _left(self) -> str:
        """Return the uids that no step has ended so far."""
        deciding = self._deciding
        position, start = -1, f"SELECT uid FROM {self.artifact('index', 'samples')}"
        if deciding:
            position, marker = deciding[-1]
            ledger = self.scan(self._folder.ledger(marker.step))
            start = f"SELECT uid FROM {ledger} WHERE keep"
        later = [
            m
            for m in self._markers[position + 1 :]
            if m.quarantined and m.kind != INDEX and self.has(m.step, "rejects")
        ]
        for marker in later:
            rejects = self.artifact(marker.step, "rejects")
            start = f"SELECT uid FROM ({start}) ANTI JOIN {rejects} USING (uid)"
        return start

    def _duplicates(self) -> str:
        """Return every duplicate with the row that stands for it in the end.

        A twin may itself be dropped for another one later; the chain of twins ends in a
        row that no duplicate step dropped, whose fate is told. Few twins are, so chains
        are followed for those alone.
        """
        return f"""
WITH RECURSIVE
gone AS MATERIALIZED ({self._gone()}),
hops AS MATERIALIZED (
    SELECT uid, direct_twin AS twin FROM gone
    WHERE uid IN (SELECT direct_twin FROM gone)
),
chain AS (
    SELECT uid, twin FROM hops
    UNION ALL
    SELECT chain.uid, hops.twin FROM chain JOIN hops ON chain.twin = hops.uid
),
ends AS (SELECT uid, twin FROM chain ANTI JOIN hops ON chain.twin = hops.uid),
pairs AS MATERIALIZED (
    SELECT gone.*, coalesce(ends.twin, gone.direct_twin) AS kept_twin
    FROM gone LEFT JOIN ends ON gone.direct_twin = ends.uid
),
told AS (
    SELECT f.uid, f.fate, f.step
    FROM {self._prefix}fates f
    JOIN (SELECT DISTINCT kept_twin FROM pairs) t ON f.uid = t.kept_twin
)
SELECT p.uid, p.kept_twin, p.step, p.similarity, p.band, p.direct_twin,
    coalesce(told.fate, 'not in this run') AS twin_fate, told.step AS twin_step,
    p.reason
FROM pairs p LEFT JOIN told ON told.uid = p.kept_twin"""

    def _gone(self) -> str:
        parts = []
        for _, marker in self._deciding:
            step, ledger = marker.step, self.scan(self._folder.ledger(marker.step))
            name = literal(step)
            rows = f"FROM {ledger} l"
            band = "NULL::INTEGER"
            if self.has(step, "duplicates"):
                band = "d.band"
                rows += f" LEFT JOIN {self.artifact(step, 'duplicates')} d USING (uid)"
            parts.append(
                f"SELECT l.uid, l.kept_twin AS direct_twin, {name} AS step, "
                f"l.score AS similarity, {band} AS band, l.reason {rows} "
                "WHERE NOT l.keep AND l.kept_twin IS NOT NULL"
            )
            if self.has(step, "neighbours"):
                # Under `reference` a twin may have gone in the same step.
                twins = self.artifact(step, "neighbours")
                parts.append(
                    f"SELECT l.uid, n.twin AS direct_twin, {name} AS step, "
                    "l.score AS similarity, NULL::INTEGER AS band, l.reason "
                    f"FROM {twins} n JOIN (FROM {ledger} "
                    "WHERE NOT keep AND kept_twin IS NULL) l USING (uid)"
                )
        columns = {
            "uid": "VARCHAR",
            "direct_twin": "VARCHAR",
            "step": "VARCHAR",
            "similarity": "DOUBLE",
            "band": "INTEGER",
            "reason": "VARCHAR",
        }
        return union(parts, columns)

    def _neighbours(self) -> str:
        """Return each row's most similar earlier row, whatever became of that one."""
        parts = [
            f"SELECT uid, {literal(marker.step)} AS step, twin, similarity "
            f"FROM {self.artifact(marker.step, 'neighbours')}"
            for _, marker in self._deciding
            if self.has(marker.step, "neighbours")
        ]
        return union(parts, NEIGHBOURS)

    def _clusters(self) -> str:
        """Return each cluster with its rows that the run keeps, and its quota."""
        parts = []
        for position, marker in enumerate(self._markers):
            if "clusters" not in marker.provides:
                continue
            complexity = self._complexity_after(position)
            parts.append(
                f"""SELECT m.cluster_id, m.size, m.kept, c.d_intra, c.d_inter,
    c.complexity, c.quota, {literal(marker.step)} AS step
FROM (
    SELECT a.cluster AS cluster_id, count(*) AS size, count(k.uid) AS kept
    FROM {self.artifact(marker.step, "clusters")} a
    LEFT JOIN ({self._left()}) k USING (uid) GROUP BY ALL
) m LEFT JOIN ({complexity}) c ON c.cluster = m.cluster_id"""
            )
        columns = {
            "cluster_id": "INTEGER",
            "size": "BIGINT",
            "kept": "BIGINT",
            **{name: kind for name, kind in COMPLEXITY.items() if name != "cluster"},
            "step": "VARCHAR",
        }
        return union(parts, columns)

    def _complexity_after(self, position: int) -> str:
        """Return the complexities that were measured on a clustering, if any were."""
        for marker in self._markers[position + 1 :]:
            if "clusters" in marker.provides:
                break
            if self.has(marker.step, "complexity"):
                columns = ", ".join(COMPLEXITY)
                return (
                    f"SELECT {columns} FROM {self.artifact(marker.step, 'complexity')}"
                )
        return values_of(COMPLEXITY, [])


def require_whole(
    folder: RunFolder, markers: Sequence[Marker], *, vectors: bool = False
) -> None:
    """Raise RunError if a ledger or a table of a run is not as it was written.

    vectors: whether to look at stored vectors, which are large, instead.
    """
    for marker in markers:
        chosen = {
            name: seal
            for name, seal in marker.files.items()
            if name.startswith(("artifacts/", "ledger/"))
            and ("/vectors" in name) == vectors
        }
        folder.require_whole(replace(marker, files=chosen))


def provided_vectors(marker: Marker) -> set[str]:
    """Return the columns of vectors that a step is there to provide."""
    ending = "_vectors"
    return {
        f"{name.removesuffix(ending)}_vector"
        for name in marker.provides
        if name.endswith(ending)
    }
