"""Tables of a lake: what the catalogue says of them, and what is decided of a pair."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

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
    #: Lists, maps and the like below a leaf path: equal by canonical JSON.
    NESTED = "nested"
    #: A column of nulls only; comparable with every other family.
    NULL = "null"


@dataclass(frozen=True, slots=True)
class Column:
    """A leaf column: its dotted path, its Arrow type and what it can equal."""

    name: str
    type: pa.DataType
    family: Family


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

    @property
    def rows(self) -> int:
        """Rows of the file."""
        return sum(self.row_groups)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the lake, or why it cannot be read (`reason`)."""

    #: Path below the scanned root, with `/`; unique in the lake.
    name: str
    #: parquet, parquet_folder, delta, csv or jsonl.
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
        # schema, min_max, sketch, sample or content
        ("stage", pa.string()),
        ("child_rows", pa.int64()),
        ("parent_rows", pa.int64()),
        ("shared_columns", pa.list_(pa.string())),
        # JSON of a row (or of those columns of it that decided) which the parent lacks.
        ("witness", pa.string()),
        ("rebuild_sql", pa.string()),
        # The deciding stage's verdict in words.
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
