"""Paths that data names: what lies inside the folders it may name, and nothing else.

Every path that comes out of a row, a table's log, an index or another file is resolved
here. A name is a path and never a URL with a syntax of its own: only a root that is a
URL makes its names parts of one.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from pathlib import PurePath
from urllib.parse import unquote

#: How a URL, or several chained ones, begins; a path with these further on is a path.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")
#: How a URL of this machine's own files begins.
_LOCAL = re.compile(r"^(file|local)://")


class OutsideError(ValueError):
    """A name leads out of the folders that it must stay in."""


def is_url(path: str) -> bool:
    """Whether a path given by the user is a URL rather than a place on this machine."""
    return _URL.match(path) is not None


def lies_in(path: str, folder: str) -> bool:
    """Whether a path is a folder, or below it.

    path, folder: as the user gives them, paths of this machine (links are followed) or
    URLs. Example: `lies_in("/lake/../lake/runs", "file:///lake")` is True.
    """
    return PurePath(_resolved(path)).is_relative_to(_resolved(folder))


def _resolved(path: str) -> str:
    path = _LOCAL.sub("", path, count=1)
    return path if is_url(path) else os.path.realpath(os.path.expanduser(path))


def resolve_inside(roots: Sequence[str], folder: str, name: str) -> str:
    """Return the path of `name` as seen from `folder`, if it is below one of `roots`.

    roots, folder: absolute paths of this machine, or URLs of one scheme. name: whatever
    data holds. On this machine links are followed before the comparison, and what comes
    back has none left; of a URL, dots are, in every form that a server may decode.

    Raises OutsideError, and ValueError for what no path holds (a NUL). Example:
    `resolve_inside(["/pool"], "/pool/a", "../b.jpg")` is `/pool/b.jpg`.
    """
    if "\0" in name:
        raise ValueError("a path holds no NUL")
    if is_url(folder):
        return _remote(roots, folder, name)
    # Not normalised before: `link/..` is where the link leads to.
    target = os.path.realpath(os.path.join(folder, name))
    for root in roots:
        if target.startswith(os.path.realpath(root).rstrip("/") + "/"):
            return target
    raise OutsideError(name)


def _remote(roots: Sequence[str], folder: str, name: str) -> str:
    scheme, separator, base = folder.rpartition("://")
    scheme += separator
    if name.startswith(scheme):
        target = name.removeprefix(scheme)
    elif is_url(name):
        raise OutsideError(name)
    else:
        target = posixpath.join(base, name)
    target = posixpath.normpath(target)
    below = [root.removeprefix(scheme) for root in roots if root.startswith(scheme)]
    for form in _forms(target):
        if not any(form.startswith(_plain(root) + "/") for root in below):
            raise OutsideError(name)
    return scheme + target


def _forms(path: str) -> list[str]:
    """Return what a server may take a path for: as it is, or decoded."""
    forms = []
    while True:
        forms += [_plain(path), _plain(path.replace("\\", "/"))]
        decoded = unquote(path)
        if decoded == path:
            return forms
        path = decoded


def _plain(path: str) -> str:
    # memory:///pool and memory://pool are one place.
    return posixpath.normpath(path).lstrip("/")
