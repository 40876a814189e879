"""Duplicates beside the row they went for, and captions that differ by a few words."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from winnow.config.step_kinds import shown
from winnow.core.sql_text import identifier, literal
from winnow.pages.answers import Answer, Section
from winnow.reports.page.context import PageSource
from winnow.reports.page.pictures import Picture

_GROUPS, _COPIES, _PAIRS, _TEXTS = 4, 5, 9, 12
#: Duplicates of which the captions are compared, where captions decided nothing.
_COMPARED, _DIFFERING = 400, 8
_CAPTION = 1_200
_WORDS = re.compile(r"\s+|\S+")


@dataclass(frozen=True)
class Group:
    """A kept row, the first of those that went for it, and where they stand."""

    row: int
    keeper: Picture
    copies: list[Picture]
    answer: Answer
    #: Row of `answer` that the first copy is.
    first: int


def twins(source: PageSource) -> list[Section]:
    """Return the duplicates of each step that has any."""
    steps = source.ask(
        "SELECT d.step, count(*) AS rows, count(DISTINCT d.kept_twin) AS groups, "
        "min(d.similarity) AS least FROM duplicates d JOIN steps s USING (step) "
        "GROUP BY d.step, s.position ORDER BY s.position"
    )
    return [_step(source, steps, row) for row in range(len(steps))]


def _step(source: PageSource, steps: Answer, row: int) -> Section:
    step = steps.rows[row]["step"]
    where = f"step = {literal(step)}"
    pairs = source.ask(
        "SELECT uid, direct_twin, kept_twin, similarity, twin_fate FROM duplicates "
        f"WHERE {where} AND similarity < 1 ORDER BY similarity, uid LIMIT {_PAIRS}"
    )
    groups = source.ask(
        "SELECT kept_twin, count(*) AS copies, min(similarity) AS least, "
        f"any_value(twin_fate) AS twin_fate FROM duplicates WHERE {where} "
        f"GROUP BY kept_twin ORDER BY copies DESC, kept_twin LIMIT {_GROUPS}"
    )
    return {
        "id": f"twins-{step}",
        "step": step,
        "steps": steps,
        "row": row,
        "pairs": pairs,
        "pair_pictures": list(
            zip(source.want(pairs), source.want(pairs, "direct_twin"), strict=True)
        ),
        "groups": groups,
        "group_pictures": _groups(source, where, groups),
    }


def _groups(source: PageSource, where: str, groups: Answer) -> list[Group]:
    if not groups.rows:
        return []
    keepers = ", ".join(literal(uid) for uid in groups.column("kept_twin"))
    copies = source.ask(
        f"SELECT kept_twin, uid, similarity FROM duplicates WHERE {where} "
        f"AND kept_twin IN ({keepers}) QUALIFY row_number() OVER "
        f"(PARTITION BY kept_twin ORDER BY similarity, uid) <= {_COPIES} "
        "ORDER BY kept_twin, similarity, uid"
    )
    pictured = []
    owners = copies.column("kept_twin")
    for row, keeper in enumerate(groups.column("kept_twin")):
        mine = [i for i, owner in enumerate(owners) if owner == keeper]
        pictured.append(
            Group(
                row,
                source.pictures.want(keeper),
                [source.pictures.want(copies.rows[i]["uid"]) for i in mine],
                copies,
                mine[0],
            )
        )
    return pictured


def captions(source: PageSource) -> Section | None:
    """Return captions that repeat, and what differs between duplicates' captions.

    `groups` and `pairs` are of steps that compare captions, `frequent` the captions
    that stand most often in the pool, and `others` duplicates by picture with other
    words. None where nothing is to be shown.
    """
    pool = source.pictures.database.pool
    if pool is None or pool.columns.text not in pool.schema.names:
        return None
    text = identifier(pool.columns.text or "")
    by_text = _by_text(source)
    groups = source.ask(
        "SELECT d.kept_twin, d.step, count(*) AS copies, min(d.similarity) AS least "
        f"FROM duplicates d WHERE {by_text} GROUP BY ALL "
        f"ORDER BY copies DESC, d.kept_twin LIMIT {_TEXTS}"
    )
    of_text = f"({by_text}) AND similarity < 1 ORDER BY similarity, uid LIMIT {_TEXTS}"
    drawn = f"NOT coalesce({by_text}, false) ORDER BY md5(uid), uid LIMIT {_COMPARED}"
    differ = f"WHERE a.{text} IS DISTINCT FROM b.{text}"
    frequent = source.ask(
        f"SELECT left({text}, {_CAPTION}) AS caption, count(*) AS rows, "
        "count(*) FILTER (f.fate = 'kept') AS kept, "
        "count(*) FILTER (f.fate = 'kept') / count(*) AS keep_rate "
        f"FROM samples JOIN fates f USING (uid) WHERE {text} IS NOT NULL "
        f"GROUP BY {text} HAVING count(*) > 1 "
        f"ORDER BY rows DESC, caption LIMIT {_TEXTS}"
    )
    section: Section = {
        "groups": groups,
        "keepers": source.want(groups, "kept_twin"),
        "pairs": _texts_of(source, text, of_text),
        "frequent": frequent,
        "others": _texts_of(source, text, drawn, f"{differ}", _DIFFERING),
    }
    return section if any(len(section[name]) for name in ("groups", *_ASKED)) else None


_ASKED = ("pairs", "frequent", "others")


def _by_text(source: PageSource) -> str:
    """Return the condition of rows that went for what their captions say."""
    markers = source.pictures.database.markers
    steps = [literal(m.step) for m in markers if shown(m.kind).texts]
    return f"step IN ({', '.join(['NULL', *steps])}) OR reason LIKE '%caption%'"


class Differences(Answer):
    """Pairs of captions, each with its word diff."""

    @property
    def words(self) -> list[list[tuple[str, str]]]:
        """The word diff of each row."""
        return [words(row["kept"], row["dropped"]) for row in self.rows]


def _texts_of(
    source: PageSource, text: str, chosen: str, where: str = "", rows: int = _TEXTS
) -> Differences:
    """Return captions of the duplicates that `chosen` names, dropped and kept."""
    answer = source.ask(
        "SELECT d.uid, d.direct_twin, d.step, d.similarity, "
        f"left(a.{text}, {_CAPTION}) AS dropped, left(b.{text}, {_CAPTION}) AS kept "
        f"FROM (SELECT * FROM duplicates WHERE {chosen}) d "
        "JOIN samples a ON a.uid = d.uid JOIN samples b ON b.uid = d.direct_twin "
        f"{where} ORDER BY d.similarity, d.uid LIMIT {rows}"
    )
    return Differences(answer.sql, answer.rows)


def words(kept: str | None, dropped: str | None) -> list[tuple[str, str]]:
    """Return (what, text) of a word diff; what is "same", "kept" or "dropped"."""
    before, after = _WORDS.findall(kept or ""), _WORDS.findall(dropped or "")
    parts_of_both: list[tuple[str, str]] = []
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            parts_of_both.append(("same", "".join(before[a:b])))
            continue
        parts: list[tuple[str, Any]] = [("dropped", after[c:d]), ("kept", before[a:b])]
        parts_of_both += [(what, "".join(part)) for what, part in parts if part]
    return parts_of_both
