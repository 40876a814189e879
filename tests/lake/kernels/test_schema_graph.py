"""Containment of column sets, against looking at every pair."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from winnow.lake.kernels.families import comparable
from winnow.lake.kernels.schema_graph import candidate_edges, matching_names
from winnow.lake.kernels.tables import Family

NAMES = st.sampled_from(["a", "A", "b", "B", "c.d", "ß", "SS", "row"])
TABLES = st.lists(
    st.dictionaries(
        NAMES, st.sampled_from([Family.NUMBER, Family.TEXT, Family.NULL]), max_size=5
    ),
    max_size=9,
)


def every_pair(tables: list, folded: bool, ignored: set) -> dict:
    """Return {(child, parent): least incomparable key or ""}, by definition."""
    keyed = []
    for table in tables:
        kept = {
            n: f
            for n, f in table.items()
            if n not in ignored
            and not (folded and n.casefold() in {i.casefold() for i in ignored})
        }
        twice = Counter(n.casefold() for n in kept)
        keyed.append(
            {
                (n if not folded else (n.casefold(), twice[n.casefold()] > 1 and n)): f
                for n, f in kept.items()
            }
        )
    return {
        (a, b): any(not comparable(f, keyed[b][k]) for k, f in keyed[a].items())
        for a in range(len(tables))
        for b in range(len(tables))
        if a != b and keyed[a] and set(keyed[a]) <= set(keyed[b])
    }


@given(TABLES, st.booleans(), st.sets(st.sampled_from(["row", "a", "B"]), max_size=2))
def test_edges_are_those_of_comparing_every_pair(tables: list, folded: bool, ignored):
    edges = candidate_edges(tables, folded, ignored)
    pairs = list(zip(edges.child.tolist(), edges.parent.tolist(), strict=True))
    expected = every_pair(tables, folded, ignored)
    assert pairs == sorted(expected)
    names = [matching_names(table, folded, ignored) for table in tables]
    for (child, parent), place in zip(pairs, edges.incomparable.tolist(), strict=True):
        assert (place >= 0) == expected[child, parent]
        clashes = [
            key
            for key, name in names[child].items()
            if not comparable(tables[child][name], tables[parent][names[parent][key]])
        ]
        assert edges.keys[place] == min(clashes) if clashes else place == -1


def test_folded_names_that_collide_in_one_table_match_exactly():
    tables = [{"ID": Family.NUMBER, "id": Family.NUMBER}, {"Id": Family.NUMBER}]
    number = Family.NUMBER
    assert len(candidate_edges(tables, folded=True)) == 0
    tables += [{"id": number, "ID": number, "x": number}, {"X": number, "iD": number}]
    edges = candidate_edges(tables, folded=True)
    assert list(zip(edges.child, edges.parent, strict=True)) == [(0, 2), (1, 3)]
    assert matching_names(["X", "iD"], folded=True) == {"x": "X", "id": "iD"}


def test_a_table_whose_columns_are_all_ignored_has_no_edge():
    tables = [{"row": Family.NUMBER}, {"row": Family.NUMBER, "a": Family.NUMBER}]
    assert len(candidate_edges(tables, ignored=["row"])) == 0
    assert len(candidate_edges(tables)) == 1
