"""Named queries over a run of samples."""

from __future__ import annotations

from winnow.config.step_kinds import EXACT, SCORE
from winnow.core.sql_text import literal
from winnow.pages.named_queries import COLUMN, NamedQuery

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
        "min(source) AS example_source, min_by(row, (source, row)) AS example_row "
        "FROM quarantine GROUP BY ALL ORDER BY rows DESC, step, reason",
    ),
    "closest-to-the-threshold": NamedQuery(
        "the ten rows of each step whose score was nearest to its cut",
        "SELECT step, uid, keep, reason, score, threshold FROM ledger "
        "WHERE score IS NOT NULL AND threshold IS NOT NULL "
        f"AND step NOT IN (SELECT step FROM steps WHERE kind = {literal(EXACT)}) "
        "QUALIFY row_number() OVER (PARTITION BY step "
        "ORDER BY abs(score - threshold), uid) <= 10 "
        "ORDER BY position, abs(score - threshold), uid",
    ),
    "caption-groups": NamedQuery(
        "where captions that stand more than 20 times (digits alike) land in a score's "
        "ranking: median_place 1 is the top (--column: the captions)",
        "SELECT r.step, "
        f"regexp_replace(lower(s.{COLUMN}::VARCHAR), '[0-9]+', '#', 'g') AS caption, "
        "count(*) AS rows, count_if(r.keep) AS kept, "
        "median(r.place) AS median_place FROM (SELECT l.uid, l.step, l.keep, "
        "percent_rank() OVER (PARTITION BY l.step ORDER BY l.score) AS place "
        f"FROM ledger l JOIN steps t USING (step) WHERE t.kind = {literal(SCORE)} "
        "AND l.score IS NOT NULL) r JOIN samples s USING (uid) "
        "GROUP BY ALL HAVING count(*) > 20 ORDER BY r.step, rows DESC, caption",
        column="text",
    ),
    "reasons-by-category": NamedQuery(
        "rows by an input column (--column), fate and reason",
        f"SELECT s.{COLUMN} AS category, f.fate, f.step, f.reason, count(*) AS rows "
        "FROM samples s JOIN fates f USING (uid) GROUP BY ALL "
        "ORDER BY rows DESC, category, fate, step, reason",
        column="category",
    ),
    "keep-rate-by-category": NamedQuery(
        "what share of each value of an input column (--column) was kept",
        f"SELECT s.{COLUMN} AS category, count(*) AS rows, "
        "count_if(f.fate = 'kept') AS kept, avg((f.fate = 'kept')::INT) AS keep_rate "
        "FROM samples s JOIN fates f USING (uid) GROUP BY ALL "
        "ORDER BY keep_rate, rows DESC, category",
        column="category",
    ),
}
