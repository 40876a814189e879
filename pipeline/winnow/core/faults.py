"""What systems and libraries raise on bad input or a bad machine, in one sentence.

Whoever knows more (which row, which column) says it where it happens; this is the last
resort of the command line, so that no user is shown a traceback.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
import traceback
import zlib
from pathlib import Path
from typing import NamedTuple


class Told(NamedTuple):
    """A sentence for the user, and the exit code of the command."""

    text: str
    exit_code: int


#: Of packages that reach object stores and other machines.
_REMOTE = {
    "adlfs",
    "aiobotocore",
    "aiohttp",
    "azure",
    "botocore",
    "gcsfs",
    "google",
    "s3fs",
}
_DATA = {"duckdb", "_duckdb", "polars", "pyarrow"}
#: How Python says which error of the system it was.
_NUMBER = re.compile(r"\[Errno (\d+)\]")
#: How Rust does.
_RUST_NUMBER = re.compile(r"\(os error (\d+)\)")
#: How numpy says that a file took less than it was given.
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
_AGAIN = "and give the same command again"
_REMEDIES = {
    errno.ENOSPC: f"the disk is full, or out of inodes: free some of it, {_AGAIN}",
    errno.EDQUOT: f"your quota is used up: free some of it, {_AGAIN}",
    errno.EROFS: "its file system is read-only: choose another place",
    errno.EACCES: "this user may not: change its rights, or choose another place",
    errno.EPERM: "this user may not: change its rights, or choose another place",
    errno.ENAMETOOLONG: "the name is too long for the file system: shorten it",
    errno.ENOENT: f"there is no such file or folder: if it was, restore it, {_AGAIN}",
    errno.ENOTDIR: "a part of the path is a file, not a folder: correct it",
    errno.EISDIR: "it is a folder, not a file: correct the path",
    errno.ELOOP: "its links lead round in a circle: correct them",
    errno.EMFILE: f"too many files are open: raise the limit (ulimit -n), {_AGAIN}",
    errno.ENFILE: f"too many files are open on this machine: close some, {_AGAIN}",
    errno.EIO: "the disk cannot be read or written there: copy the file elsewhere",
    errno.ESTALE: f"the network's file system lost it: mount it again, {_AGAIN}",
}


def in_words(error: BaseException) -> Told | None:
    """Return what to say of an error that is no defect of Winnow's; None: it is one.

    Example: `in_words(OSError(28, "No space left on device", "/out/x"))` is a sentence
    that names /out/x, and exit code 3.
    """
    if isinstance(error, MemoryError):  # Arrow's own is one, too
        return Told("out of memory: give it more, or lower the batch sizes", 1)
    room = type(error).__module__.partition(".")[0]
    if room in _REMOTE:
        why = _line(error)
        return Told(
            f"the object store cannot be used: {why}; are its address, its bucket "
            "and its credentials (in the environment) right?",
            3,
        )
    system = _system_error(error)
    if system is not None:
        return Told(_of_system(system), 3)
    if room in _DATA or isinstance(error, zlib.error | EOFError):
        return Told(f"a file cannot be read: {_line(error)}; restore or remove it", 3)
    if isinstance(error, UnicodeDecodeError | json.JSONDecodeError):
        return Told(f"a file is damaged: {_line(error)}; restore or remove it", 3)
    return None


def unexpected(error: BaseException, log: Path | None = None) -> Told:
    """Return what to say of a defect; its traceback is left in a file.

    log: the file that it stands in already.
    """
    name = type(error).__name__
    if log is not None:
        told = f"unexpected {name}: {_line(error)}; please report this, with {log}"
        return Told(told, 1)
    text = "".join(traceback.format_exception(error))
    try:
        number, file = tempfile.mkstemp(prefix="winnow-error-", suffix=".txt")
        with os.fdopen(number, "w", encoding="utf-8", errors="replace") as out:
            out.write(text)
        where = f", with {file}"
    except OSError:
        where = ""
    return Told(f"unexpected {name}: {_line(error)}; please report this{where}", 1)


def _system_error(error: BaseException) -> OSError | None:
    """Return what the system said, also where a library says it in its own way."""
    rust = _RUST_NUMBER.search(str(error))
    if rust and not isinstance(error, OSError):
        return OSError(int(rust[1]), os.strerror(int(rust[1])))
    if not isinstance(error, OSError):
        return None
    if _SHORT_WRITE.fullmatch(str(error)):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    faults = error.args[0] if isinstance(error, shutil.Error) and error.args else ""
    if not (isinstance(faults, list) and faults):
        return error
    # A folder that could not be copied: the first of its faults.
    first, *_ = faults
    target, why = (str(part) for part in tuple(first)[-2:])
    number = _NUMBER.search(why)
    return (
        OSError(int(number[1]), why, target) if number else OSError(f"{target}: {why}")
    )


def _of_system(error: OSError) -> str:
    names = [
        str(name) for name in (error.filename, error.filename2) if name is not None
    ]
    where = " → ".join(names)
    what = _REMEDIES.get(error.errno or 0)
    if what is None or not where:
        known = f" ({what})" if what else ""
        what = f"{error.strerror or _line(error)}{known}"
    return f"{where}: {what}" if where else what


def _line(error: BaseException) -> str:
    """Return an error's first line, cut."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
