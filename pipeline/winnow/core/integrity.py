"""Lengths and checksums of the files of a run: what is read is what was written."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import xxhash

#: Length in bytes and checksum of a file.
Seal = list[int | str]
_DIGEST_BYTES = 16
# Tells a checksum by XXH3 from one by BLAKE2b, as runs and indexes had them before.
_XXH3 = "xxh3_"
_CHECK = "check"


def seals(root: Path, below: Iterable[Path]) -> dict[str, Seal]:
    """Return length and checksum of files, and of all files in folders, by their path.

    root: folder that the paths of the answer are relative to.
    below: files and folders in it; what is not there has no seal.
    """
    return {
        file.relative_to(root).as_posix(): [file.stat().st_size, checksum(file)]
        for part in below
        for file in _files(part)
    }


def damage(root: Path, sealed: Mapping[str, Seal], *, contents: bool = True) -> str:
    """Return what is wrong with the first file that is not as it was; '' if all are.

    contents: whether to read the files; their lengths alone are compared otherwise.
    """
    for name, (size, digest) in sealed.items():
        file = root / name
        try:
            length = file.stat().st_size
            if length != size:
                return f"{file} has {length:,} bytes instead of {size:,}"
            if contents and not is_unchanged(file, str(digest)):
                return f"the contents of {file} are not those that were written"
        except FileNotFoundError:
            return f"{file} is gone"
        except OSError as error:
            return f"{file} cannot be read: {error.strerror}"
    return ""


def checksum(file: Path) -> str:
    """Return a checksum of a file against damage: XXH3 of 128 bits.

    It finds damage as surely as a cryptographic one, in a tenth of the time; somebody
    who means to could write a file of the same checksum (`content_digest`: could not).
    """
    with file.open("rb") as opened:
        return checksum_of(opened)


def checksum_of(opened: Any) -> str:
    """Return the `checksum` of a file that is open for reading, on any file system."""
    state: Any = hashlib.file_digest(opened, xxhash.xxh3_128)
    return f"{_XXH3}{state.hexdigest()}"


def is_unchanged(file: Path, digest: str) -> bool:
    """Whether a file's checksum is the given one, of this or an earlier version."""
    made = checksum if digest.startswith(_XXH3) else content_digest
    return made(file) == digest


def content_digest(file: Path) -> str:
    """Return the BLAKE2b digest of a file, which stands for its contents."""
    with file.open("rb") as opened:
        state = hashlib.file_digest(
            opened, lambda: hashlib.blake2b(digest_size=_DIGEST_BYTES)
        )
    return state.hexdigest()


def text_checksum(text: str) -> str:
    """Return the BLAKE2b checksum of a text."""
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def with_check(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a JSON file is to hold, with a checksum of it all as `check`."""
    plain = json.loads(json.dumps(values))
    return {**plain, _CHECK: _check(plain)}


def take_check(values: dict[str, Any]) -> bool:
    """Remove `check` from what a JSON file held; return whether it fits the rest."""
    return bool(values.pop(_CHECK, None) == _check(values))


def _check(values: Mapping[str, Any]) -> str:
    return text_checksum(json.dumps(values, sort_keys=True))


def _files(part: Path) -> Iterable[Path]:
    if part.is_dir():
        return sorted(file for file in part.rglob("*") if file.is_file())
    return [part] if os.path.exists(part) else []
