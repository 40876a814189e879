"""Images that a shard names by path instead of holding their bytes."""

from __future__ import annotations

import os
import posixpath

import fsspec


def read_image(root: str, folder: str, path: str) -> tuple[bytes | None, str | None]:
    """Return the bytes of the file at `path`, relative to `folder`, or the reason.

    A path is untrusted input: it may name files below `root` only, also through
    symbolic links. Reasons: image_path_outside_pool, image_file_unreadable.
    """
    try:
        target = _joined(folder, path)
        if not _real(target).startswith(_real(root).rstrip("/") + "/"):
            return None, f"image_path_outside_pool: {path}"
        with fsspec.open(target, "rb") as file:
            return file.read(), None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        return None, f"image_file_unreadable: {path} ({type(error).__name__})"


def _joined(folder: str, path: str) -> str:
    if "://" in path:
        return path
    scheme, separator, place = folder.rpartition("://")
    return scheme + separator + posixpath.normpath(posixpath.join(place, path))


def _real(path: str) -> str:
    """Return a path that prefixes can be compared of."""
    scheme, separator, place = path.rpartition("://")
    if separator:
        # memory:///pool and memory://pool are one place.
        return scheme + separator + posixpath.normpath(place).lstrip("/")
    return os.path.realpath(path)
