"""Columns that hold one value in all rows of a shard, and stand in no shard.

Partitions of a table (Hive's `year=2020/`, Delta's log) and splits of a data set are
such columns: the rows of a pool have them as all others, and so have those it keeps.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.core.errors import InputError
from winnow.core.hashing import fingerprint
from winnow.formats.shard_protocol import (
    ShardFooter,
    ShardFormat,
    Sink,
    Unreadable,
)

#: How Hive writes a value that is null.
_NULL = "__HIVE_DEFAULT_PARTITION__"

#: A shard's path, and its value of each constant column as text.
Constants = Mapping[str, Mapping[str, str | None]]


class WithConstants(ShardFormat):
    """Shards of another format, with columns that each shard has one value of.

    inner: what reads the shards. added: the columns, behind those of the shards; one
    that a shard holds itself is left to it. values: by path of the shard.
    """

    def __init__(self, inner: ShardFormat, added: pa.Schema, values: Constants) -> None:
        self.inner, self.added = inner, added
        self.values = {same_path(path): value for path, value in values.items()}
        self.name, self.title, self.endings = inner.name, inner.title, inner.endings
        self.sql_reads_it, self.carriers = inner.sql_reads_it, inner.carriers

    def constant(self, path: str, field: pa.Field) -> pa.Scalar:
        """Return a shard's value of a constant column."""
        value = self._named(path).get(field.name)
        return pa.array([value], pa.string()).cast(field.type)[0]

    def footer(self, path: str) -> ShardFooter:
        """Return a shard's footer, the constant columns after its own."""
        footer = self.inner.footer(path)
        schema = footer.schema
        for field in self.added:
            if field.name not in schema.names:
                schema = schema.append(field)
        mark = f"{footer.mark} {sorted(self._named(path).items())}"
        return ShardFooter(footer.rows, schema, fingerprint(mark))

    def state(self, path: str, *, fresh: bool = False) -> str:
        """Return the state of the shard itself."""
        return self.inner.state(path, fresh=fresh)

    def merged(
        self, schema: pa.Schema, first: str, other: pa.Schema, path: str
    ) -> pa.Schema:
        """Return what the inner format makes of both."""
        return self.inner.merged(schema, first, other, path)

    def read_rows(
        self,
        path: str,
        rows: npt.NDArray[np.int64],
        columns: Sequence[str],
        schema: pa.Schema | None = None,
    ) -> Iterator[tuple[int, pa.Table | Unreadable]]:
        """Yield (position in `rows`, table) for the sorted row numbers of one shard."""
        physical = self.inner.footer(path).schema.names
        added = [f for f in self.added if f.name in columns and f.name not in physical]
        names = {field.name for field in added}
        inner = [name for name in columns if name not in names]
        if not inner and len(rows):
            # A table without columns has no rows either.
            yield 0, self._appended(pa.table({}), path, added, len(rows))
            return
        for start, part in self.inner.read_rows(path, rows, inner, schema):
            if isinstance(part, Unreadable):
                types = {**part.types, **{field.name: field.type for field in added}}
                yield start, Unreadable(part.rows, part.reason, types)
            else:
                table = self._appended(part, path, added, len(part))
                yield start, table.select(list(columns))

    def bounded(self, batch_bytes: int) -> ShardFormat:
        """Return what reads at most so many bytes at a time."""
        inner = self.inner.bounded(batch_bytes)
        return WithConstants(inner, self.added, self.values)

    def held_at_once(self, path: str, columns: Sequence[str]) -> tuple[int, str]:
        """Return what the inner format reads at once."""
        return self.inner.held_at_once(path, columns)

    def whole(self, schema: pa.Schema) -> list[str]:
        """Return the columns that make up a whole row."""
        return self.inner.whole(schema)

    def sink(self, file: Path, schema: pa.Schema) -> Sink:
        """Open a shard for writing; it holds the constant columns as all others."""
        return self.inner.sink(file, schema)

    def suffix(self, path: str) -> str:
        """Return the ending of names of shards like this one."""
        return self.inner.suffix(path)

    def seal(self, folder: Path, schema: pa.Schema) -> None:
        """Make the shards of a folder one pool."""
        self.inner.seal(folder, schema)

    def beside(self, other: ShardFormat) -> ShardFormat:
        """Return what reads the shards of both pools."""
        if not isinstance(other, WithConstants):
            return self
        more = [f for f in other.added if f.name not in self.added.names]
        added = pa.schema([*self.added, *more])
        inner = self.inner.beside(other.inner)
        return WithConstants(inner, added, {**self.values, **other.values})

    def pinned(self) -> dict[str, Any]:
        """Return the constant columns and their values, for the manifest."""
        schema = base64.b64encode(self.added.serialize().to_pybytes()).decode()
        values = {path: dict(named) for path, named in sorted(self.values.items())}
        constants = {"columns": self.added.names, "schema": schema, "values": values}
        return {**self.inner.pinned(), "constants": constants}

    def _named(self, path: str) -> Mapping[str, str | None]:
        try:
            return self.values[same_path(path)]
        except KeyError:
            raise InputError(
                f"{path}: the pool's table does not name this file; run again"
            ) from None

    def _appended(
        self, table: pa.Table, path: str, added: Sequence[pa.Field], rows: int
    ) -> pa.Table:
        arrays, fields = list(table.columns), list(table.schema)
        for field in added:
            arrays.append(pa.repeat(self.constant(path, field), rows))
            fields.append(field)
        return pa.table(arrays, schema=pa.schema(fields))


def same_path(path: str) -> str:
    """Return a path with the slashes that every file system writes it with."""
    scheme, colon, rest = path.partition("://")
    return f"{scheme}://{rest.lstrip('/')}" if colon else path


def with_constants(kind: ShardFormat, pinned: Mapping[str, Any]) -> ShardFormat:
    """Return a format with the constant columns that were `pinned`, if any were."""
    constants = pinned.get("constants")
    if not constants:
        return kind
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(constants["schema"])))
    return WithConstants(kind, schema, constants["values"])


def hive_partitions(parts: Sequence[str]) -> dict[str, str | None]:
    """Return the columns that the folders of a path stand for, as Hive writes them."""
    pairs = (part.split("=", 1) for part in parts if "=" in part.strip("="))
    return {
        unquote(name): None if value == _NULL else unquote(value)
        for name, value in pairs
    }


def constant_columns(values: Constants) -> pa.Schema:
    """Return the columns of text values: int64 where all are whole numbers."""
    names = dict.fromkeys(name for named in values.values() for name in named)
    fields = []
    for name in names:
        column = pa.array([named.get(name) for named in values.values()], pa.string())
        whole = pc.match_substring_regex(column, r"^-?(0|[1-9][0-9]{0,17})$")
        is_whole = bool(pc.all(whole, min_count=1).as_py())
        fields.append(pa.field(name, pa.int64() if is_whole else pa.string()))
    return pa.schema(fields)


def table_kind(below: Sequence[str]) -> str | None:
    """Return which kind of table a file belongs to the log of; None: to none.

    below: the parts of its path below the pool, its name last.
    """
    *folders, name = below
    if "_delta_log" in folders:
        return "a Delta table"
    if ".hoodie" in folders:
        return "a Hudi table"
    if folders[-1:] == ["metadata"] and name.endswith(".metadata.json"):
        return "an Iceberg table"
    return None
