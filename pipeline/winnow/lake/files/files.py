"""The files of a lake, on a local disk or behind an fsspec URL."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from winnow.core.errors import InputError
from winnow.core.operating_system import read_ahead

#: Read from a remote file's end at once: a footer seldom is longer.
_FOOTER_BYTES = 1 << 16
#: Local files up to this size are read by the thread that asks: to wake another, as
#: reading ahead does, takes longer (1 ms against .1, and 10 on a busy machine).
_SMALL_FILE = 4 * 2**20
#: What makes a URL, or several chained ones, of a path.
_URL = re.compile("://|::")
#: Nonce and tag of AES GCM.
_SIGNATURE = 28
_DISK = LocalFileSystem()


@dataclass(frozen=True, slots=True)
class Entry:
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
    def parquet(self, path: str) -> Iterator[pq.ParquetFile]:
        """Open a Parquet file; a remote one is read in ranges.

        Raises OSError or an Arrow error if it is not a whole Parquet file.
        """
        fs, inner = self.filesystem(path)
        if isinstance(fs, LocalFileSystem):
            # Opened here: a path costs Parquet's reader a search for its file system.
            with (
                pa.OSFile(inner) as source,
                pq.ParquetFile(
                    source,
                    pre_buffer=source.size() > _SMALL_FILE,
                    page_checksum_verification=True,
                ) as file,
            ):
                _refuse_encrypted(source, file)
                yield file
            return
        with (
            fs.open(inner, "rb", block_size=_FOOTER_BYTES) as source,
            pq.ParquetFile(
                source, pre_buffer=True, page_checksum_verification=True
            ) as file,
        ):
            _refuse_encrypted(source, file)
            yield file

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
        return sorted(entries, key=lambda entry: entry.name)


def _refuse_encrypted(source: Any, file: pq.ParquetFile) -> None:
    """Raise ValueError for a signed footer, of a file with encrypted columns.

    To ask for such a column's metadata would end the whole process. A signature of 28
    bytes stands behind what the footer says.
    """
    source.seek(-8, os.SEEK_END)
    length = int.from_bytes(source.read(4), "little")
    if length - file.metadata.serialized_size == _SIGNATURE:
        raise ValueError("its columns are encrypted; Winnow has no keys")


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
            if child.is_symlink():
                reason = f"a link to {os.readlink(child.path)}; links are not followed"
                is_folder = child.is_dir()
                entries.append(
                    Entry(name, child.path, reason=reason, is_folder=is_folder)
                )
            elif child.is_dir():
                folders.append((name + "/", child.path))
            elif child.is_file():
                entries.append(_of_stat(name, child.path, child.stat()))
    return entries


def _of_stat(name: str, path: str, stat: os.stat_result) -> Entry:
    # Another file put in its place may have its size and its time.
    version = f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}"
    return Entry(name, path, stat.st_size, stat.st_mtime, version)


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
