"""Files outside of what a case may touch: none is read, none is written.

Two watchers: an audit hook sees what Python opens, renames, links and removes; what
C++ opens (Arrow, DuckDB, polars) is seen by the time of last access of the canaries,
on file systems that keep it.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import winnow

#: Of ours, so that nothing that a case may read says it by chance.
SECRET = b"a canary beside the pool"
_LONG_AGO = 1_000_000_000 * 10**9
#: Events of changes: where their paths stand, and the descriptors these start from.
_CHANGES: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((0, 2), (1, 3)),
    "os.symlink": ((1, 2),),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.chmod": ((0, 2),),
    "os.truncate": ((0, None),),
    "os.utime": ((0, None),),
}
#: What Python and libraries look into by themselves.
_SYSTEM = ("/dev/", "/proc/", "/sys/", "/usr/", "/lib", "/etc/localtime")
_SYSTEM += ("/etc/mime.types", "/etc/ssl", "/etc/fonts", "/etc/timezone")


class OutsideError(AssertionError):
    """Something outside was touched."""


class Canaries:
    """Files with known bytes and times beside the folder that cases may use."""

    def __init__(self, scratch: Path, ground: Path) -> None:
        self.folder = scratch / "outside"
        self.folder.mkdir()
        self.touched: list[str] = []
        self._ground = f"{ground}/"
        self._watching = False
        texts = pa.table({"uid": ["canary"], "text": [SECRET.decode()]})
        pq.write_table(texts, self.folder / "secret.parquet")
        for name in ("secret", "secret.csv", "secret.jpg", "secret.jsonl", "o.yaml"):
            (self.folder / name).write_bytes(SECRET)
        self.files = sorted(self.folder.iterdir())
        self._bytes = {file: file.read_bytes() for file in self.files}
        # The product may read itself, and what it is written in.
        code = {Path(p).parent for p in (winnow.__file__, __file__, os.__file__)}
        code |= {Path(sys.prefix), Path(sys.base_prefix)}
        code |= {Path(sysconfig.get_path("purelib")), Path(pq.__file__).parents[1]}
        recipes = Path(winnow.__file__).parents[2] / "conf"
        self._readable = tuple(f"{part}/" for part in (*code, recipes)) + _SYSTEM
        self._set_times()
        self.sees_reads = self._probe()
        sys.addaudithook(self._hook)

    def _probe(self) -> bool:
        """Whether this file system notes that a file was read."""
        self.files[0].read_bytes()
        noted = self.files[0].stat().st_atime_ns != _LONG_AGO
        self._set_times()
        return noted

    def _set_times(self) -> None:
        for file in self.files:
            os.utime(file, ns=(_LONG_AGO, _LONG_AGO))

    def _hook(self, event: str, values: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event == "open":
            flags = values[2] if isinstance(values[2], int) else 0
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            # A bare name is seen from a folder's descriptor, which the event lacks.
            if writes or os.sep in os.fsdecode(
                values[0] if _is_path(values[0]) else ""
            ):
                self._note(event, values[:1], writes=writes)
        elif event in _CHANGES:
            self._note(event, _absolute(event, values), writes=True)

    def _note(self, event: str, values: Iterable[Any], *, writes: bool) -> None:
        for value in values:
            if not _is_path(value):
                continue
            path = os.path.abspath(os.fsdecode(os.fspath(value)).partition("\0")[0])
            # A link is followed by whoever opens it.
            real = os.path.realpath(path) if event == "open" else path
            if f"{real}/".startswith(self._ground):
                continue
            if writes and real.startswith(("/dev/null", "/proc/", "/dev/shm")):
                continue
            if (
                "/__pycache__/" in f"{real}/"
            ):  # code that Python and numba have compiled
                continue
            if not writes and real.startswith(self._readable):
                continue
            self.touched.append(f"{event} {path}")

    def __enter__(self) -> Canaries:
        self.touched.clear()
        self._watching = True
        return self

    def __exit__(self, *_: object) -> None:
        self._watching = False

    def require_untouched(self, *, contents: bool = False) -> None:
        """Raise OutsideError if anything outside was opened, read or changed.

        contents: whether the canaries' bytes are compared, too.
        """
        read = [file for file in self.files if _times(file) != (_LONG_AGO, _LONG_AGO)]
        if contents:
            changed = {f for f in self.files if f.read_bytes() != self._bytes[f]}
            there = sorted(self.folder.iterdir()) == self.files
            self._set_times()
            if changed or not there:
                raise OutsideError(f"changed: {changed or 'the folder'}")
        if read or self.touched:
            self._set_times()
            raise OutsideError(f"read: {read}; opened: {self.touched[:5]}")


def _is_path(value: Any) -> bool:
    return isinstance(value, str | bytes | os.PathLike)


def _absolute(event: str, values: tuple[Any, ...]) -> list[str]:
    """Return the paths of a change, seen from folders given by descriptors."""
    paths = []
    for position, start in _CHANGES[event]:
        if not _is_path(values[position]):
            continue
        path = os.fsdecode(os.fspath(values[position]))
        folder = -1 if start is None else values[start]
        if isinstance(folder, int) and folder >= 0:
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
        paths.append(path)
    return paths


def _times(file: Path) -> tuple[int, int]:
    state = file.stat()
    return state.st_atime_ns, state.st_mtime_ns


def keep_scratch_below(ground: Path) -> None:
    """Have scratch files of this process below a folder, so that they are allowed."""
    for name in ("tmp", "home"):
        (ground / name).mkdir(parents=True)
    os.environ.update(TMPDIR=str(ground / "tmp"), HOME=str(ground / "home"))
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "HF_HOME"):
        os.environ[name] = str(ground / "home" / name.lower())
    tempfile.tempdir = str(ground / "tmp")
