"""The files of a lake, on a local disk or behind an fsspec URL."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from operator import itemgetter
from typing import Any, NamedTuple

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from winnow.core.errors import InputError
from winnow.core.operating_system import read_ahead
from winnow.core.parquet_footer import column_chunks, footer_bytes

#: Read from a file's end at once: a footer seldom is longer.
_FOOTER_BYTES = 1 << 16
#: Local files up to this size are read by the thread that asks: to wake another, as
#: reading ahead does, takes longer (1 ms against .1, and 10 on a busy machine).
_SMALL_FILE = 4 * 2**20
#: The stored bytes of a dictionary up to which texts are read by it.
_DICTIONARY_BYTES = 2**20
#: What makes a URL, or several chained ones, of a path.
_URL = re.compile("://|::")
_DISK = LocalFileSystem()


class Entry(NamedTuple):
    """A file, or a place below the root that cannot be looked into."""

    #: Below the root, with `/`.
    name: str
    path: str
    bytes: int = 0
    modified: float = 0.0
    #: Changes when the file does, as far as a listing can tell.
    version: str = ""
    #: Why it is not to be read: a link, a folder without permission.
    reason: str | None = None
    #: A folder, which is listed only where it cannot be looked into.
    is_folder: bool = False


@dataclass
class Folder:
    """A folder below the root, and what lies in it."""

    #: Below the root, with `/`; empty for the root itself.
    name: str
    files: list[Entry] = field(default_factory=list)
    folders: dict[str, Folder] = field(default_factory=dict)

    def below(self) -> Iterator[Entry]:
        """Yield every file at any depth."""
        yield from self.files
        for folder in self.folders.values():
            yield from folder.below()

    def everything(self) -> tuple[Entry, ...]:
        """Return every file at any depth, sorted by name."""
        return tuple(sorted(self.below()))

    @cached_property
    def digest(self) -> str:
        """What changes when a file, or a name, in it does; not what lies deeper."""
        told = [f"{e.name}\0{e.version}\0{e.reason}" for e in self.files]
        text = "\1".join([*sorted(told), *sorted(self.folders)])
        state = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16)
        return state.hexdigest()


def tree(entries: Iterable[Entry]) -> Folder:
    """Return the folders that some files lie in."""
    root = folder = Folder("")
    folders = {"": root}
    for entry in entries:
        path = entry.name.rpartition("/")[0]
        if path != folder.name:  # mostly it is that of the file before
            folder = folders.get(path) or _added(folders, path)
        folder.files.append(entry)
    return root


def _added(folders: dict[str, Folder], path: str) -> Folder:
    """Return a folder that is not there yet, put below those above it."""
    folder = folders[path] = Folder(path)
    above, _, name = path.rpartition("/")
    outer = folders.get(above) or _added(folders, above)
    outer.folders[name] = folder
    return folder


@dataclass(frozen=True)
class Files:
    """Opens and lists files; pickles to any worker."""

    #: Passed to fsspec (endpoint, keys, …).
    storage_options: Mapping[str, Any] = field(default_factory=dict)

    def filesystem(self, path: str) -> tuple[Any, str]:
        """Return the file system of a path or URL, and the path inside it."""
        # What fsspec would say, too, but at length.
        if path.startswith("/") and not (self.storage_options or _URL.search(path)):
            return _DISK, path.rstrip("/") or "/"
        fs, inner = fsspec.url_to_fs(path, **self.storage_options)
        return fs, inner

    def is_local(self, path: str) -> bool:
        """Whether a path is on this machine's disk."""
        return isinstance(self.filesystem(path)[0], LocalFileSystem)

    @contextmanager
    def parquet(
        self, path: str, coded: Collection[str] = ()
    ) -> Iterator[pq.ParquetFile]:
        """Open a Parquet file; a remote one is read in ranges.

        coded: columns that come as dictionaries where their texts are stored so.

        Raises OSError or an Arrow error if it is not a whole Parquet file.
        """
        with self.parquet_source(path) as (source, file):
            texts = _stored_coded(source, file, coded)
            if not texts:
                yield file
                return
            ahead = _reads_ahead(source)
            known = {"metadata": file.metadata, "read_dictionary": texts}
            with _parquet(source, ahead, **known) as again:
                yield again

    @contextmanager
    def parquet_source(self, path: str) -> Iterator[tuple[Any, pq.ParquetFile]]:
        """Open a Parquet file as `parquet` does; yield its bytes, too."""
        fs, inner = self.filesystem(path)
        # Opened here: a path costs Parquet's reader a search for its file system.
        opened = (
            _on_disk(inner)
            if isinstance(fs, LocalFileSystem)
            else fs.open(inner, "rb", block_size=_FOOTER_BYTES)
        )
        with opened as source, _parquet(source, _reads_ahead(source)) as file:
            yield source, file

    def expect(self, entry: Entry) -> None:
        """Have a local file's footer read from the disk meanwhile; others can wait."""
        if entry.reason is None and self.is_local(entry.path):
            start = max(0, entry.bytes - _FOOTER_BYTES)
            read_ahead(entry.path, start, _FOOTER_BYTES)

    def listed(self, root: str) -> list[Entry]:
        """Return every file below a folder, sorted by name; or the file itself.

        Links are listed and not followed: a table that is a link to another is no copy
        of it. Raises InputError if there is nothing of that name.
        """
        fs, inner = self.filesystem(root)
        if isinstance(fs, LocalFileSystem):
            entries = _local(inner)
        else:
            entries = _remote(fs, inner)
        if not entries and not fs.exists(inner):
            raise InputError(
                f"{root}: there is no such file or folder; set input.path to the lake"
            )
        # A name stands there once; to compare whole entries takes five times as long.
        return sorted(entries, key=itemgetter(0))


class _ParquetFile(pq.ParquetFile):  # type: ignore[misc]
    """A Parquet file whose columns' paths are gone through once rows are read.

    Of most files that are opened only the footer is asked.
    """

    def _build_nested_paths(self) -> Mapping[str, list[int]]:
        return _Paths(super()._build_nested_paths)


class _Paths(Mapping[str, list[int]]):
    """The columns below each path, worked out when one is asked for."""

    def __init__(self, build: Callable[[], Mapping[str, list[int]]]) -> None:
        self._build = build

    @cached_property
    def _columns(self) -> Mapping[str, list[int]]:
        return self._build()

    def __getitem__(self, path: str) -> list[int]:
        return self._columns[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def _on_disk(path: str) -> Any:
    """Open a local file; one that is no longer than a footer may be is read at once."""
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= _FOOTER_BYTES:
            return pa.BufferReader(file.read(size))
    return pa.OSFile(path)


def _reads_ahead(source: Any) -> bool:
    """Whether what is asked of a file is read by other threads meanwhile."""
    is_local = isinstance(source, pa.OSFile | pa.BufferReader)
    return not is_local or source.size() > _SMALL_FILE


def _parquet(source: Any, ahead: bool, **options: Any) -> pq.ParquetFile:
    return _ParquetFile(
        source, pre_buffer=ahead, page_checksum_verification=True, **options
    )


def _stored_coded(
    source: Any, file: pq.ParquetFile, columns: Collection[str]
) -> list[str]:
    """Return which columns of texts begin, in every row group, with a dictionary.

    One that is larger than others' writers make them is left out: it would come anew
    with each batch of rows.
    """
    if not columns:
        return []
    schema, wanted = file.metadata.schema, set(columns)
    groups = column_chunks(footer_bytes(source))
    leaves = (schema.column(number) for number in range(len(schema)))
    return [
        leaf.path
        for number, leaf in enumerate(leaves)
        if leaf.physical_type == "BYTE_ARRAY"
        and leaf.path in wanted
        and all(0 < group[number].dictionary <= _DICTIONARY_BYTES for group in groups)
    ]


def _local(root: str) -> list[Entry]:
    if os.path.isfile(root):
        return [_of_stat(os.path.basename(root), root, os.stat(root))]
    entries: list[Entry] = []
    folders = [("", root)]
    while folders:
        prefix, folder = folders.pop()
        try:
            with os.scandir(folder) as scan:
                children = list(scan)
        except FileNotFoundError:
            continue
        except OSError as error:
            reason = f"the folder cannot be read ({error.strerror})"
            name = prefix.rstrip("/")
            entries.append(Entry(name, folder, reason=reason, is_folder=True))
            continue
        for child in children:
            name = prefix + child.name
            if child.is_dir(follow_symlinks=False):
                folders.append((name + "/", child.path))
                continue
            told = child.stat(follow_symlinks=False)
            if stat.S_ISREG(told.st_mode):
                entries.append(_of_stat(name, child.path, told))
            elif stat.S_ISLNK(told.st_mode):
                reason = f"a link to {os.readlink(child.path)}; links are not followed"
                is_folder = child.is_dir()
                entries.append(
                    Entry(name, child.path, reason=reason, is_folder=is_folder)
                )
    return entries


def _of_stat(name: str, path: str, told: os.stat_result) -> Entry:
    # Another file put in its place may have its size and its time.
    version = f"{told.st_size}:{told.st_mtime_ns}:{told.st_ino}"
    return Entry(name, path, told.st_size, told.st_mtime, version)


def _remote(fs: Any, root: str) -> list[Entry]:
    root = root.rstrip("/")
    listing = fs.find(root, detail=True)
    if list(listing) == [root]:
        root = fs._parent(root)
    return [
        _of_listing(path.removeprefix(root).lstrip("/"), fs, info)
        for path, info in listing.items()
        # Object stores show a folder as an empty object.
        if not path.endswith("/") and info.get("type") != "directory"
    ]


def _of_listing(name: str, fs: Any, info: Mapping[str, Any]) -> Entry:
    changed = next(
        (info[key] for key in _CHANGED if info.get(key) is not None),
        None,
    )
    modified = (
        changed.timestamp()
        if isinstance(changed, datetime)
        else float(changed)
        if isinstance(changed, int | float)
        else 0.0
    )
    size = int(info.get("size") or 0)
    version = f"{size}:{info.get('ETag') or info.get('etag') or changed}"
    return Entry(name, fs.unstrip_protocol(info["name"]), size, modified, version)


# What fsspec's file systems call the time of the last change.
_CHANGED = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")
