"""Columns to look for bias in: what each value of a sample is, as SQL.

A name is a column of the input, or one of `language`, `aspect` and `source`, which a
run knows of every pool: what was measured on its samples, and where they came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from winnow.core.errors import ConfigError, did_you_mean
from winnow.core.sql_text import identifier
from winnow.reports.database import RunDatabase
from winnow.reports.page.measured import CAPTIONS, IMAGES
from winnow.reports.pool_sql import place_names

#: Looked at when nothing is named and the pool has them.
USUAL = ("category", "language", "aspect", "source")
_DERIVED = ("language", "aspect", "source")
_SIZES = (("original_width", "original_height"), ("width", "height"))
_BINS = 5
#: Both say that they are samples, which may be smaller than the pool.
_LANGUAGE = f"Language of the caption, as detected on a sample of at most {CAPTIONS:,}"
_SIZE = f"width by height, as measured on a sample of at most {IMAGES:,}"
#: Numbers of more different values are put into bins of equal counts.
_FEW = 15
_NUMBERS = ("INT", "FLOAT", "DOUBLE", "DECIMAL", "HUGEINT")


@dataclass(frozen=True)
class Attribute:
    """A column: its name, the rows (uid, value) as SQL, and what they are."""

    name: str
    rows: str
    what: str
    #: Whether a row may have several values.
    many: bool = False


def attributes(database: RunDatabase, names: Sequence[str]) -> list[Attribute]:
    """Return the attributes that are named, or the usual ones that the pool has.

    Raises ConfigError for a name that the pool does not have.
    """
    columns = {name: kind for name, kind in database.views["samples"] if name != "uid"}
    chosen = []
    for name in names or USUAL:
        attribute = _attribute(database, columns, name)
        if attribute is not None:
            chosen.append(attribute)
        elif names:
            hint = did_you_mean(name, {*columns, *_DERIVED})
            raise ConfigError(f"--columns: the pool has no column '{name}'; {hint}")
    return chosen


def _attribute(
    database: RunDatabase, columns: dict[str, str], name: str
) -> Attribute | None:
    if name in columns and not (name == "source" and _is_place(database)):
        return _of_column(database, name, columns[name])
    if name == "language":
        rows = "SELECT uid, language AS value FROM measured WHERE language IS NOT NULL"
        return _if_any(database, Attribute(name, rows, _LANGUAGE))
    if name == "aspect":
        return _aspect(database, columns)
    if name == "source":
        return _source(database, columns)
    return None


def _is_place(database: RunDatabase) -> bool:
    """Whether `source` in the view is the file, not a column of the input."""
    return database.pool is None or place_names(database.pool)[0] == "source"


def _if_any(database: RunDatabase, attribute: Attribute) -> Attribute | None:
    some = database.query(f"SELECT 1 FROM ({attribute.rows}) LIMIT 1")
    return attribute if len(some) else None


def _of_column(database: RunDatabase, name: str, kind: str) -> Attribute | None:
    column = identifier(name)
    if kind == "BLOB":
        return None
    if kind.endswith("[]"):
        rows = f"SELECT uid, unnest({column})::VARCHAR AS value FROM samples"
        return Attribute(name, rows, f"Entries of the column {name}", many=True)
    value = f"{column}::VARCHAR"
    if kind.rstrip("0123456789(,) ").endswith(_NUMBERS):
        value = _binned(database, column) or value
    rows = f"SELECT uid, {value} AS value FROM samples"
    return Attribute(name, rows, f"Column {name}")


def _binned(database: RunDatabase, column: str) -> str | None:
    """Return bins of a numeric column as SQL; None if its values are few."""
    shares = [i / _BINS for i in range(_BINS + 1)]
    counted = database.query(
        f"SELECT approx_count_distinct({column}) AS n, "
        f"quantile_disc({column}, {shares}) AS edges FROM samples"
    ).to_pylist()[0]
    if counted["n"] <= _FEW or not counted["edges"]:
        return None
    edges = sorted(set(counted["edges"]))
    labels = [f"{low:,.4g} to {high:,.4g}" for low, high in pairwise(edges)]
    whens = [
        f"WHEN {column} < {high} THEN '{label}'"
        for high, label in zip(edges[1:-1], labels[:-1], strict=True)
    ]
    last = labels[-1] if labels else str(edges[0])
    return f"CASE WHEN {column} IS NULL THEN NULL {' '.join(whens)} ELSE '{last}' END"


def _aspect(database: RunDatabase, columns: dict[str, str]) -> Attribute | None:
    sizes = next((pair for pair in _SIZES if set(pair) <= set(columns)), None)
    width, height = map(identifier, sizes or ("width", "height"))
    table = "samples" if sizes else "measured"
    ratio = f"({width}::DOUBLE / {height})"
    rows = f"""SELECT uid, CASE
        WHEN {ratio} < 0.4 THEN 'under 2:5, very tall'
        WHEN {ratio} < 0.8 THEN '2:5 to 4:5, tall'
        WHEN {ratio} <= 1.25 THEN '4:5 to 5:4, about square'
        WHEN {ratio} <= 2.5 THEN '5:4 to 5:2, wide'
        ELSE 'over 5:2, very wide' END AS value
        FROM {table} WHERE {width} > 0 AND {height} > 0"""
    whence = f"{sizes[0]} by {sizes[1]}" if sizes else _SIZE
    return _if_any(database, Attribute("aspect", rows, f"Aspect ratio, {whence}"))


def _source(database: RunDatabase, columns: dict[str, str]) -> Attribute:
    if columns.get("url") == "VARCHAR":
        host = r"nullif(regexp_extract(url, '^\w+://([^/:?#]+)', 1), '')"
        rows = f"SELECT uid, {host} AS value FROM samples"
        hosts = _if_any(database, Attribute("source", rows, "Host of the column url"))
        if hosts is not None and _differs(database, hosts):
            return hosts
    shard = place_names(database.pool)[0] if database.pool else "source"
    return Attribute(
        "source", f"SELECT uid, {shard} AS value FROM samples", "File of the pool"
    )


def _differs(database: RunDatabase, attribute: Attribute) -> bool:
    sql = f"SELECT DISTINCT value FROM ({attribute.rows}) LIMIT 2"
    return len(database.query(sql)) > 1
