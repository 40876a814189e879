"""The page of a lake's scan: what the stages settled, what is in what, what can go."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from winnow.lake.page.charts import containment_map, pairs_left
from winnow.lake.page.graph import Map, arrange
from winnow.pages.answers import Answer, Answers, Section
from winnow.pages.drawing import NARROW, WIDE, draw, draw_links

#: What the map draws: islands, the largest first, and of each the largest tables.
_ISLANDS, _TABLES = 48, 40
_LISTED = 50
#: Characters of a witness that are shown.
_WITNESS = 200
_STAGES = (
    "['catalogue', 'schema', 'min_max', 'sketch', 'sample', 'content', 'partial', "
    "'witness', 'rebuild']"
)
_RELATIONS = "['duplicate', 'contained', 'partial', 'refuted', 'incomparable']"
_HELD = "relation IN ('duplicate', 'contained')"
_STORED = "(SELECT sum(bytes) FROM tables)"


def sections(answers: Answers) -> Section:
    """Return what the template of the page shows."""
    planned = "plan" in answers.database.names
    return {
        "headline": _headline(answers, planned),
        "funnel": _funnel(answers),
        "relations": answers.ask(
            "SELECT * FROM (SELECT relation, stage, count(*) AS pairs FROM edges "
            "GROUP BY relation, stage) "
            f"ORDER BY list_position({_RELATIONS}, relation), "
            f"list_position({_STAGES}, stage)"
        ),
        "graph": _graph(answers, planned),
        "plan": _plan(answers) if planned else None,
        "near": _near(answers),
        "noted": _noted(answers),
    }


def _headline(answers: Answers, planned: bool) -> Section:
    return {
        "tables": answers.ask(
            "SELECT count(*) AS tables, sum(rows)::BIGINT AS rows, "
            "sum(bytes)::BIGINT AS bytes, count(*) FILTER (NOT readable) AS unreadable "
            "FROM tables"
        ),
        "held": answers.ask(
            "SELECT count(DISTINCT child) AS children, "
            f"count(*) AS pairs FROM edges WHERE {_HELD}"
        ),
        "read": answers.ask(
            "SELECT sum(bytes_read)::BIGINT AS bytes, "
            f"sum(bytes_read) / nullif({_STORED}, 0) AS share FROM stages"
        ),
        "saved": answers.ask(_SAVED) if planned else None,
    }


_SAVED = (
    "SELECT count(*) FILTER (action = 'delete') AS tables, "
    "coalesce(sum(bytes_saved), 0)::BIGINT AS bytes, "
    f"coalesce(sum(bytes_saved) / nullif({_STORED}, 0), 0) AS share, "
    "coalesce(sum(cost_saved), 0) AS cost FROM plan"
)


def _funnel(answers: Answers) -> Section:
    table = answers.ask(
        "SELECT stage, edges_in, edges_out, bytes_read, "
        f"bytes_read / nullif({_STORED}, 0) AS share, seconds FROM stages "
        f"ORDER BY list_position({_STAGES}, stage)"
    )
    shown = [
        {"stage": row["stage"], "pairs": row["edges_out"]}
        for row in table.rows
        if row["stage"] not in ("partial", "witness", "rebuild")
    ]
    label = "Pairs of tables left after each stage: " + "; ".join(
        f"{row['stage']}: {row['pairs']:,}" for row in shown
    )
    wide, narrow = (draw(pairs_left(shown, width), label) for width in (WIDE, NARROW))
    return {"table": table, "wide": wide, "narrow": narrow}


def _graph(answers: Answers, planned: bool) -> Section | None:
    """Return the islands' map and lists; None if no table is contained in another."""
    total = answers.ask(
        "SELECT count(DISTINCT island) AS islands, count(*) AS tables FROM islands"
    )
    if not total.rows[0]["tables"]:
        return None
    islands = answers.ask(_islands(planned))
    members = answers.ask(_members(planned))
    pairs = answers.ask(
        f"WITH members AS ({_members(planned)}) "
        "SELECT o.island, e.child, e.parent, e.relation, e.child_rows, e.parent_rows "
        'FROM edges e JOIN members o ON o."table" = e.child '
        f'JOIN members u ON u."table" = e.parent WHERE {_HELD} '
        "ORDER BY o.island, e.child, e.parent"
    )
    tables, edges = _by_island(members), _by_island(pairs)
    listed = [
        {
            "id": f"island-{number + 1}",
            "tables": tables[row["island"]],
            "pairs": edges[row["island"]][:_LISTED],
            "more": len(edges[row["island"]]) > _LISTED,
        }
        for number, row in enumerate(islands.rows)
    ]
    ordered = [row["island"] for row in islands.rows]
    drawings = [
        _drawn(ordered, members, pairs, width, planned) for width in (WIDE, NARROW)
    ]
    return {
        "total": total,
        "islands": islands,
        "members": members,
        "pairs": pairs,
        "listed": listed,
        "planned": planned,
        "most": _TABLES,
        "cut": any(row["tables"] > _TABLES for row in islands.rows),
        "wide": drawings[0],
        "narrow": drawings[1],
    }


def _islands(planned: bool) -> str:
    gone = "count(*) FILTER (p.action = 'delete')" if planned else "NULL::BIGINT"
    saved = "coalesce(sum(p.bytes_saved), 0)::BIGINT" if planned else "NULL::BIGINT"
    plan = 'LEFT JOIN plan p USING ("table") ' if planned else ""
    return (
        f"SELECT island, count(*) AS tables, sum(t.bytes)::BIGINT AS bytes, "
        f"{gone} AS gone, {saved} AS saved "
        f'FROM islands JOIN tables t USING ("table") {plan}'
        f"GROUP BY island ORDER BY tables DESC, bytes DESC, island LIMIT {_ISLANDS}"
    )


def _members(planned: bool) -> str:
    plan = 'LEFT JOIN plan p USING ("table") ' if planned else ""
    action = "p.action, p.parent" if planned else "NULL AS action, NULL AS parent"
    return (
        f'SELECT island, "table", t.rows, t.bytes, {action} '
        f'FROM islands JOIN tables t USING ("table") {plan}'
        f"WHERE island IN (SELECT island FROM ({_islands(planned)})) "
        'QUALIFY row_number() OVER (PARTITION BY island ORDER BY t.bytes DESC, "table")'
        f' <= {_TABLES} ORDER BY island, "table"'
    )


def _by_island(answer: Answer) -> dict[str, list[int]]:
    """Return the places of an answer's rows, island by island."""
    by_island: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(answer.rows):
        by_island[row["island"]].append(number)
    return by_island


def _drawn(
    islands: list[str], members: Answer, pairs: Answer, width: int, planned: bool
) -> Any:
    tables, edges = _by_island(members), _by_island(pairs)
    role = {row["table"]: _role(row, planned) for row in members.rows}
    drawing = arrange(
        [
            (
                [members.rows[i]["table"] for i in tables[island]],
                {
                    (pairs.rows[i]["child"], pairs.rows[i]["parent"])
                    for i in edges[island]
                },
            )
            for island in islands
        ],
        width - 24,
    )
    label = (
        f"Tables that are contained in others, {len(islands)} islands of them; a line "
        "leads from a table up to one that holds it"
    )
    return draw_links(containment_map(_marks(drawing, role), drawing), label)


def _role(row: dict[str, Any], planned: bool) -> str:
    if not planned:
        return "table"
    return "can go" if row["action"] == "delete" else "stays"


def _marks(drawing: Map, role: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "x": dot.x,
            "y": dot.y,
            "role": role[dot.table],
            "href": f"#island-{dot.island + 1}",
            "description": f"{dot.table}, {role[dot.table]}",
        }
        for dot in drawing.dots
    ]


def _plan(answers: Answers) -> Section:
    listed = answers.ask(
        'SELECT "table", parent, bytes_saved, cost_saved, rebuild_seconds, rebuild_sql '
        "FROM plan WHERE action = 'delete' "
        f'ORDER BY bytes_saved DESC, "table" LIMIT {_LISTED}'
    )
    kept = answers.ask(
        "SELECT \"table\", bytes, reason FROM plan WHERE action = 'keep' "
        f'ORDER BY bytes DESC, "table" LIMIT {_LISTED}'
    )
    return {"saved": answers.ask(_SAVED), "listed": listed, "kept": kept}


def _near(answers: Answers) -> Section | None:
    near = "FROM edges WHERE relation = 'partial'"
    total = answers.ask(f"SELECT count(*) AS pairs {near}")
    if not total.rows[0]["pairs"]:
        return None
    listed = answers.ask(
        "SELECT child, parent, containment, child_rows, CASE WHEN length(witness) > "
        f"{_WITNESS} THEN left(witness, {_WITNESS}) || '…' ELSE witness END AS witness "
        f"{near} "
        f"ORDER BY containment DESC, child, parent LIMIT {_LISTED}"
    )
    return {"total": total, "listed": listed}


def _noted(answers: Answers) -> Section | None:
    noted = "FROM tables WHERE reason IS NOT NULL"
    total = answers.ask(
        "SELECT count(*) FILTER (NOT readable) AS unreadable, "
        f"count(*) FILTER (readable) AS partly {noted}"
    )
    if not any(total.rows[0].values()):
        return None
    listed = answers.ask(
        "SELECT \"table\", format, bytes, CASE WHEN readable THEN 'in part' "
        f"ELSE 'no' END AS read, reason {noted} "
        'ORDER BY readable, "table" LIMIT 200'
    )
    return {"total": total, "listed": listed}
