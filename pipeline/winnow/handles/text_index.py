"""An index of texts, opened: what is near a text, and rows that are added."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from winnow.core.words import number_of
from winnow.flows.communities import Growth, Order, community
from winnow.flows.near_index import (
    NamedColumns,
    add,
    ask,
    build,
    chance,
    check_index,
    compact,
    discard,
    told_before,
)
from winnow.handles.facts import Facts
from winnow.handles.rows import ArrowRows
from winnow.indexes.near_index import NearIndex

_NEAR = pa.schema(
    [
        ("uid", pa.string()),
        ("jaccard", pa.float64()),
        ("shared_bands", pa.int64()),
        ("probability", pa.float64()),
        ("source", pa.string()),
        ("text", pa.string()),
    ]
)
_COMMUNITY = pa.schema(
    [
        ("rank", pa.int64()),
        ("uid", pa.string()),
        ("score", pa.float64()),
        ("similarity", pa.float64()),
        ("text", pa.string()),
    ]
)


class TextIndex:
    """An index's folder, opened.

    path: the folder, as `winnow.index` or `winnow index build` made it.

    Raises ConfigError if the folder holds no index.

    >>> texts = winnow.TextIndex("texts.index")
    >>> texts.rows == len(run.kept())
    True
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        NearIndex(path)
        self._path = Path(path)

    @property
    def path(self) -> Path:
        """The index's folder."""
        return self._path

    @property
    def rows(self) -> int:
        """Rows that the index holds."""
        return NearIndex(self._path).rows

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the sketches; what is asked or added must share them."""
        return dict(NearIndex(self._path).settings)

    def near(
        self,
        text: str | None = None,
        *,
        uid: str | None = None,
        k: int = 10,
        min_jaccard: float = 0.5,
    ) -> ArrowRows:
        """Return the indexed rows that are most similar, best first; ties by uid.

        text: a text; for an index of sets, its elements as words.
        uid: an indexed row in its place, which is left out of the answer.
        k: at most so many rows.
        min_jaccard: least similarity, 0 to 1, of the two sets of shingles; exact.

        `probability` is that with which the bands find a row of this similarity. Raises
        ConfigError without a text or a uid, InputError for a uid that is not there.

        >>> near = texts.near(uid=kept_uid, k=3, min_jaccard=0.1)
        >>> near.column_names
        ['uid', 'jaccard', 'shared_bands', 'probability', 'source', 'text']
        """
        rows = ask(self._path, text=text, uid=uid, k=k, min_jaccard=min_jaccard)
        return ArrowRows.of(pa.Table.from_pylist(rows, _NEAR))

    def community(
        self,
        seeds: Sequence[str],
        *,
        order: Order = "agglomerative",
        size: int = 50,
        candidates: int = 500,
        min_jaccard: float = 0.0,
        drawing: str | os.PathLike[str] | None = None,
    ) -> ArrowRows:
        """Return the indexed rows that belong to some of them, in order.

        seeds: uids of indexed rows, which are left out of the answer.
        order: `agglomerative`, as they join those that have joined; `pagerank`,
            personalised to the seeds; `similarity`, by their mean similarity to them.
        size: at most so many rows.
        candidates: at most so many rows, those most similar to a seed, are ordered.
        min_jaccard: least similarity to a seed, 0 to 1.
        drawing: a file for an SVG of the community.

        Raises ConfigError for arguments that cannot be, InputError for a uid that is
        not there. Source: Chamberlain et al. 2018, arXiv 1601.03958.

        >>> texts.community([kept_uid], size=3).column_names
        ['rank', 'uid', 'score', 'similarity', 'text']
        """
        told = community(
            self._path,
            list(seeds),
            Growth(order, size, candidates, min_jaccard),
            drawing=drawing,
        )
        return ArrowRows.of(pa.Table.from_pylist(told["rows"], _COMMUNITY))

    def chance(self, similarity: float) -> float:
        """Return the probability with which the index finds a row.

        similarity: the row's Jaccard similarity, 0 to 1.

        >>> texts.chance(1.0)
        1.0
        """
        return chance(self._path, similarity)

    def add(
        self,
        sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        columns: Mapping[str, str] | None = None,
    ) -> Facts:
        """Add rows; those that are there are neither hashed nor written again.

        sources: shards, folders of them, or runs, of which the kept rows are added.
        columns: `{"uid": …, "text": …}`, the columns' names. None: the index's.

        Returns counts. Raises InputError if the sources lack the columns.

        >>> texts.add("runs/first")["added"]
        0
        """
        several = [sources] if isinstance(sources, str | os.PathLike) else sources
        paths = [os.fspath(source) for source in several]
        added = add(self._path, paths, columns=NamedColumns(**(columns or {})))
        return Facts(added, tell_added)

    def remove(self, uids: Sequence[str]) -> Facts:
        """Take rows out by their uids; the others are not written again.

        uids: of the rows; those that are not there are told as `unknown`.

        >>> texts.remove(["nobody"])["removed"]
        0
        """
        return Facts(discard(self._path, list(uids)), tell_removed)

    def compact(self) -> Facts:
        """Merge what was added piece by piece, and leave out removed rows.

        >>> texts.compact()["segments"]
        1
        """
        return Facts(compact(self._path), tell_compacted)

    def check(self) -> list[str]:
        """Return a message for everything that is damaged; every byte is read.

        >>> texts.check()
        []
        """
        return check_index(self._path)

    def __repr__(self) -> str:
        return f"TextIndex({str(self._path)!r})"


def tell_added(counts: dict[str, Any]) -> str:
    """Return what was added to an index as text."""
    if counts.get("built_before"):
        return told_before(counts)
    told = (
        f"{number_of(counts['added'], 'row')} added, "
        f"{counts['already_there']:,} were there, "
        f"{counts['without_text']:,} have no text; {counts['index']} holds "
        f"{counts['rows']:,}"
    )
    if counts["same_name_other_text"]:
        told += (
            f"\n{counts['same_name_other_text']:,} of the added rows have the name "
            "of another row but another text (--same-name error refuses them)"
        )
    if counts["unusable"]:
        lost = counts["unusable"]
        told += f"\n{number_of(lost, 'row')} without a uid or not to be read: left out"
    return told


def tell_removed(counts: dict[str, Any]) -> str:
    """Return what was taken out of an index as text."""
    removed, rows = counts["removed"], counts["rows"]
    told = f"{number_of(removed, 'row')} removed; {counts['index']} holds {rows:,}"
    if counts["unknown"]:
        some = ", ".join(counts["unknown"][:5])
        told += f"\n{len(counts['unknown']):,} uids are not in it: {some}"
    return told


def tell_compacted(counts: dict[str, Any]) -> str:
    """Return what an index was merged to as text."""
    return f"{counts['segments_before']} segments are {counts['segments']}"


def index(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    columns: Mapping[str, str] | None = None,
    set: Mapping[str, Any] | None = None,
) -> TextIndex:
    """Build an index of texts over the kept rows of a run, or over a pool.

    source: a run's folder, or shards as `input.path` names them.
    out: an empty folder for the index.
    columns: `{"uid": …, "text": …}`, the columns' names. None: what the run says, or
        `uid` and `text`.
    set: settings of a `minhash` section (`{"threshold": 0.7}`); otherwise the run's.

    `open_index` opens it again. Raises ConfigError or InputError before anything is
    written if the settings or the columns cannot be.

    >>> texts = winnow.index("pool", "new.index", set={"ngram": 2, "threshold": 0.5})
    >>> texts.rows
    60
    """
    chosen = NamedColumns(**(columns or {}))
    build(os.fspath(source), out, columns=chosen, settings=set)
    return TextIndex(out)


def open_index(path: str | os.PathLike[str]) -> TextIndex:
    """Open an index of texts.

    path: its folder.

    Raises ConfigError if it holds none.

    >>> winnow.open_index("texts.index").near("red cat")
    uid...
    """
    return TextIndex(path)
