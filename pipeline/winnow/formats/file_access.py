"""The file system of a path: this machine's own unless the path begins as a URL."""

from __future__ import annotations

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
    except (ImportError, ValueError) as error:
        raise InputError(f"{path}: cannot be reached: {_why(error)}") from error
    return fs, inner


def _why(error: Exception) -> str:
    known = ", ".join(["s3://", "gs://", "az://", "http://"])
    return f"{str(error).strip()} (of URLs, {known} and others of fsspec are read)"


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
    changed = info.get("mtime") or info.get("ETag") or info.get("LastModified")
    return f"{int(info['size'])}:{changed}"
