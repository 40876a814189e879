"""Queries that come with Winnow, for `winnow query RUN --named NAME`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.core.errors import ConfigError, QueryError, did_you_mean
from pipeline.reports.closed_sql import identifier
from pipeline.reports.database import RunDatabase

#: Stands in a query for the input's column that the user names.
_COLUMN = "{column}"


@dataclass(frozen=True)
class NamedQuery:
    """A query and what it answers; `column` is the one it uses unless told another."""

    about: str
    sql: str
    column: str | None = None


SAMPLES: dict[str, NamedQuery] = {
    "survivors": NamedQuery(
        "rows in, kept, dropped and quarantined, step by step",
        "SELECT step, rows_in, kept, dropped, quarantined, seconds "
        "FROM steps ORDER BY position",
    ),
    "fates": NamedQuery(
        "how many rows were kept, or ended where and why",
        "SELECT fate, step, reason, count(*) AS rows FROM fates "
        "GROUP BY ALL ORDER BY rows DESC, fate, step, reason",
    ),
    "reasons": NamedQuery(
        "the reasons of each step's decisions, kept rows included",
        "SELECT step, keep, reason, count(*) AS rows, min(score) AS lowest, "
        "max(score) AS highest FROM ledger "
        "GROUP BY step, position, keep, reason "
        "ORDER BY position, keep, rows DESC, reason",
    ),
    "largest-duplicate-groups": NamedQuery(
        "rows that stand for the most duplicates",
        "SELECT kept_twin, twin_fate, count(*) + 1 AS size, "
        "list(DISTINCT step ORDER BY step) AS steps, "
        "min(similarity) AS least_similarity, min(uid) AS example "
        "FROM duplicates GROUP BY ALL ORDER BY size DESC, kept_twin LIMIT 50",
    ),
    "lowest-keep-rate-clusters": NamedQuery(
        "clusters of which the smallest share was kept",
        "SELECT step, cluster_id, size, kept, kept / size AS keep_rate, complexity, "
        "quota FROM clusters ORDER BY keep_rate, size DESC, step, cluster_id LIMIT 50",
    ),
    "quarantine-by-reason": NamedQuery(
        "why rows could not be read",
        "SELECT step, split_part(reason, ':', 1) AS reason, count(*) AS rows, "
        "min(source) AS example_source, min_by(row, source) AS example_row "
        "FROM quarantine GROUP BY ALL ORDER BY rows DESC, step, reason",
    ),
    "closest-to-the-threshold": NamedQuery(
        "the ten rows of each step whose score was nearest to its cut",
        "SELECT step, uid, keep, reason, score, threshold FROM ledger "
        "WHERE score IS NOT NULL AND threshold IS NOT NULL "
        "AND step NOT IN (SELECT step FROM steps WHERE kind = 'exact') "
        "QUALIFY row_number() OVER (PARTITION BY step "
        "ORDER BY abs(score - threshold), uid) <= 10 "
        "ORDER BY position, abs(score - threshold), uid",
    ),
    "caption-groups": NamedQuery(
        "where captions that stand more than 20 times (digits alike) land in a score's "
        "ranking: median_place 1 is the top (--column: the captions)",
        "SELECT r.step, "
        f"regexp_replace(lower(s.{_COLUMN}::VARCHAR), '[0-9]+', '#', 'g') AS caption, "
        "count(*) AS rows, count_if(r.keep) AS kept, "
        "median(r.place) AS median_place FROM (SELECT l.uid, l.step, l.keep, "
        "percent_rank() OVER (PARTITION BY l.step ORDER BY l.score) AS place "
        "FROM ledger l JOIN steps t USING (step) WHERE t.kind = 'score' "
        "AND l.score IS NOT NULL) r JOIN samples s USING (uid) "
        "GROUP BY ALL HAVING count(*) > 20 ORDER BY r.step, rows DESC, caption",
        column="text",
    ),
    "reasons-by-category": NamedQuery(
        "rows by an input column (--column), fate and reason",
        f"SELECT s.{_COLUMN} AS category, f.fate, f.step, f.reason, count(*) AS rows "
        "FROM samples s JOIN fates f USING (uid) GROUP BY ALL "
        "ORDER BY rows DESC, category, fate, step, reason",
        column="category",
    ),
    "keep-rate-by-category": NamedQuery(
        "what share of each value of an input column (--column) was kept",
        f"SELECT s.{_COLUMN} AS category, count(*) AS rows, "
        "count_if(f.fate = 'kept') AS kept, avg((f.fate = 'kept')::INT) AS keep_rate "
        "FROM samples s JOIN fates f USING (uid) GROUP BY ALL "
        "ORDER BY keep_rate, rows DESC, category",
        column="category",
    ),
}

LAKES: dict[str, NamedQuery] = {
    "stages": NamedQuery(
        "how the candidate edges became fewer, and what that cost",
        "SELECT * FROM stages",
    ),
    "relations": NamedQuery(
        "how many edges there are of each relation, and which stage decided",
        "SELECT relation, stage, count(*) AS edges FROM edges "
        "GROUP BY ALL ORDER BY edges DESC, relation, stage",
    ),
    "largest-savings": NamedQuery(
        "what the plan may delete, by the bytes that saves",
        'SELECT "table", parent, bytes, bytes_saved, cost_saved, reason FROM plan '
        "WHERE action = 'delete' ORDER BY bytes_saved DESC, \"table\" LIMIT 50",
    ),
    "near-misses": NamedQuery(
        "tables that are nearly contained, with a row that is not",
        "SELECT child, parent, relation, containment, stage, witness FROM edges "
        "WHERE relation IN ('partial', 'refuted') AND witness IS NOT NULL "
        "ORDER BY containment DESC NULLS LAST, child, parent LIMIT 50",
    ),
    "unreadable-tables": NamedQuery(
        "tables that could not be read, and why",
        'SELECT "table", reason FROM tables WHERE reason IS NOT NULL ORDER BY "table"',
    ),
}


def named_queries(database: RunDatabase) -> Mapping[str, NamedQuery]:
    """Return the queries for this kind of run, by name."""
    return LAKES if database.is_lake else SAMPLES


def named_sql(database: RunDatabase, name: str, column: str | None = None) -> str:
    """Return a named query's SQL.

    Raises ConfigError for an unknown name or a column that the query does not take,
    QueryError for a column that the input lacks.
    """
    known = named_queries(database)
    if name not in known:
        raise ConfigError(f"no query named '{name}'; {did_you_mean(name, known)}")
    query = known[name]
    if query.column is None:
        if column is not None:
            raise ConfigError(f"the query '{name}' takes no column")
        return query.sql
    wanted = column or query.column
    there = [name for name, _ in database.views["samples"]]
    if wanted not in there:
        raise QueryError(
            f"samples has no column '{wanted}'; choose one with --column: "
            + ", ".join(there)
        )
    return query.sql.replace(_COLUMN, identifier(wanted))
