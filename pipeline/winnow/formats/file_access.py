"""The file system of a path: this machine's own unless the path begins as a URL."""

from __future__ import annotations

import os
import posixpath
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from winnow.core.errors import InputError
from winnow.core.inside import is_url

_DISK = LocalFileSystem()


def filesystem(path: str) -> tuple[Any, str]:
    """Return the file system of a path or URL, and the path inside it.

    A file may be called `a::b` or lie in a folder `x:`; fsspec would take that for a
    chain of URLs, so it is asked only about what begins as one.

    Raises InputError for a URL of no known kind, or whose package is not installed.
    """
    if not is_url(path):
        return _DISK, _DISK._strip_protocol(path)
    try:
        fs, inner = fsspec.url_to_fs(path)
    # OSError: a library that is not there, as Hadoop's; TypeError: an address or a
    # secret that this kind of store cannot do without.
    except (ImportError, OSError, TypeError, ValueError) as error:
        raise InputError(f"{path}: cannot be reached: {_why(error)}") from error
    return fs, inner


def _why(error: Exception) -> str:
    known = ", ".join(["s3://", "gs://", "az://", "http://"])
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{lines[0]} (of URLs, {known} and others of fsspec are known)"


def is_local(fs: Any) -> bool:
    """Whether a file system is this machine's disk."""
    return isinstance(fs, LocalFileSystem)


def state_of_file(path: str, *, fresh: bool = False) -> str:
    """Return `size:time` of a file as it is now; '' if it is gone.

    fresh: whether to forget what a file system behind a URL has listed so far.
    """
    fs, inner = filesystem(path)
    if fresh:
        fs.invalidate_cache(posixpath.dirname(inner))
    try:
        info = fs.info(inner)
    except OSError:
        return ""
    return f"{int(info['size'])}:{_changed(info)}"


def files_below(fs: Any, folder: str) -> list[str]:
    """Return all files below a folder, hidden ones too, sorted."""
    return sorted(_local_files(folder) if is_local(fs) else fs.find(folder))


def sizes_below(fs: Any, folder: str) -> dict[str, tuple[int, str]]:
    """Return size and time of each file below a folder, by its path below it.

    Neither a file nor a folder that begins with `.` or `_` counts.
    """
    if is_local(fs):
        known = {file: os.stat(file) for file in _local_files(folder)}
        states = {f: (s.st_size, str(s.st_mtime_ns)) for f, s in known.items()}
    else:
        listed = fs.find(folder, detail=True)
        states = {f: (int(i["size"]), _changed(i)) for f, i in listed.items()}
    below = {file[len(folder) :].lstrip("/"): state for file, state in states.items()}
    return {
        name: state
        for name, state in below.items()
        if not any(part.startswith((".", "_")) for part in name.split("/"))
    }


def _local_files(root: str) -> list[str]:
    """Return all files below a folder, also through links, each folder once."""
    files: list[str] = []
    # Linked folders last: one that leads to a folder of the pool adds nothing to it.
    folders, linked, seen = [root], list[str](), set[str]()
    while folders or linked:
        folder = folders.pop() if folders else linked.pop(0)
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if not entry.is_dir():
                    files.append(entry.path)
                elif entry.is_symlink():
                    linked.append(entry.path)
                else:
                    folders.append(entry.path)
    return files


def _changed(info: dict[str, Any]) -> str:
    return str(info.get("mtime") or info.get("ETag") or info.get("LastModified"))
