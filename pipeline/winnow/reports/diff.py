"""Two runs side by side: which rows one keeps and the other does not, and why not.

`diff` gathers plain values, for JSON and the page; `tell` turns them into sentences.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from winnow.core.errors import RunError
from winnow.core.marker import Marker
from winnow.core.run_folder import RunFolder
from winnow.core.sql_text import literal
from winnow.pages.closed_sql import ClosedSql, create_views
from winnow.reports.rows_out import as_json
from winnow.reports.run_sql import RunSql, require_whole

#: Clusters that the text names; JSON has them all.
_NAMED = 10


def diff(run_a: str | Path, run_b: str | Path, examples: int = 10) -> dict[str, Any]:
    """Return how the selections of two runs differ.

    `kept`: counts, overlap and Jaccard similarity. `steps`: rows of the input that each
    step of either run let through and took out. `only_a` (and `only_b`): rows kept by A
    and not by B, by the step and reason of B that ended them, with up to `examples`
    rows. `clusters`: the same counts by cluster of A's first clustering (B's, if A has
    none). Raises RunError if a folder holds no finished run.
    """
    with _opened(run_a, run_b) as (sql, clustered):
        return {
            "runs": {"a": str(run_a), "b": str(run_b)},
            "kept": _kept(sql),
            "steps": _rows(sql, _STEPS),
            "only_a": _only(sql, "a", "b", examples),
            "only_b": _only(sql, "b", "a", examples),
            "clusters": _clusters(sql, *clustered) if clustered else [],
        }


@contextmanager
def _opened(
    run_a: str | Path, run_b: str | Path
) -> Iterator[tuple[ClosedSql, tuple[str, str] | None]]:
    """Open both runs in one database; yield it, and where clusters come from."""
    views, files, clustered = list[str](), list[str](), None
    for prefix, run in (("a_", run_a), ("b_", run_b)):
        folder = RunFolder(run)
        markers = folder.markers()
        require_whole(folder, markers)
        if not folder.file("manifest.json").is_file():
            raise RunError(f"{run} is not finished; the same `winnow run` goes on")
        run_sql = RunSql(folder, markers, prefix)
        views += create_views({prefix + n: body for n, body in run_sql.views().items()})
        files += run_sql.files
        step = _first_clustering(markers)
        clustered = clustered or (prefix, step) if step else clustered
    views.append(
        "CREATE VIEW pairs AS SELECT coalesce(a.uid, b.uid) AS uid, "
        "coalesce(a.fate = 'kept', false) AS kept_a, "
        "coalesce(b.fate = 'kept', false) AS kept_b, a.fate AS fate_a, b.fate AS "
        "fate_b, a.step AS step_a, b.step AS step_b, a.reason AS reason_a, "
        "b.reason AS reason_b, a.score AS score_a, b.score AS score_b, "
        "a.kept_twin AS kept_twin_a, b.kept_twin AS kept_twin_b "
        "FROM a_fates a FULL JOIN b_fates b ON a.uid = b.uid"
    )
    sql = ClosedSql(views, files)
    try:
        yield sql, clustered
    finally:
        sql.close()


def _first_clustering(markers: list[Marker]) -> str | None:
    return next((m.step for m in markers if "clusters" in m.provides), None)


def _rows(sql: ClosedSql, query: str) -> list[dict[str, Any]]:
    # Counts that the engine sums up come as decimals.
    return [
        {name: as_json(value) for name, value in row.items()}
        for batch in sql.stream(query, (), None)
        for row in batch.to_pylist()
    ]


def _kept(sql: ClosedSql) -> dict[str, Any]:
    (counts,) = _rows(
        sql,
        "SELECT count_if(kept_a) AS a, count_if(kept_b) AS b, "
        "count_if(kept_a AND kept_b) AS both, "
        "count_if(kept_a AND NOT kept_b) AS only_a, "
        "count_if(kept_b AND NOT kept_a) AS only_b, "
        "count_if(fate_b IS NULL) AS rows_only_in_a, "
        "count_if(fate_a IS NULL) AS rows_only_in_b FROM pairs",
    )
    either = counts["both"] + counts["only_a"] + counts["only_b"]
    # Two empty selections are the same selection.
    return {**counts, "jaccard": counts["both"] / either if either else 1.0}


_STEPS = """SELECT coalesce(a.step, b.step) AS step, a.rows_in AS rows_in_a,
    a.kept AS kept_a, a.dropped AS dropped_a, a.quarantined AS quarantined_a,
    b.rows_in AS rows_in_b, b.kept AS kept_b, b.dropped AS dropped_b,
    b.quarantined AS quarantined_b
FROM a_steps a FULL JOIN b_steps b ON a.step = b.step
ORDER BY coalesce(a.position, b.position), coalesce(a.step, b.step)"""


def _only(sql: ClosedSql, one: str, other: str, examples: int) -> dict[str, Any]:
    """Return the rows that `one` keeps and `other` does not, by what became of them."""
    fate = f"coalesce(fate_{other}, 'not in its input')"
    chosen = f"FROM pairs WHERE kept_{one} AND NOT kept_{other}"
    ended = f"{fate} AS fate, step_{other} AS step, reason_{other} AS reason"
    by_step = _rows(
        sql,
        f"SELECT {ended}, count(*) AS rows {chosen} GROUP BY ALL "
        "ORDER BY rows DESC, fate, step, reason",
    )
    shown = _rows(
        sql,
        f"SELECT uid, {ended}, score_{other} AS score, kept_twin_{other} AS kept_twin "
        f"{chosen} ORDER BY uid LIMIT {int(examples)}",
    )
    return {
        "rows": sum(r["rows"] for r in by_step),
        "by_step": by_step,
        "examples": shown,
    }


def _clusters(sql: ClosedSql, prefix: str, step: str) -> list[dict[str, Any]]:
    return _rows(
        sql,
        f"SELECT {literal(step)} AS step, m.cluster_id, count(*) AS rows, "
        "count_if(kept_a) AS kept_a, count_if(kept_b) AS kept_b, "
        "count_if(kept_a AND NOT kept_b) AS only_a, "
        "count_if(kept_b AND NOT kept_a) AS only_b FROM pairs "
        f"LEFT JOIN (FROM {prefix}members WHERE step = {literal(step)}) m USING (uid) "
        "WHERE m.cluster_id IS NOT NULL OR kept_a OR kept_b "
        "GROUP BY ALL ORDER BY only_a + only_b DESC, m.cluster_id",
    )


def tell(difference: dict[str, Any]) -> str:
    """Return the difference as text."""
    kept = difference["kept"]
    lines = [
        f"A {difference['runs']['a']}: {kept['a']:,} kept",
        f"B {difference['runs']['b']}: {kept['b']:,} kept",
        f"{kept['both']:,} kept by both, {kept['only_a']:,} by A only, "
        f"{kept['only_b']:,} by B only; Jaccard {kept['jaccard']:.4f}",
    ]
    for name in ("a", "b"):
        if kept[f"rows_only_in_{name}"]:
            lines.append(
                f"{kept[f'rows_only_in_{name}']:,} rows are in the input of "
                f"{name.upper()} only"
            )
    for one, other in (("a", "b"), ("b", "a")):
        only = difference[f"only_{one}"]
        if only["rows"]:
            lines.append(f"kept by {one.upper()}, in {other.upper()}:")
            lines += [f"  {row['rows']:>9,}  {ended(row)}" for row in only["by_step"]]
            lines += [f"    {row['uid']}: {ended(row)}" for row in only["examples"]]
    changed = [c for c in difference["clusters"] if c["only_a"] or c["only_b"]]
    if changed:
        lines.append(f"clusters of {changed[0]['step']} that differ most:")
        lines += [
            f"  {_name(c):>12}: {c['only_a']:,} by A only, {c['only_b']:,} by B only "
            f"of {c['rows']:,}"
            for c in changed[:_NAMED]
        ]
    return "\n".join(lines)


def ended(row: dict[str, Any]) -> str:
    """Return what became of a row that is not kept."""
    if row["step"] is None:
        return str(row["fate"])
    return f"{row['fate']} at {row['step']} ({row['reason']})"


def _name(cluster: dict[str, Any]) -> str:
    number = cluster["cluster_id"]
    return "no cluster" if number is None else f"cluster {number}"
