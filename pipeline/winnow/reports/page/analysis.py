"""`analysis.html`: what a pool is like, and what each step would take of it.

Its run applies nothing: what a step has decided against is what it would take.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from winnow.config.step_kinds import meant
from winnow.core.run_folder import MANIFEST
from winnow.core.saved_files import read_manifest
from winnow.core.sql_text import literal
from winnow.core.words import number_of
from winnow.pages.answers import Answers, Section, share
from winnow.pages.answers import size as bytes_of
from winnow.pages.page import render, write_page
from winnow.pages.provenance import provenance
from winnow.reports.page import clusters, deciding, first_look, overview, twins
from winnow.reports.page.context import PageSource, page_database
from winnow.reports.page.measured import measure
from winnow.reports.page.pictures import Pictures
from winnow.reports.page.pool_facts import pool_facts
from winnow.reports.page.report import PICTURES
from winnow.reports.run_view import RunView

PAGE = "analysis.html"
#: Clusters that are named in the facts.
_CLUSTERS = 5

Facts = dict[str, Any]


def write_analysis(run: str | Path, drawn_by: str) -> Facts:
    """Write the page of an analysis into its run's folder; return what it says.

    drawn_by: name of the step that draws the sample, where there is one.
    """
    view = RunView(run)
    with page_database(run) as database:
        if database.pool is not None:
            measure(view, database.pool, sizes=True)
    with page_database(run) as database:
        source = PageSource(Answers(database), Pictures(database, PICTURES))
        sections = _sections(source, view, drawn_by)
        source.pictures.load()
        page = render(
            "winnow.reports",
            "analysis.html.j2",
            name=Path(run).resolve().name,
            queries=list(source.answers.asked),
            left_out=source.pictures.left_out,
            **sections,
        )
    target = Path(run) / PAGE
    write_page(target, page)
    return _facts(sections, view, target)


def _sections(source: PageSource, view: RunView, drawn_by: str) -> Section:
    made_with = provenance(view.folder.path)
    steps = _steps(source, drawn_by)
    budgets = [name for name in steps.column("step") if _has_budget(view, name)]
    sampled = any(marker.step == drawn_by for marker in view.markers)
    aside = [drawn_by, *budgets]
    looked_at = f"FROM fates WHERE step IS DISTINCT FROM {literal(drawn_by)}"
    decided = deciding.deciding(source)
    return {
        "pool": pool_facts(source),
        "total": source.ask(
            f"SELECT count(*) AS rows, (SELECT count(*) {looked_at}) AS looked_at, "
            "count(*) FILTER (fate = 'quarantined') AS quarantined FROM fates"
        ),
        "sampled": sampled,
        "steps": steps,
        "budgets": budgets,
        "first_look": first_look.first_look(source, made_with, aside, looked_at),
        "deciding": [part for part in decided if part["step"] != drawn_by],
        "twins": twins.twins(source),
        # Captions that repeat are counted over all of the pool.
        "captions": None if sampled else twins.captions(source),
        "clusters": clusters.clusters(source, view),
        "quarantine": overview.quarantine(source),
        "provenance": made_with,
    }


def _steps(source: PageSource, drawn_by: str) -> Any:
    return source.ask(
        "SELECT step, kind, rows_in, dropped, quarantined, "
        "dropped / nullif(rows_in, 0) AS drop_rate, seconds FROM steps "
        f"WHERE step <> {literal(drawn_by)} "
        "AND (dropped > 0 OR step IN (SELECT DISTINCT step FROM ledger)) "
        "ORDER BY position"
    )


def _has_budget(view: RunView, step: str) -> bool:
    section = view.config.get(step) or {}
    return any(section.get(key) is not None for key in ("keep_fraction", "keep_count"))


def _facts(sections: Section, view: RunView, page: Path) -> Facts:
    """Return what the page says, as plain values."""
    total, look = sections["total"].rows[0], sections["first_look"]
    pool = sections["pool"]
    return {
        **look["origin"],
        **total,
        "bytes": _bytes(view),
        "captions": _captions(pool["captions"]),
        "images": dict(pool["images"]["sizes"].rows[0]) if pool["images"] else None,
        "reasons": [
            {**row, "meaning": meant(row["kind"], row["reason"])}
            for row in look["reasons"].rows
        ],
        "steps": [
            {**row, "by_budget": row["step"] in sections["budgets"]}
            for row in sections["steps"].rows
        ],
        "issues": _issues(sections["deciding"]),
        "clusters": [
            {
                "step": part["step"],
                "clusters": part["steps"].rows[part["row"]]["clusters"],
                "largest": part["steps"].rows[part["row"]]["largest"],
            }
            for part in sections["clusters"]
        ],
        "run": str(page.parent),
        "page": str(page),
    }


def _bytes(view: RunView) -> int:
    shards = read_manifest(view.folder.file(MANIFEST))["input"]["shards"]
    return sum(shard.get("bytes") or 0 for shard in shards)


def _captions(captions: Section | None) -> Facts | None:
    if captions is None:
        return None
    return {**captions["lengths"].rows[0], "languages": captions["languages"].rows}


def _issues(decided: list[Section]) -> list[Facts]:
    return [
        {"step": part["step"], "reason": row["reason"], "rows": row["rows"]}
        for part in decided
        for row in part["reasons"].rows
        if not row["keep"]
    ]


def tell(facts: Facts) -> str:
    """Return what an analysis found, as lines of text."""
    lines = [_rows(facts)]
    if facts["images"]:
        lines.append("images     " + _sizes(facts["images"]))
    if facts["captions"]:
        lines.append("captions   " + _lengths(facts["captions"]))
        lines.append("languages  " + _languages(facts["captions"]["languages"]))
    lines += [_cluster(part) for part in facts["clusters"]]
    lines += ["", "What stands out:"]
    lines += [_reason(row) for row in facts["reasons"]] or ["  nothing"]
    lines += ["", f"{'step':<18}{'rows':>10}{'would take':>12}", *_table(facts)]
    return "\n".join(lines)


def _rows(facts: Facts) -> str:
    rows, looked_at, held = facts["rows"], facts["looked_at"], facts["bytes"]
    size = f", {bytes_of(held)}" if held else ""
    sample = f"; {looked_at:,} of them looked at" if looked_at < rows else ""
    unread = facts["quarantined"]
    bad = f"; {unread:,} cannot be read" if unread else ""
    return f"{facts['input']}: {number_of(rows, 'row')}{size}{sample}{bad}"


def _sizes(images: Facts) -> str:
    return (
        f"{images['width_median']} × {images['height_median']} pixels (median), "
        f"shorter side {images['side_least']} to {images['side_most']} "
        f"(of {number_of(images['rows'], 'picture')})"
    )


def _lengths(captions: Facts) -> str:
    empty = f", {captions['empty']:,} empty" if captions["empty"] else ""
    return (
        f"{captions['words_median']} words (median), nine in ten from "
        f"{captions['words_low']} to {captions['words_high']}{empty} "
        f"(of {number_of(captions['rows'], 'caption')})"
    )


def _languages(languages: list[Facts]) -> str:
    shown = [f"{row['language']} {share(row['share'])}" for row in languages[:5]]
    return ", ".join(shown) or "none told"


def _cluster(part: Facts) -> str:
    return (
        f"{part['step']:<10} {number_of(part['clusters'], 'cluster')}, the largest of "
        f"{number_of(part['largest'], 'row')}"
    )


def _reason(row: Facts) -> str:
    rows = f"{number_of(row['rows'], 'row')} ({share(row['share'])})"
    return (
        f"  {rows}: {row['reason']} at {row['step']}. {row['meaning'] or ''}".rstrip()
    )


def _table(facts: Facts) -> list[str]:
    return [
        f"{row['step']:<18}{row['rows_in']:>10,}{row['dropped']:>12,}"
        f"  {share(row['drop_rate'] or 0.0)}{' by budget' if row['by_budget'] else ''}"
        for row in facts["steps"]
    ]
