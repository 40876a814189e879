"""Images that a shard names by path instead of holding their bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Any

from winnow.core.inside import OutsideError, is_url, resolve_inside
from winnow.core.operating_system import open_plainly
from winnow.formats.file_access import filesystem

#: What a column of Arrow holds in one value.
_MOST_BYTES = 2**31 - 2
#: Of a path in a reason.
_SHOWN = 200


def read_image(
    roots: Sequence[str], folder: str, path: str
) -> tuple[bytes | None, str | None]:
    """Return the bytes of the file at `path`, relative to `folder`, or the reason.

    A path is untrusted input: it may name regular files below `roots` only, also
    through symbolic links. Reasons: image_path_outside_pool, image_file_unreadable.
    """
    try:
        target = resolve_inside(roots, folder, path)
        if is_url(target):
            fs, _ = filesystem(folder)
            with fs.open(_inner(fs, folder, target), "rb") as file:
                return file.read(), None
        return _read_local(target), None
    except OutsideError:
        return None, f"image_path_outside_pool: {_shown(path)}"
    # ValueError: a NUL in the path; RecursionError: a chain of a thousand links.
    except (OSError, ValueError, RecursionError) as error:
        why = type(error).__name__
        return None, f"image_file_unreadable: {_shown(path)} ({why})"


def _inner(fs: Any, folder: str, target: str) -> str:
    """Return a target as the file system of `folder` calls it, parsed no further."""
    outer, chained, _ = folder.rpartition("://")[0].rpartition("::")
    inner: str = fs._strip_protocol(target.removeprefix(outer + chained))
    return inner


def _read_local(path: str) -> bytes:
    descriptor = open_plainly(path)
    with open(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise OSError("not a regular file")
        if state.st_size > _MOST_BYTES:
            raise OSError("2 GiB or more")
        return file.read()


def _shown(path: str) -> str:
    return path if len(path) <= _SHOWN else path[:_SHOWN] + "…"
