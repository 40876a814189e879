"""A rebuild query run in a closed DuckDB, its rows as those of the lost table."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from winnow.lake.files.exact_types import same_type
from winnow.lake.files.files import Files
from winnow.lake.files.leaves import flattened, leaf_columns, replaced_types
from winnow.lake.files.text_encoding import UNNAMED
from winnow.lake.files.words import in_words
from winnow.lake.kernels.families import family, is_wrapped, value_type, within
from winnow.lake.kernels.tables import Column, Family, Table
from winnow.pages.closed_sql import closed_connection

_BATCH_ROWS = 1 << 16
#: Types that DuckDB has, and hands over as text unless it is told otherwise; booleans
#: come as Arrow's bool8 then.
_TOLD = {"arrow.uuid", "arrow.json"}
_OWN_TYPES = "SET arrow_lossless_conversion = true"
_BOOLEANS = {pa.bool8(): pa.bool_()}


class ReplayError(Exception):
    """A rebuild query cannot be run, or gives other columns than the table's."""


class SharedConnection:
    """A closed DuckDB for many queries, one at a time; to open one costs 20 ms.

    It opens the files of all of them, and no other.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = frozenset(paths)
        self._spill = tempfile.TemporaryDirectory()
        self._connection: duckdb.DuckDBPyConnection | None = None

    def opens(self, paths: Iterable[str]) -> bool:
        """Whether all of the paths are among those that it opens."""
        return self._paths.issuperset(paths)

    def connection(self) -> duckdb.DuckDBPyConnection:
        """Return the connection."""
        if self._connection is None:
            self._connection = closed_connection(sorted(self._paths), self._spill.name)
        return self._connection

    def close(self) -> None:
        """Close the connection and remove what it spilled."""
        if self._connection is not None:
            self._connection.close()
        self._spill.cleanup()


@dataclass(frozen=True)
class Replay:
    """Runs rebuild queries; nothing but the files that one reads can be opened.

    Those of `shared`, local files, can be opened by all queries that read no other.
    """

    files: Files
    shared: SharedConnection | None = None

    def batches(
        self,
        sql: str,
        child: Table,
        parent: Table,
        side_file: str | None = None,
        strict: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the query's rows as the child's leaf columns, in the child's types.

        Raises ReplayError if the query is no single SELECT, reads anything but the
        parent and the side file, fails, or gives other columns or types that do not
        hold the same values; as `strict` types other than the child's.
        """
        opened = [part.path for part in parent.parts]
        if side_file is not None:
            opened.append(side_file)
        own_types = _have_own_types([*child.columns, *parent.columns])
        try:
            with self._closed(opened, own_types) as connection:
                _require_one_select(connection, sql)
                reader = connection.sql(sql).to_arrow_reader(_BATCH_ROWS)
                names = [n if n != UNNAMED else "" for n in reader.schema.names]
                types = [replaced_types(t, _BOOLEANS) for t in reader.schema.types]
                schema = pa.schema(list(zip(names, types, strict=True)))
                _require_columns(leaf_columns(schema), child.columns)
                if strict:
                    _require_types(leaf_columns(schema), child.columns)
                for named in reader:
                    batch = named.rename_columns(names)
                    yield _as_stored(
                        batch.cast(schema) if own_types else batch, child.columns
                    )
        except (duckdb.Error, pa.ArrowException, OSError, ValueError) as error:
            raise ReplayError(in_words(error)) from error

    @contextmanager
    def _closed(
        self, paths: Sequence[str], own_types: bool
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a connection that opens these paths only, or those of `shared`."""
        if self.shared is not None and self.shared.opens(paths) and not own_types:
            yield self.shared.connection()
            return
        remote = {
            id(fs): fs
            for fs, _ in map(self.files.filesystem, paths)
            if not self.files.is_local(paths[0])
        }
        with (
            tempfile.TemporaryDirectory() as spill,
            closed_connection(
                paths,
                spill,
                views=[_OWN_TYPES] if own_types else [],
                filesystems=list(remote.values()),
            ) as connection,
        ):
            yield connection


def _have_own_types(columns: Iterable[Column]) -> bool:
    """Whether a column holds UUIDs or JSON, at any depth."""
    return any(_is_told(column.type) for column in columns)


def _is_told(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return kind.extension_name in _TOLD
    return any(_is_told(kind.field(i).type) for i in range(kind.num_fields))


def _require_one_select(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    kinds = [statement.type for statement in connection.extract_statements(sql)]
    if kinds != [duckdb.StatementType.SELECT]:
        raise ReplayError("a rebuild query is one SELECT")


def _require_columns(given: Sequence[Column], wanted: Sequence[Column]) -> None:
    if [c.name for c in given] != [c.name for c in wanted]:
        raise ReplayError(
            f"it gives the columns {', '.join(c.name for c in given)} "
            f"instead of {', '.join(c.name for c in wanted)}"
        )


def _require_types(columns: Sequence[Column], wanted: Sequence[Column]) -> None:
    for given, demanded in zip(columns, wanted, strict=True):
        if demanded.family is not Family.NULL and not same_type(
            given.type, demanded.type
        ):
            raise ReplayError(
                f"it gives {demanded.name!r} equal by value, but as {given.type} "
                f"instead of {demanded.type}; plan.types=relaxed takes that"
            )


def _as_stored(batch: pa.RecordBatch, columns: Sequence[Column]) -> pa.RecordBatch:
    """Return leaf columns in the types of the table that is rebuilt."""
    leaves = flattened(batch, [column.name for column in columns], presence=True)
    arrays = [
        _in_type(array, column)
        for array, column in zip(leaves.columns, columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, names=leaves.schema.names)


def _in_type(array: pa.Array, column: Column) -> pa.Array:
    if is_wrapped(array):
        around = [array]
        while is_wrapped(inner := pc.struct_field(around[-1], [0])):
            around.append(inner)
        return within(_in_type(inner, column), around)
    kind = value_type(column.type)
    if array.type == kind or column.family is Family.NESTED:
        return array
    if family(array.type) is Family.TEXT and column.family is Family.BINARY:
        raise ReplayError(f"{column.name} comes as text instead of {column.type}")
    return array.cast(kind)
