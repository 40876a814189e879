"""Tables of a lake: what the catalogue says of them, and what is decided of a pair."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pyarrow as pa


class Family(StrEnum):
    """Types whose values can be equal; two families have no value in common.

    Within a family the width and the unit do not matter: int32 1 = int64 1 = 1.0 =
    decimal 1.00, and instants compare whatever their unit. A naive timestamp has no
    instant, so it cannot equal a zoned one; neither can a date.
    """

    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT = "text"
    BINARY = "binary"
    DATE = "date"
    NAIVE = "naive timestamp"
    ZONED = "zoned timestamp"
    TIME = "time"
    DURATION = "duration"
    #: Lists, maps and the like below a leaf path: equal element by element.
    NESTED = "nested"
    #: A column of nulls only; comparable with every other family.
    NULL = "null"


@dataclass(frozen=True, slots=True)
class Column:
    """A leaf column: its dotted path, its Arrow type and what it can equal."""

    name: str
    type: pa.DataType
    family: Family
    #: What the file says of the column besides, by key: a CRS, an extension's name.
    metadata: tuple[tuple[str, str], ...] = ()

    def __reduce__(self) -> tuple[type[Column], tuple[Any, ...]]:
        # A lake has very many: in words of fields they take twice as long.
        return Column, (self.name, self.type, self.family, self.metadata)


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a table.

    `constants` are the columns that the path holds instead of the file (Hive and Delta
    partitions); `column_bytes` the compressed bytes of each leaf column, as far as the
    file says so.
    """

    path: str
    bytes: int
    modified: float
    #: Rows of each row group; one entry for a text file.
    row_groups: tuple[int, ...]
    constants: tuple[tuple[str, pa.Scalar], ...] = ()
    column_bytes: dict[str, int] = field(default_factory=dict)
    #: How a text file is read (delimiter, quote, …), as found once by the catalogue.
    dialect: tuple[tuple[str, str], ...] = ()
    #: Bytes that were read to know all this: the footer, or the whole of a text file.
    surveyed_bytes: int = 0

    @property
    def rows(self) -> int:
        """Rows of the file."""
        return sum(self.row_groups)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the lake, or why it cannot be read (`reason`)."""

    #: Path below the scanned root, with `/`; unique in the lake.
    name: str
    #: parquet, parquet_folder, delta, csv, jsonl, json, orc, arrow, avro, database or
    #: excel.
    format: str
    #: What a user would move or delete: the file or the folder.
    location: str
    parts: tuple[Part, ...] = ()
    columns: tuple[Column, ...] = ()
    #: Software that wrote the footers, as they name it; the first if there are several.
    writer: str | None = None
    #: Changes when the table does: paths, sizes and times of its parts.
    fingerprint: str = ""
    reason: str | None = None
    #: Columns that are read as text instead of what the text means; see `as_text`.
    forms: tuple[tuple[str, str], ...] = ()

    @property
    def identity(self) -> str:
        """Its name, and in which form it is read if not in its own."""
        if not self.forms:
            return self.name
        return "\0".join([self.name, *(f"{name}\0{form}" for name, form in self.forms)])

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def bytes(self) -> int:
        """Bytes of all parts as they are stored."""
        return sum(part.bytes for part in self.parts)

    @property
    def modified(self) -> float:
        """Time of the last change to any part, in seconds since 1970 (UTC)."""
        return max((part.modified for part in self.parts), default=0.0)

    def column(self, name: str) -> Column:
        """Return the leaf column of that dotted path; KeyError if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def chosen(self, names: Iterable[str]) -> list[Column]:
        """Return the leaf columns of these paths; KeyError if one is not there."""
        columns = {column.name: column for column in self.columns}
        return [columns[name] for name in names]


#: Ordered within a family: numbers by value (int, float, Decimal), text and binary by
#: their bytes, instants as whole nanoseconds (dates: since 1970, times: since
#: midnight), booleans. NaN never occurs here.
Value = bool | int | float | Decimal | bytes


@dataclass(frozen=True, slots=True)
class ColumnStatistics:
    """Bounds of a leaf column, and what certainly occurs in it; None is "unknown".

    Writers cut long strings, leave NaN out and drop what they cannot order, so a bound
    need not be a value of the column. `low` and `high` bound every value that is
    neither null nor NaN. `low_certain` and `high_certain` are the least and greatest of
    the values that are known to occur; they may be known where the bounds are not (one
    row group without statistics), and the other way about.
    """

    rows: int
    nulls: int | None = None
    low: Value | None = None
    high: Value | None = None
    low_certain: Value | None = None
    high_certain: Value | None = None
    #: A value that is neither null nor NaN is certain to occur.
    has_value: bool = False

    def __reduce__(self) -> tuple[type[ColumnStatistics], tuple[Any, ...]]:
        # As a column's.
        bounds = self.low, self.high, self.low_certain, self.high_certain
        return ColumnStatistics, (self.rows, self.nulls, *bounds, self.has_value)

    @property
    def vacant(self) -> bool:
        """Whether there certainly is no value but null."""
        return self.nulls == self.rows

    def merged(self, other: ColumnStatistics) -> ColumnStatistics:
        """Return the statistics of both row sets together (row groups, parts)."""
        known = None not in (self.nulls, other.nulls)
        return ColumnStatistics(
            rows=self.rows + other.rows,
            nulls=(self.nulls or 0) + (other.nulls or 0) if known else None,
            low=self._outer(other, "low", min),
            high=self._outer(other, "high", max),
            low_certain=_of_known(min, self.low_certain, other.low_certain),
            high_certain=_of_known(max, self.high_certain, other.high_certain),
            has_value=self.has_value or other.has_value,
        )

    def _outer(
        self, other: ColumnStatistics, side: str, choose: Callable[..., Value]
    ) -> Value | None:
        if self.vacant or other.vacant:
            bounded = other if self.vacant else self
            return None if bounded.vacant else getattr(bounded, side)
        both = getattr(self, side), getattr(other, side)
        return None if None in both else choose(*both)

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` turns back without loss."""
        plain: dict[str, Any] = {"rows": self.rows, "has_value": self.has_value}
        if self.nulls is not None:
            plain["nulls"] = self.nulls
        exact = self.low is self.low_certain and self.high is self.high_certain
        if exact and self.low is not None:
            plain["exact"] = True
        for name in ("low", "high") if "exact" in plain else _VALUES:
            value = getattr(self, name)
            if value is not None:
                plain[name] = _plain(value)
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> ColumnStatistics:
        """Return the statistics that `to_json` made plain."""
        low, high, least, greatest = (
            _value(*plain[name]) if name in plain else None for name in _VALUES
        )
        if plain.get("exact"):
            least, greatest = low, high
        counts = plain["rows"], plain.get("nulls")
        return cls(*counts, low, high, least, greatest, plain["has_value"])


_VALUES = ("low", "high", "low_certain", "high_certain")


def _of_known(
    choose: Callable[..., Value], one: Value | None, other: Value | None
) -> Value | None:
    if one is None or other is None:
        return other if one is None else one
    return choose(one, other)


def _plain(value: Value) -> tuple[str, str]:
    if isinstance(value, bytes):
        return "bytes", base64.b64encode(value).decode()
    return type(value).__name__, repr(value) if isinstance(value, float) else str(value)


_READ: dict[str, Callable[[str], Value]] = {
    "bytes": base64.b64decode,
    "bool": lambda t: t == "True",
    "int": int,
    "float": float,
    "Decimal": Decimal,
}


def _value(kind: str, text: str) -> Value:
    return _READ[kind](text)


#: `RUN/tables.parquet`: one row per table that was found.
TABLES = pa.schema(
    [
        ("table", pa.string()),
        ("format", pa.string()),
        ("location", pa.string()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("parts", pa.int32()),
        (
            "columns",
            pa.list_(
                pa.struct(
                    [
                        ("name", pa.string()),
                        ("type", pa.string()),
                        ("family", pa.string()),
                    ]
                )
            ),
        ),
        ("writer", pa.string()),
        ("modified", pa.timestamp("us", "UTC")),
        ("fingerprint", pa.string()),
        # Null where only footers were read: the rows may be broken.
        ("readable", pa.bool_()),
        # Why it cannot be read, or what of it can only be read in part.
        ("reason", pa.string()),
    ]
)

#: `RUN/edges.parquet`: one row per pair whose column names are contained.
EDGES = pa.schema(
    [
        ("child", pa.string()),
        ("parent", pa.string()),
        # duplicate, contained, partial, refuted or incomparable
        ("relation", pa.string()),
        # Share of the child's rows that the parent holds; null where not counted.
        ("containment", pa.float64()),
        # The stage that decided: schema, min_max, sketch, sample, content or partial.
        ("stage", pa.string()),
        ("child_rows", pa.int64()),
        ("parent_rows", pa.int64()),
        ("shared_columns", pa.list_(pa.string())),
        # JSON of a row (or of those columns of it that decided) which the parent lacks.
        ("witness", pa.string()),
        ("rebuild_sql", pa.string()),
        # Why the child is contained or is not, in words.
        ("reason", pa.string()),
        # The stage that found that the child is not contained; null where it is.
        ("refuted_by", pa.string()),
    ]
)

#: `RUN/derived.parquet`: one row per table that lies in several others together, or in
#: one under other column names.
DERIVED = pa.schema(
    [
        ("child", pa.string()),
        # concatenation (of whole tables), union (of parts of tables) or renamed
        ("kind", pa.string()),
        ("parents", pa.list_(pa.string())),
        # JSON of a renamed table's columns: {the parent's: the child's}.
        ("columns", pa.string()),
        ("child_rows", pa.int64()),
        ("rebuild_sql", pa.string()),
        ("reason", pa.string()),
    ]
)

#: `RUN/stages.parquet`: how the edges became fewer, and what that cost.
STAGES = pa.schema(
    [
        ("stage", pa.string()),
        ("edges_in", pa.int64()),
        ("edges_out", pa.int64()),
        ("seconds", pa.float64()),
        ("bytes_read", pa.int64()),
    ]
)

#: `RUN/plan.parquet`: one row per table that takes part in a containment.
PLAN = pa.schema(
    [
        ("table", pa.string()),
        # delete or keep
        ("action", pa.string()),
        ("parent", pa.string()),
        # Of a table that several others hold together; else the parent alone.
        ("parents", pa.list_(pa.string())),
        # JSON of a renamed table's columns: {the parent's: the child's}.
        ("columns", pa.string()),
        ("bytes", pa.int64()),
        ("bytes_saved", pa.int64()),
        # Money per period of the plan's prices: kept, and rebuilt on demand.
        ("keep_cost", pa.float64()),
        ("rebuild_cost", pa.float64()),
        ("cost_saved", pa.float64()),
        ("rebuild_seconds", pa.float64()),
        ("rebuild_sql", pa.string()),
        ("reason", pa.string()),
    ]
)
