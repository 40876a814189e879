"""Iceberg tables by their newest metadata, read by pyiceberg.

Metadata names files by whole paths, of the place where the table was written. Here such
a path means the file of that name in the table's folder as it lies now, so that a table
that was copied or moved is its own files; what lies elsewhere is not followed. Neither
is what metadata says of libraries to load or of servers to ask.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.extras import require
from winnow.core.inside import OutsideError, resolve_inside
from winnow.table_logs.iceberg_deletes import (
    Deletes,
    PlannedFile,
    deletes_of,
    planned_files,
)
from winnow.table_logs.stored_columns import told_by_numbers

if TYPE_CHECKING:
    from pyiceberg.table import StaticTable

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:(//[^/]*)?")
_FIELD = b"PARQUET:field_id"
_METADATA = ".metadata.json"


class IcebergFile(NamedTuple):
    """A data file of a snapshot."""

    #: Below the table's folder; None where it lies elsewhere.
    name: str | None
    #: As the metadata has it.
    path: str
    format: str
    rows: int
    #: Whether rows of it are deleted by delete files.
    deleted: bool


def is_iceberg(names: Sequence[str]) -> bool:
    """Whether a folder with these files, by their paths below it, is such a table."""
    return any(_is_metadata(name) for name in names)


def newest_metadata(names: Sequence[str]) -> str:
    """Return the newest of a table's metadata files, by paths below its folder.

    Raises ValueError where two are: only the table's catalogue knows which one holds.

    >>> newest_metadata(["metadata/v9.metadata.json", "metadata/v10.metadata.json"])
    'metadata/v10.metadata.json'
    """
    by_number: dict[int, list[str]] = {}
    for name in filter(_is_metadata, names):
        by_number.setdefault(_number(name), []).append(name)
    newest = by_number[max(by_number)]
    if len(newest) > 1:
        raise ValueError(
            f"{' and '.join(sorted(newest)[:2])} are both its newest metadata: only its"
            " catalogue knows which one holds"
        )
    return newest[0]


@dataclass(frozen=True)
class IcebergTable:
    """An Iceberg table at its newest snapshot.

    fs: an fsspec file system; folder: the table's, a path of this machine or a URL;
    names: of all files below it. Reading raises ValueError for damaged metadata, for
    delete files that cannot be read, and where the newest metadata is not known;
    OSError for files that are gone.
    """

    fs: Any
    folder: str
    names: Sequence[str]

    @property
    def version(self) -> str:
        """The snapshot's number; empty if there is none yet."""
        snapshot = self._table.current_snapshot()
        return "" if snapshot is None else str(snapshot.snapshot_id)

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns, each with its identity in its metadata."""
        from pyiceberg.io.pyarrow import schema_to_pyarrow

        return _plain(schema_to_pyarrow(self._table.schema()))

    @cached_property
    def files(self) -> list[IcebergFile]:
        """The data files, by their paths."""
        return [
            IcebergFile(
                self._below(planned.path),
                planned.path,
                str(planned.file.file_format.value),
                planned.file.record_count,
                bool(planned.by_position or planned.by_value),
            )
            for planned in self._planned
        ]

    @cached_property
    def fields(self) -> list[Any]:
        """The columns as `stored_columns` takes them, to be looked for by number."""
        return told_by_numbers(self.schema, self._names)

    @cached_property
    def deleted(self) -> dict[str, npt.NDArray[np.int64]]:
        """The numbers of deleted rows, sorted, by path of a data file as in `files`.

        Only files that lose rows are named.
        """
        rows = (
            (one.path, self._deletes.rows(one, self.constants.get(one.path, {})))
            for one in self._planned
            if one.by_position or one.by_value
        )
        return {path: gone for path, gone in rows if len(gone)}

    @cached_property
    def constants(self) -> dict[str, dict[str, pa.Scalar]]:
        """Values that rows of a file have where it lacks the column, by its path.

        Those of its partition, and those of columns that are younger than it.
        """
        schema, specs = self._table.schema(), self._table.specs()
        young = {
            field.name: value
            for field in schema.fields
            if (value := getattr(field, "initial_default", None)) is not None
        }
        known = {}
        for planned in self._planned:
            values = dict(young)
            spec = specs[planned.file.spec_id or 0]
            for part, value in zip(spec.fields, planned.file.partition, strict=True):
                column = schema.find_column_name(part.source_id)
                if str(part.transform) == "identity" and column in self.schema.names:
                    values[column] = value
            if values:
                known[planned.path] = {
                    name: pa.scalar(value, self.schema.field(name).type)
                    for name, value in values.items()
                }
        return known

    def tells_itself(self, written: pa.Schema) -> bool:
        """Whether a Parquet file's own schema says what the table's columns are.

        Not so if a column was renamed or made anew under its name, or if its values
        stand in the metadata: of a partition, or for rows older than the column.
        """
        told, here = _paths(self.schema), _paths(written)
        names = {path: number for number, path in here.items()}
        missing = told.keys() - here.keys()
        return not (
            None in here
            or any(here[number] != told[number] for number in told.keys() & here.keys())
            or any(told[number] in names for number in missing)
            or missing & self._in_metadata
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield all rows, file by file, in the order of `files`, as of `schema`."""
        from pyiceberg.expressions import AlwaysTrue
        from pyiceberg.io.pyarrow import ArrowScan
        from pyiceberg.table import FileScanTask

        table = self._table
        scan = ArrowScan(table.metadata, table.io, table.schema(), AlwaysTrue())
        for planned in self._planned:
            if planned.by_value:
                # Which pyiceberg does not read.
                gone = self.deleted.get(planned.path, np.empty(0, np.int64))
                constants = self.constants.get(planned.path, {})
                yield from self._deletes.left(planned, gone, constants)
                continue
            task = FileScanTask(planned.file, set(planned.by_position), AlwaysTrue())
            for batch in scan.to_record_batches([task]):
                yield batch.cast(self.schema)

    @cached_property
    def _table(self) -> StaticTable:
        require("iceberg", f"the Iceberg table {self.folder}")
        from pyiceberg.catalog.noop import NoopCatalog
        from pyiceberg.serializers import FromInputFile
        from pyiceberg.table import StaticTable

        name = newest_metadata(self.names)
        files = _file_io(self, "")
        try:
            metadata = FromInputFile.table_metadata(files.new_input(name))
        except OSError:
            raise
        except Exception as error:  # pyiceberg has kinds of its own
            said = f"its Iceberg metadata {name} is damaged: {error}"
            raise ValueError(said) from error
        files = _file_io(self, metadata.location)
        catalog = NoopCatalog("winnow")
        return StaticTable(("winnow", name), metadata, name, files, catalog)

    @cached_property
    def _planned(self) -> list[PlannedFile]:
        return planned_files(self._table)

    @cached_property
    def _deletes(self) -> Deletes:
        return deletes_of(self._table.io, self.fields, self.schema)

    @property
    def renamed(self) -> bool:
        """Whether files may call a column otherwise, or hold another by its name."""
        schema, names = self._table.schema(), self._names
        called = {
            (number, one.find_column_name(number))
            for one in self._table.metadata.schemas
            for number in one.field_ids
        }
        ids, paths = ({pair[i] for pair in called} for i in (0, 1))
        known = {n: (schema.find_column_name(n) or "").split(".")[-1] for n in names}
        aliases = any(names[n] != [name] for n, name in known.items() if name)
        return aliases or not len(called) == len(ids) == len(paths)

    @property
    def _names(self) -> dict[int, list[str]]:
        """What columns may be called in files that have no numbers, by number."""
        mapping = self._table.name_mapping()
        names: dict[int, list[str]] = {}
        fields = list(mapping.root) if mapping is not None else []
        while fields:
            field = fields.pop()
            if field.field_id is not None:
                names[field.field_id] = list(field.names)
            fields += field.fields
        return names

    def _below(self, path: str) -> str | None:
        return below(self._table.metadata.location, self.folder, path)

    @cached_property
    def _in_metadata(self) -> set[int]:
        """Identities of columns of which files need not hold all values."""
        fields = {
            field.source_id
            for spec in self._table.metadata.partition_specs
            for field in spec.fields
        }
        schema = self._table.schema()
        for number in schema.field_ids:
            field = schema.find_field(number)
            if getattr(field, "initial_default", None) is not None:
                fields.add(number)
        return fields


def below(location: str, folder: str, path: str) -> str | None:
    """Return a file's path below a table's folder, None if it lies elsewhere.

    location: where the metadata says that the table is; folder: where it lies now.

    >>> below("s3://lake/t", "/copies/t", "s3://lake/t/data/0.parquet")
    'data/0.parquet'
    """
    for base in filter(None, (location, folder)):
        for form in (str, _bare):
            root = form(base).rstrip("/") + "/"
            if form(path).startswith(root):
                return form(path).removeprefix(root)
    return None


def _bare(path: str) -> str:
    return _SCHEME.sub("", path, count=1)


def _is_metadata(name: str) -> bool:
    folder, _, base = name.rpartition("/")
    return folder == "metadata" and base.endswith(_METADATA)


def _number(name: str) -> int:
    """Return the number of a metadata file: v3.metadata.json, 00003-….json."""
    told = re.match(r"v?(\d+)[-.]", name.rpartition("/")[2])
    return int(told[1]) if told else -1


def _plain(schema: pa.Schema) -> pa.Schema:
    """Return a schema with texts, bytes and lists of usual size."""
    return pa.schema([field.with_type(_small(field.type)) for field in schema])


def _small(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = kind.value_field
        return pa.list_(inner.with_type(_small(inner.type)))
    if pa.types.is_struct(kind):
        inside = [kind.field(i) for i in range(kind.num_fields)]
        return pa.struct([field.with_type(_small(field.type)) for field in inside])
    if pa.types.is_map(kind):
        fields = kind.key_field, kind.item_field
        return pa.map_(*(field.with_type(_small(field.type)) for field in fields))
    return kind


def _paths(schema: pa.Schema) -> dict[int | None, tuple[str, ...]]:
    """Return the path of each field at any depth, by its identity; None: one has none.

    Elements of lists and maps have no name that counts.
    """
    told: dict[int | None, tuple[str, ...]] = {}

    def tell(field: pa.Field, path: tuple[str, ...]) -> None:
        number = (field.metadata or {}).get(_FIELD)
        told[None if number is None else int(number)] = path
        kind = field.type
        if pa.types.is_struct(kind):
            for inner in (kind.field(i) for i in range(kind.num_fields)):
                tell(inner, (*path, inner.name))
        elif pa.types.is_map(kind):
            tell(kind.key_field, (*path, "key"))
            tell(kind.item_field, (*path, "value"))
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            tell(kind.value_field, (*path, "element"))

    for field in schema:
        tell(field, (field.name,))
    return told


def _file_io(table: IcebergTable, location: str) -> Any:
    """Return what opens a table's files for pyiceberg, and no others."""
    from pyiceberg.io import FileIO, InputFile

    class InsideFile(InputFile):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            super().__init__(name)
            inner = below(location, table.folder, name) or name
            try:
                self._path = resolve_inside([table.folder], table.folder, inner)
            except OutsideError:
                said = f"a file of it lies outside its folder: {name}"
                raise ValueError(said) from None

        def __len__(self) -> int:
            return int(table.fs.size(self._path))

        def exists(self) -> bool:
            return bool(table.fs.exists(self._path))

        def open(self, seekable: bool = True) -> io.IOBase:
            opened: io.IOBase = table.fs.open(self._path, "rb")
            return opened

    class InsideIO(FileIO):  # type: ignore[misc]
        def new_input(self, location: str) -> InsideFile:
            return InsideFile(location)

        def new_output(self, location: str) -> Any:
            raise NotImplementedError("tables are read, not written")

        def delete(self, location: Any) -> None:
            raise NotImplementedError("tables are read, not written")

    return InsideIO()
