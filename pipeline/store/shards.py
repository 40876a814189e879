"""Input shards: find them, check their footers, open them.

A shard is one Parquet file, local or behind any fsspec URL. Shards are named by their
path below the folder that they share, so that a pool may be moved or copied.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from pipeline.core.errors import InputError, did_you_mean
from pipeline.core.hashing import fingerprint


@dataclass(frozen=True, slots=True)
class Shard:
    """One Parquet file: its name below the pool's root, rows, and fingerprint."""

    name: str
    path: str
    rows: int
    bytes: int
    fingerprint: str


def find_shards(path: str | Sequence[str]) -> list[str]:
    """Return the sorted Parquet files of a folder, a glob, a file or a list of these.

    Raises InputError if nothing is found, naming what was looked for.
    """
    wanted = [path] if isinstance(path, str) else list(path)
    found: list[str] = []
    for item in wanted:
        fs, inner = fsspec.url_to_fs(os.path.expanduser(item))
        # A name that exists is meant as it stands, whatever brackets it holds.
        places = [inner] if fs.exists(inner) else _glob(fs, inner)
        hits = [shard for place in places for shard in _shards_at(fs, place)]
        if not hits:
            raise InputError(
                f"input.path: no Parquet file at '{item}'; give a folder that holds "
                "*.parquet files, a glob, a file, or a list of them"
            )
        found += [fs.unstrip_protocol(hit) for hit in hits]
    return sorted({_plain(url) for url in found})


def _glob(fs: Any, pattern: str) -> list[str]:
    return sorted(fs.glob(pattern)) if any(m in pattern for m in "*?[") else []


def _shards_at(fs: Any, place: str) -> list[str]:
    if not fs.isdir(place):
        return [place]
    return [file for file in fs.find(place) if _is_shard(file, place)]


def _is_shard(file: str, root: str) -> bool:
    below = file[len(root) :].lstrip("/").split("/")
    hidden = any(part.startswith((".", "_")) for part in below)
    return file.endswith(".parquet") and not hidden


def _plain(url: str) -> str:
    return url.removeprefix("file://")


def open_shard(path: str) -> pq.ParquetFile:
    """Open a Parquet file for reading, without reading ahead of what is asked for.

    Raises InputError if the file is missing or is not a whole Parquet file.
    """
    fs, inner = fsspec.url_to_fs(path)
    try:
        source: Any = inner if isinstance(fs, LocalFileSystem) else fs.open(inner)
        return pq.ParquetFile(
            source,
            memory_map=False,
            pre_buffer=False,
            page_checksum_verification=True,
        )
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: the file is gone; restore it or run again"
        ) from error
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{path}: not a whole Parquet file ({_first_line(error)}); it is probably "
            "truncated: copy it again, delete it, or set input.on_bad_shard=skip"
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)


def read_footers(
    paths: Sequence[str], *, skip_bad: bool = False
) -> tuple[list[Shard], pa.Schema, list[tuple[str, str]]]:
    """Read every footer; return the shards, their one schema, and the bad files.

    Raises InputError on an unreadable file (unless `skip_bad`) and on a shard whose
    columns differ from the first one's, naming file and column.
    """
    root = common_root(paths)
    shards: list[Shard] = []
    bad: list[tuple[str, str]] = []
    schema: pa.Schema | None = None
    for path in paths:
        try:
            file = open_shard(path)
        except InputError as error:
            if not skip_bad:
                raise
            bad.append((path, str(error)))
            continue
        with file:
            own = _unique(file.schema_arrow, path)
            if schema is None:
                schema, first = own, path
            else:
                _require_same_columns(schema, first, own, path)
                schema = _nullable_like(schema, own)
            shards.append(_shard(file, path, root))
    if schema is None:
        raise InputError(f"input.path: none of the {len(paths)} files can be read")
    return shards, schema, bad


def _shard(file: pq.ParquetFile, path: str, root: str) -> Shard:
    fs, inner = fsspec.url_to_fs(path)
    info = fs.info(inner)
    meta = file.metadata
    changed = str(info.get("mtime") or info.get("ETag") or info.get("LastModified"))
    size = int(info["size"])
    parts = f"{size}:{changed}:{meta.num_rows}:{meta.serialized_size}"
    name = posixpath.relpath(path, root)
    return Shard(name, path, meta.num_rows, size, fingerprint(parts))


def common_root(paths: Sequence[str]) -> str:
    """Return the deepest folder that all paths lie below."""
    root = posixpath.commonpath([posixpath.dirname(path) for path in paths])
    # commonpath folds the two slashes of a URL's scheme into one.
    return root.replace(":/", "://", 1) if "://" in paths[0] else root


def _unique(schema: pa.Schema, path: str) -> pa.Schema:
    repeated = [n for n in schema.names if schema.names.count(n) > 1]
    if repeated:
        raise InputError(
            f"{path}: the column '{repeated[0]}' stands there twice; rename one of them"
        )
    return schema


def _nullable_like(schema: pa.Schema, other: pa.Schema) -> pa.Schema:
    """Let a column hold nulls if it may in another shard."""
    for place, field in enumerate(schema):
        if not field.nullable and other.field(field.name).nullable:
            schema = schema.set(place, field.with_nullable(True))
    return schema


def _require_same_columns(
    schema: pa.Schema, first: str, other: pa.Schema, path: str
) -> None:
    missing = [n for n in schema.names if n not in other.names]
    extra = [n for n in other.names if n not in schema.names]
    retyped = [
        f"{n} ({other.field(n).type}, not {schema.field(n).type})"
        for n in schema.names
        if n in other.names and other.field(n).type != schema.field(n).type
    ]
    problems = []
    if missing:
        problems.append(f"lacks {', '.join(missing)}")
    if extra:
        problems.append(f"has the extra {', '.join(extra)}")
    if retyped:
        problems.append(f"has another type for {', '.join(retyped)}")
    if problems:
        raise InputError(
            f"{path}: {'; '.join(problems)}; all shards need the columns of {first}. "
            "Rewrite that shard or leave it out of input.path"
        )


def require_column(schema: pa.Schema, column: str, key: str) -> pa.Field:
    """Return the field named by `input.columns.<key>` or raise InputError."""
    if column not in schema.names:
        raise InputError(
            f"input.columns.{key}: the shards have no column '{column}'; "
            + did_you_mean(column, schema.names)
        )
    return schema.field(column)
