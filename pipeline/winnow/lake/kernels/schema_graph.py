"""Which tables' column names are contained in which others': exact, by inverted index.

The method is the first stage of R2D2 (Shah et al., PACMMOD 2024): A → B iff the leaf
columns of A are among those of B. Tables with the same columns are one node; for each
node the posting lists of its columns are intersected, rarest column first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from winnow.lake.kernels.families import comparable
from winnow.lake.kernels.tables import Family

_Indices = npt.NDArray[np.int64]
#: What a table of one kind has: (key, family) of each column that counts.
_Kind = frozenset[tuple[str, Family]]


@dataclass(frozen=True, slots=True)
class SchemaEdges:
    """Pairs of tables, sorted by child and parent; no table is its own parent."""

    child: _Indices
    parent: _Indices
    #: Position in `keys` of the least column name whose families cannot be equal, or -1
    #: where every shared column can be compared.
    incomparable: _Indices
    keys: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.child)

    def take(self, rows: _Indices) -> SchemaEdges:
        """Return these edges."""
        return SchemaEdges(
            self.child[rows], self.parent[rows], self.incomparable[rows], self.keys
        )


def matching_names(
    columns: Iterable[str], folded: bool = False, ignored: Collection[str] = ()
) -> dict[str, str]:
    """Return by which key each column of a table is matched: {key: column name}.

    The key is the name, or with `folded` its case-folded form. Names of one table that
    differ only in case keep theirs, so that each still names one column; they match
    only tables that have the very same names. Ignored columns are left out, whatever
    their case if `folded`.
    """
    if not folded:
        return {name: name for name in columns if name not in ignored}
    left_out = {name.casefold() for name in ignored}
    names = [name for name in columns if name.casefold() not in left_out]
    count = Counter(name.casefold() for name in names)
    return {
        n.casefold() if count[n.casefold()] == 1 else f"{_EXACT}{n}": n for n in names
    }


# No case-folded name begins with a capital, so that no folded key equals these.
_EXACT = "Exactly "


def candidate_edges(
    columns: Sequence[Mapping[str, Family]],
    folded: bool = False,
    ignored: Collection[str] = (),
) -> SchemaEdges:
    """Return every pair (child, parent) with the child's columns among the parent's.

    `columns[i]` are the leaf columns of table i by name. A table all of whose columns
    are ignored has no edge.
    """
    tables_of: dict[_Kind, list[int]] = defaultdict(list)
    for table, families in enumerate(columns):
        matched = matching_names(families, folded, ignored)
        if matched:
            kind = frozenset((key, families[name]) for key, name in matched.items())
            tables_of[kind].append(table)
    kinds_of: dict[frozenset[str], list[_Kind]] = defaultdict(list)
    for kind in tables_of:
        kinds_of[frozenset(key for key, _ in kind)].append(kind)
    keys = tuple(sorted({key for names in kinds_of for key in names}))
    position = {key: i for i, key in enumerate(keys)}
    groups = [
        _pairs(tables_of[a], tables_of[b], _place(position, _incomparable(a, b)))
        for child, parent in _contained(list(kinds_of))
        for a in kinds_of[child]
        for b in kinds_of[parent]
    ]
    child, parent, incomparable = (
        np.concatenate(groups, axis=1) if groups else np.empty((3, 0), np.int64)
    )
    order = np.lexsort((parent, child))
    return SchemaEdges(child[order], parent[order], incomparable[order], keys)


def _contained(
    schemas: Sequence[frozenset[str]],
) -> list[tuple[frozenset[str], frozenset[str]]]:
    """Return every pair (a, b) of distinct name sets with a ⊆ b, a = b included."""
    postings: dict[str, set[int]] = defaultdict(set)
    for i, names in enumerate(schemas):
        for name in names:
            postings[name].add(i)
    contained = []
    for names in schemas:
        each = [postings[name] for name in names]
        rarest = min(each, key=len)
        if len(rarest) > 1:
            rarest = rarest.intersection(*sorted(each, key=len))
        contained += [(names, schemas[i]) for i in rarest]
    return contained


def _pairs(children: list[int], parents: list[int], incomparable: int) -> _Indices:
    """Return (child, parent, incomparable) of all pairs but a table with itself."""
    child = np.repeat(np.asarray(children, np.int64), len(parents))
    parent = np.tile(np.asarray(parents, np.int64), len(children))
    pairs = np.stack([child, parent, np.full(len(child), incomparable, np.int64)])
    return pairs[:, child != parent]


def _place(places: Mapping[str, int], key: str | None) -> int:
    return -1 if key is None else places[key]


def _incomparable(child: _Kind, parent: _Kind) -> str | None:
    """Return the least key whose families have no value in common, or None.

    A column may be called by no name at all, as pandas calls an index in CSV.
    """
    if child <= parent:
        return None
    families = dict(parent)
    keys = (k for k, one in child if not comparable(one, families[k]))
    return min(keys, default=None)
