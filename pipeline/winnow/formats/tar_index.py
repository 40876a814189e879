"""Where a tar's members are: looked up once, kept in a cache, read by offset.

Samples are grouped as WebDataset groups them: a member's key is its name up to the
first dot after its last slash. Unlike there, members of a key need not stand together,
and one that comes again begins a further sample of its key.
"""

from __future__ import annotations

import os
import re
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.errors import InputError
from winnow.core.hashing import fingerprint
from winnow.core.inside import resolve_inside
from winnow.core.user_cache import user_cache
from winnow.formats.file_access import filesystem, state_of_file
from winnow.formats.img2dataset import failed_rows

#: Raised when an index would hold something else for the same tar.
_VERSION = 1
#: As WebDataset splits names.
_NAME = re.compile(r"((?:.*/|)[^./]+)[.]([^/]*)", re.DOTALL)
_BLOCK = 512
_POOL = "tar://pool"
#: What one value of Arrow holds.
_MOST_BYTES = 2**31 - 2
_REMEDY = (
    "it is probably truncated: copy it again, delete it, or set input.on_bad_shard=skip"
)

_MEMBERS = pa.schema(
    [
        ("sample", pa.int64()),
        ("name", pa.string()),
        ("ending", pa.dictionary(pa.int32(), pa.string())),
        ("offset", pa.int64()),
        ("size", pa.int64()),
    ]
)
_SAMPLES = pa.schema([("key", pa.string()), ("fault", pa.string())])


@dataclass(frozen=True)
class TarIndex:
    """The members of one tar, sorted by sample, and its samples.

    members: rows of _MEMBERS. samples: rows of _SAMPLES; a fault says why a sample
    cannot be read. first: of each sample, its first member; one more at the end.
    """

    members: pa.Table
    samples: pa.Table
    first: npt.NDArray[np.int64]

    @property
    def endings(self) -> list[str]:
        """All endings, sorted."""
        return sorted(self.members["ending"].unique().to_pylist())


def index_of(path: str) -> TarIndex:
    """Return a tar's index, from the cache if it is there.

    Raises InputError if the file is no tar, or not a whole one.
    """
    state = state_of_file(path)
    if not state:
        raise InputError(f"{path}: the file is gone; restore it")
    return _index(path, f"{state}:{failed_rows(path).state}")


@lru_cache(maxsize=4)
def _index(path: str, state: str) -> TarIndex:
    name = fingerprint(f"{_VERSION}:{path}:{state}")
    files = [_cache() / f"{name}.{part}.parquet" for part in ("members", "samples")]
    try:
        members, samples = (pq.read_table(file) for file in files)
    except (OSError, pa.ArrowException):
        members, samples = _made(path)
        for file, table in zip(files, (members, samples), strict=True):
            _keep(file, table)
    number = members["sample"].to_numpy()
    first = np.searchsorted(number, np.arange(len(samples) + 1))
    return TarIndex(members, samples, first.astype(np.int64))


def _cache() -> Path:
    """Return the folder of indexes."""
    return user_cache() / "tars"


def _keep(file: Path, table: pa.Table) -> None:
    """Write a part of an index whole or not at all; else it is made again."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, beside = tempfile.mkstemp(dir=file.parent)
        os.close(descriptor)
        pq.write_table(table, beside, compression="zstd")
        os.replace(beside, file)
    except OSError:
        return


@dataclass
class _Samples:
    """Samples as they come to be known, member by member."""

    number: dict[tuple[str, int], int] = field(default_factory=dict)
    times: Counter[tuple[str, str]] = field(default_factory=Counter)
    keys: list[str] = field(default_factory=list)
    faults: list[str | None] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(
        default_factory=lambda: {name: [] for name in _MEMBERS.names}
    )

    def add(self, member: tarfile.TarInfo) -> None:
        parts = _NAME.fullmatch(member.name)
        meta = member.name.startswith("__") and member.name.endswith("__")
        if member.isdir() or parts is None or meta:
            return
        key, ending = parts[1], parts[2].lower()
        repeat = self.times[key, ending]
        self.times[key, ending] += 1
        sample = self.number.setdefault((key, repeat), len(self.keys))
        if sample == len(self.keys):
            self.keys.append(key if _is_text(key) else repr(key))
            self.faults.append(None)
        self.faults[sample] = self.faults[sample] or _fault(member)
        name = member.name if _is_text(member.name) else repr(member.name)
        row = (sample, name, ending, member.offset_data, member.size)
        for column, value in zip(self.columns.values(), row, strict=True):
            column.append(value)


def _made(path: str) -> tuple[pa.Table, pa.Table]:
    """Read all headers of a tar."""
    known = _Samples()
    for member in _members(path):
        known.add(member)
    failed = failed_rows(path)
    members = pa.table(
        {n: pa.array(v, _MEMBERS.field(n).type) for n, v in known.columns.items()}
    )
    order = np.argsort(members["sample"].to_numpy(), kind="stable")
    samples = {"key": known.keys + failed.keys, "fault": known.faults + failed.reasons}
    return members.take(order), pa.table(samples, schema=_SAMPLES)


def _members(path: str) -> Iterator[tarfile.TarInfo]:
    fs, inner = filesystem(path)
    count, last = 0, ""
    try:
        with fs.open(inner, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                yield member
                count, last = count + 1, member.name
                # It keeps what it has read, for lookups that nobody makes here.
                tar.members.clear()  # type: ignore[attr-defined]
            # tarfile takes whatever is no header for the end.
            file.seek(tar.offset)
            rest = file.read(_BLOCK)
            if rest.strip(b"\x00"):
                raise tarfile.ReadError("no header where one has to be")
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        where = f"after {count:,} members ({last!r})" if count else "at its beginning"
        raise InputError(
            f"{path}: not a whole tar, broken {where}: {error}; {_REMEDY}"
        ) from error


def key_of(name: str) -> str:
    """Return the key of a member's name; '' if it has none."""
    parts = _NAME.fullmatch(name)
    return parts[1] if parts else ""


def _fault(member: tarfile.TarInfo) -> str | None:
    """Return why a member is not read, if there is a reason."""
    shown = member.name if _is_text(member.name) else repr(member.name)
    shown = shown[:200]
    if not _is_text(member.name):
        return f"tar_member_name_not_utf8: {shown}"
    if not member.isreg() or member.issparse():
        return f"tar_member_not_a_file: {shown} ({_kind(member)})"
    if _leads_out(member.name):
        return f"tar_member_outside: {shown}"
    if member.size > _MOST_BYTES:
        return f"tar_member_too_large: {shown} (2 GiB or more)"
    return None


def _kind(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return "a link"
    return "a sparse file" if member.issparse() else "a device or a pipe"


def _leads_out(name: str) -> bool:
    if not (name.startswith("/") or any(mark in name for mark in ("..", "\\", "%"))):
        return "\0" in name
    try:
        resolve_inside((_POOL,), _POOL, name)
    except ValueError:
        return True
    return False


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
