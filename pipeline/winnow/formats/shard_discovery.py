"""Input shards: find them, check their footers.

A shard is one file (or, of a format that says so, one folder), local or behind any
fsspec URL. Shards are named by their path below the folder that they share, so that a
pool may be moved or copied.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from winnow.core.errors import InputError
from winnow.core.hashing import fingerprint
from winnow.formats.column_names import column_hint
from winnow.formats.constants import table_kind
from winnow.formats.file_access import files_below, filesystem
from winnow.formats.jsonl_fields import LINE
from winnow.formats.not_pools import head_of, refuse_file, refuse_folder
from winnow.formats.one_schema import promoted
from winnow.formats.pool_formats import (
    AUTO,
    all_formats,
    format_of,
    known_format,
    named_format,
    usual_endings,
)
from winnow.formats.shard_protocol import (
    FoundPool,
    Listing,
    ShardFooter,
    ShardFormat,
)


@dataclass(frozen=True, slots=True)
class Shard:
    """One file: its name below the pool's root, rows, and fingerprint."""

    name: str
    path: str
    rows: int
    bytes: int
    fingerprint: str
    #: Size and time of the file when it was found; see `ShardFormat.state`.
    state: str = ""


def find_shards(path: str | Sequence[str], kind: str = AUTO) -> list[str]:
    """Return the sorted shards of a folder, a glob, a file or a list of these.

    Raises InputError as `find_pool` does.
    """
    return find_pool(path, kind).paths


def find_pool(path: str | Sequence[str], kind: str = AUTO) -> FoundPool:
    """Return the sorted shards of a folder, a glob, a file or a list of these.

    kind: what reads them, as `input.format` names it; `auto`: what the paths say.
    Raises InputError if nothing is found, naming what was looked for, and if there are
    shards of several formats; ConfigError if no format has the name.
    """
    named = named_format(kind)
    pools: list[FoundPool] = []
    for item in [path] if isinstance(path, str) else path:
        fs, inner = filesystem(os.path.expanduser(item))
        # A name that exists is meant as it stands, whatever brackets it holds.
        places = [inner] if fs.exists(inner) else _glob(fs, inner)
        hits = [pool for given in places for pool in _pools_at(fs, given, named)]
        if not hits:
            listed = files_below(fs, inner) if fs.isdir(inner) else []
            raise refuse_folder(item, listed, usual_endings())
        pools += hits
    return _joined(pools)


def _joined(pools: Sequence[FoundPool]) -> FoundPool:
    """Return the shards of all; raises InputError if they are of several formats."""
    first = pools[0]
    for other in pools:
        if other.kind.name != first.kind.name:
            raise InputError(
                f"input.path: {first.paths[0]} is {first.kind.title}, but "
                f"{other.paths[0]} is {other.kind.title}; a pool has one format: name "
                "its files by a glob, as in data/*.parquet, or its format by "
                "input.format"
            )
    kind = first.kind
    for other in pools[1:]:
        kind = kind.beside(other.kind)
    return FoundPool(kind, sorted({file for pool in pools for file in pool.paths}))


def _glob(fs: Any, pattern: str) -> list[str]:
    return sorted(fs.glob(pattern)) if _magic(pattern) else []


def _magic(path: str) -> bool:
    return any(mark in path for mark in "*?[")


def _pools_at(fs: Any, given: str, named: ShardFormat | None) -> list[FoundPool]:
    """Return the shards at one place, by format."""
    if not fs.isdir(given):
        kind = named or _kind_of_file(fs, given)
        return [FoundPool(kind, [_plain(fs.unstrip_protocol(given))])]
    listing = Listing(fs, given, files_below(fs, given))
    for kind in [named] if named else all_formats():
        claimed = kind.claims(listing)
        if claimed is not None:
            paths = [_plain(fs.unstrip_protocol(file)) for file in claimed.paths]
            return [FoundPool(claimed.kind, paths)] if paths else []
    for file in listing.files:
        _refuse_table(listing, file)
    by_kind: dict[str, FoundPool] = {}
    for file in listing.visible:
        known = known_format(file)
        if known is not None and named in (None, known):
            pool = by_kind.setdefault(known.name, FoundPool(known, []))
            pool.paths.append(_plain(fs.unstrip_protocol(file)))
    return list(by_kind.values())


def _kind_of_file(fs: Any, file: str) -> ShardFormat:
    """Return the format of a file by its name, else by how it begins."""
    known = known_format(file)
    if known is not None:
        return known
    head = head_of(fs, file)
    for kind in all_formats():
        if kind.recognises(head):
            return kind
    raise refuse_file(file, head, usual_endings())


def _refuse_table(listing: Listing, file: str) -> None:
    """Refuse a lake table that is not the pool itself: its log says what counts."""
    kind = table_kind(listing.below(file))
    if kind is not None:
        way = (
            "write its newest version out as Parquet first"
            if "Hudi" in kind
            else "name the table's own folder"
        )
        raise InputError(
            f"input.path: {listing.folder} holds {kind} ({file}); read as plain files "
            f"it would give deleted rows back: {way}"
        )


def _plain(url: str) -> str:
    return url.removeprefix("file://")


def pool_folders(path: str | Sequence[str]) -> tuple[str, ...]:
    """Return the folders that images named by path may lie in.

    Those that `input.path` names: a folder itself, the folder of a file, of a glob what
    stands before its first mark. Each is absolute, or a URL.
    """
    folders = []
    for item in [path] if isinstance(path, str) else path:
        fs, inner = filesystem(os.path.expanduser(item))
        inner = inner.rstrip("/") or "/"
        if not fs.isdir(inner):
            parts = posixpath.dirname(inner).split("/")
            fixed = next((n for n, part in enumerate(parts) if _magic(part)), None)
            inner = "/".join(parts[:fixed]) or "/"
        folders.append(_plain(fs.unstrip_protocol(inner)))
    return tuple(dict.fromkeys(folders))


def read_footers(
    paths: Sequence[str],
    *,
    kind: ShardFormat | None = None,
    skip_bad: bool = False,
    promote: bool = False,
) -> tuple[list[Shard], pa.Schema, list[tuple[str, str]]]:
    """Read every footer; return the shards, their one schema, and the bad files.

    kind: what reads them; None: what the first one's name says. promote: whether they
    may differ in width, nulls and missing columns, as `input.schema` says.
    Raises InputError on an unreadable file (unless `skip_bad`) and on a shard whose
    columns differ from the first one's, naming file and column.
    """
    root = common_root(paths)
    shards: list[Shard] = []
    bad: list[tuple[str, str]] = []
    schema: pa.Schema | None = None
    kind = kind or format_of(paths[0])
    for path in paths:
        try:
            footer = kind.footer(path)
        except InputError as error:
            if not skip_bad:
                raise
            bad.append((path, str(error)))
            continue
        _require_unique(footer.schema, path)
        if schema is None:
            schema, first = footer.schema, path
        else:
            # What is handed on line by line has rules of its own.
            merge = promoted if promote and not kind.carriers else kind.merged
            schema = merge(schema, first, footer.schema, path)
        shards.append(_shard(footer, path, root, kind.state(path)))
    if schema is None:
        raise InputError(f"input.path: none of the {len(paths)} files can be read")
    _require_fields(shards, schema)
    return shards, schema, bad


def _require_fields(shards: Sequence[Shard], schema: pa.Schema) -> None:
    """Raise InputError for lines none of which is an object: they have no columns."""
    if schema.names != [LINE]:
        return
    rows = sum(shard.rows for shard in shards)
    where = shards[0].path if len(shards) == 1 else f"the {len(shards)} files"
    if not rows:
        raise InputError(f"input.path: {where}: there is no line, so no sample")
    raise InputError(
        f"input.path: {where}: none of the first lines of {rows:,} is a JSON object; "
        'each line has to be one, as in {"uid": "1", "text": "…"}'
    )


def _require_unique(schema: pa.Schema, path: str) -> None:
    repeated = [n for n in schema.names if schema.names.count(n) > 1]
    if repeated:
        raise InputError(
            f"{path}: the column '{repeated[0]}' stands there twice; rename one of them"
        )


def _shard(footer: ShardFooter, path: str, root: str, state: str) -> Shard:
    if not state:
        raise InputError(f"input.path: {path} was removed while the pool was opened")
    size, _, changed = state.partition(":")
    parts = f"{size}:{changed}:{footer.rows}:{footer.mark}"
    name = posixpath.relpath(path, root)
    return Shard(name, path, footer.rows, int(size), fingerprint(parts), state)


def common_root(paths: Sequence[str]) -> str:
    """Return the deepest folder that all paths lie below."""
    root = posixpath.commonpath([posixpath.dirname(path) for path in paths])
    # commonpath folds the two slashes of a URL's scheme into one.
    return root.replace(":/", "://", 1) if "://" in paths[0] else root


def require_column(schema: pa.Schema, column: str, key: str) -> pa.Field:
    """Return the field named by `input.columns.<key>` or raise InputError."""
    if column not in schema.names:
        raise InputError(
            f"input.columns.{key}: the shards have no column '{column}'; "
            + column_hint(column, schema)
        )
    return schema.field(column)
