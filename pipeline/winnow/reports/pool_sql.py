"""The view `samples`: the input's columns, read where they lie, by the run's uids.

Parquet shards are read by the engine itself. JSON Lines, and shards with rows that the
engine refuses (text that is not UTF-8, a damaged row group), are read by the reader
that the run used, once, into a scratch file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from winnow.core.arrow_types import is_text, is_uuid, uuid_texts
from winnow.core.errors import InputError, RunError
from winnow.core.run_folder import MEMORY_POOL, RunFolder
from winnow.core.saved_files import read_manifest
from winnow.core.sql_text import AS_STORED, identifier, literal
from winnow.formats.captions import caption_sql, is_list_of_text
from winnow.formats.constants import WithConstants
from winnow.formats.file_access import filesystem, is_local
from winnow.formats.lake_tables import TableFormat
from winnow.formats.one_schema import promoted
from winnow.formats.pool_formats import AUTO, format_of, named_format
from winnow.formats.reader import SampleReader, by_source, is_binary, single, utf8
from winnow.formats.shard_discovery import (
    common_root,
    find_pool,
    pool_folders,
)
from winnow.formats.shard_protocol import ShardFormat, Unreadable
from winnow.reports.run_sql import RunSql


@dataclass(frozen=True)
class PoolColumns:
    """What the input's columns are called in the recipe; None: there is none."""

    uid: str | None
    image: str | None
    text: str | None


class RunPool:
    """The input of a run, found again by what the run says of it."""

    def __init__(self, folder: RunFolder, config: Mapping[str, Any]) -> None:
        given = config["input"]
        self.columns = PoolColumns(**given["columns"])
        self.kind, self.root, names = self._shards(folder, given)
        self.paths = {name: f"{self.root.rstrip('/')}/{name}" for name in names}
        self.folders = self._folders(given["path"])
        self.captions: str = given.get("captions", "first")
        #: Whether shards may differ, as `input.schema` says.
        self.differ = given.get("schema") == "promote"

    def _folders(self, path: list[str]) -> tuple[str, ...]:
        """Return where images named by path may lie; none: the root alone.

        A relative path of the recipe means nothing where the run is read from.
        """
        folders = pool_folders(path)
        below = tuple(folder.rstrip("/") + "/" for folder in folders)
        return folders if all(p.startswith(below) for p in self.paths.values()) else ()

    @staticmethod
    def _shards(
        folder: RunFolder, given: Mapping[str, Any]
    ) -> tuple[ShardFormat, str, list[str]]:
        manifest = folder.file("manifest.json")
        if manifest.is_file():
            pool = read_manifest(manifest)["input"]
            names = [shard["name"] for shard in pool["shards"]]
            kind = named_format(pool.get("format", AUTO)) or format_of(names[0])
            root = _root_now(folder, pool["root"])
            return kind.restored(pool.get("pinned", {})), root, names
        located = find_pool(given["path"], given.get("format", AUTO))
        root = common_root(located.paths)
        names = [path[len(root.rstrip("/")) + 1 :] for path in located.paths]
        return located.kind, root, names

    @property
    def is_parquet(self) -> bool:
        """Whether the engine can read the shards itself."""
        # Of http, the engine would ask for an extension of its own.
        behind_http = any(path.startswith("http") for path in self.paths.values())
        return self.kind.sql_reads_it and not (behind_http and self.filesystems)

    def require(self) -> None:
        """Raise InputError if a shard is gone."""
        for path in self.paths.values():
            fs, inner = filesystem(path)
            if not fs.exists(inner):
                raise InputError(f"the input's shard {path} is gone; restore it")

    @cached_property
    def schema(self) -> pa.Schema:
        """The shards' columns, without those that carry whole rows."""
        schema: pa.Schema | None = None
        for path in self.paths.values():
            of_shard = self.kind.footer(path).schema
            by_name = self.differ and not self.kind.carriers
            merge = promoted if by_name else self.kind.merged
            schema = of_shard if schema is None else merge(schema, path, of_shard, path)
            if self.is_parquet and not self.differ:
                break
        if schema is None:
            raise RunError("the run has no shard")
        named = {self.columns.uid, self.columns.image, self.columns.text}
        hidden = self.kind.unseen(schema) - named
        fields = [field for field in schema if field.name not in hidden]
        return pa.schema(fields, schema.metadata)

    @property
    def names_clash(self) -> bool:
        """Whether a column is called like what the engine adds to a scan."""
        taken = {name.lower() for name in self.schema.names}
        return bool(taken & {"file_row_number", "__file", "__source", "filename"})

    @cached_property
    def reader(self) -> SampleReader:
        """Reader of the pool's samples, as the run's steps used it."""
        image, text = (
            name if name in self.schema.names else None
            for name in (self.columns.image, self.columns.text)
        )
        return SampleReader(
            self.root,
            self.paths,
            image,
            text,
            self.schema,
            self.folders,
            self.kind,
            self.captions,
        )

    @cached_property
    def filesystems(self) -> list[Any]:
        """File systems of shards that are not on this machine's disk."""
        remote = {}
        for path in self.paths.values():
            fs, _ = filesystem(path)
            if not is_local(fs):
                remote[id(fs)] = fs
        return list(remote.values())

    def images(self, places: list[tuple[str, int]]) -> list[bytes | None]:
        """Return the images at (source, row), None where there is none to read."""
        return self._values("image", self.reader.image, places)

    def texts(self, places: list[tuple[str, int]]) -> list[str | None]:
        """Return the captions at (source, row), None where there is none to read."""
        return self._values("text", self.reader.text, places)

    def _values(
        self, modality: str, column: str | None, places: list[tuple[str, int]]
    ) -> list[Any]:
        order = sorted(range(len(places)), key=lambda i: places[i])
        references = [
            pa.RecordBatch.from_pylist(
                [{"uid": str(i), "source": places[i][0], "row": places[i][1]}]
            )
            for i in order
        ]
        values: list[Any] = [None] * len(places)
        if column is None:
            return values
        for part in self.reader.read(iter(references), (modality,)):
            for name, value in zip(
                part["uid"].to_pylist(), part[modality].to_pylist(), strict=True
            ):
                values[int(name)] = value
        return values


def _root_now(folder: RunFolder, root: str) -> str:
    """Return where a pool is: one that was given in memory goes with the run's folder.

    root: where it was.
    """
    inside = folder.file(MEMORY_POOL) / PurePosixPath(root).name
    return str(inside.resolve()) if inside.is_dir() else root


def samples_body(pool: RunPool, run: RunSql) -> str:
    """Return the SELECT of `samples` over Parquet shards: nothing is read yet."""
    rows = _rows(pool, run)
    uid = pool.columns.uid
    uid_column = _own_uid(pool.schema.field(uid)) if uid in pool.schema.names else None
    if uid_column is None:
        index = run.artifact("index", "samples")
        uid_sql = "i.uid"
        joined = (
            f"({rows}) p JOIN {index} i ON i.source = p.__source "
            "AND i.row = p.file_row_number"
        )
    else:
        uid_sql, joined = uid_column, f"({rows}) p"
        if run.rejected:
            gone = run.artifact("index", "rejected")
            joined += (
                f" ANTI JOIN {gone} r ON r.source = p.__source "
                "AND r.row = p.file_row_number"
            )
    columns = [f"{uid_sql} AS uid"]
    names = sample_names(pool)
    for field in pool.schema:
        value = f"p.{identifier(field.name)}"
        if field.name == pool.columns.image and pa.types.is_struct(field.type):
            value += ".bytes"
        if field.name == pool.columns.text and is_list_of_text(field.type):
            value = caption_sql(value, pool.captions)
        if names[field.name] is not None:
            columns.append(f"{value} AS {identifier(names[field.name] or '')}")
    source, row = place_names(pool)
    columns += [f"p.__source AS {source}", f"p.file_row_number AS {row}"]
    return f"SELECT {', '.join(columns)} FROM {joined}"


def _rows(pool: RunPool, run: RunSql) -> str:
    """Return the SELECT of all rows with what shard and row they are."""
    files = list(pool.paths.values())
    run.files += files
    scan = (
        f"read_parquet([{', '.join(map(literal, files))}], "
        "filename = '__file', file_row_number = true, hive_partitioning = false"
        f"{', union_by_name = true' if _by_name(pool) else ''})"
    )
    below = len(pool.root.rstrip("/")) + 2
    rows = f"SELECT *, substring(__file, {below}) AS __source FROM {scan}"
    if isinstance(pool.kind, WithConstants):
        rows = f"FROM ({rows}) JOIN {_constants(pool, pool.kind)} USING (__file)"
    return rows


def _by_name(pool: RunPool) -> bool:
    """Whether files may lack some of the pool's columns."""
    kind = pool.kind
    kind = kind.inner if isinstance(kind, WithConstants) else kind
    return pool.differ or isinstance(kind, TableFormat)


def _constants(pool: RunPool, kind: WithConstants) -> str:
    """Return a table of SQL: of each shard, the columns that it holds one value of."""
    physical = kind.inner.footer(next(iter(pool.paths.values()))).schema.names
    fields = [field for field in kind.added if field.name not in physical]
    names = ["__file", *(identifier(field.name) for field in fields)]
    rows = [
        ", ".join([literal(path), *(_constant(kind, path, field) for field in fields)])
        for path in pool.paths.values()
    ]
    listed = ", ".join(f"({row})" for row in rows)
    return f"(VALUES {listed}) c({', '.join(names)})"


def _constant(kind: WithConstants, path: str, field: pa.Field) -> str:
    value = kind.constant(path, field).as_py()
    if value is None or isinstance(value, bool | int | float):
        return "NULL" if value is None else str(value)
    text = literal(str(value))
    return f"DATE {text}" if pa.types.is_date(field.type) else text


def _own_uid(field: pa.Field) -> str | None:
    """Return the uid as the run writes it, as SQL of the column that holds it."""
    column = f"p.{identifier(field.name)}"
    kind = field.type
    if is_binary(kind.value_type if pa.types.is_dictionary(kind) else kind):
        return f"lower(hex({column}))"
    return f"{column}::VARCHAR"


def sample_names(pool: RunPool) -> dict[str, str | None]:
    """Return what each input column is called in the view; None: it is the uid."""
    names: dict[str, str | None] = {}
    for name in pool.schema.names:
        if name == pool.columns.uid and name.lower() == "uid":
            names[name] = None
        else:
            names[name] = "input_uid" if name.lower() == "uid" else name
    return names


def place_names(pool: RunPool) -> tuple[str, str]:
    """Return the columns that say where a row is; the input's own keep their names."""
    taken = {name.lower() for name in pool.schema.names}
    source, row = (
        name if name not in taken else f"winnow_{name}" for name in ("source", "row")
    )
    return source, row


def copied_samples(
    pool: RunPool, index: Iterator[pa.RecordBatch], scratch: Path
) -> str:
    """Read the indexed samples into `scratch`; return a SELECT of them.

    index: batches of (uid, source, row), sorted by source and row.
    """
    file = scratch / "samples.parquet"
    names = sample_names(pool)
    given = [field for field in pool.schema if names[field.name] is not None]
    image = pool.columns.image
    fields = [
        pa.field(names[field.name] or "", _copied_type(field, field.name == image))
        for field in given
    ]
    source, row = place_names(pool)
    places = [pa.field(source, pa.string()), pa.field(row, pa.int64())]
    schema = pa.schema([("uid", pa.string()), *fields, *places])
    columns = [field.name for field in given]
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for shard, wanted in by_source(index):
            for start, part in pool.reader.rows(
                shard, wanted["row"].to_numpy(), columns
            ):
                length = part.rows if isinstance(part, Unreadable) else len(part)
                here = wanted.slice(start, length).combine_chunks()
                copied = [
                    _copied(part, name, field.type)
                    for name, field in zip(columns, fields, strict=True)
                ]
                arrays = [here["uid"], *copied, here["source"], here["row"]]
                writer.write_table(pa.table(arrays, schema=schema))
    return f"SELECT * FROM read_parquet({literal(str(file))}, {AS_STORED})"


def _copied_type(field: pa.Field, is_image: bool) -> pa.DataType:
    kind = field.type
    if is_uuid(kind):
        kind = pa.string()
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if is_image and pa.types.is_struct(kind):
        return pa.binary()
    return pa.string() if is_text(kind) else kind


def _copied(part: pa.Table | Unreadable, name: str, kind: pa.DataType) -> pa.Array:
    """Return a column as it is copied: null where it cannot be read."""
    if isinstance(part, Unreadable):
        return pa.nulls(part.rows, kind)
    column = single(part[name])
    if pa.types.is_struct(column.type) and not pa.types.is_struct(kind):
        return pc.struct_field(column, "bytes").cast(kind)
    if is_uuid(column.type):
        column = pa.array(uuid_texts(column), pa.string())
    return utf8(column)[0] if is_text(kind) else column.cast(kind)
