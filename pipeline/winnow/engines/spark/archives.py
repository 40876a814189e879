"""Archives that travel to a cluster's workers: this package, folders and files.

The same content makes the same archive, byte for byte.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

#: This package, as it is installed here.
PACKAGE = Path(__file__).resolve().parents[2]
# The oldest time that a zip archive can hold.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def pack_code(folder: str | os.PathLike[str], source: Path = PACKAGE) -> Path:
    """Write a package's modules, as installed here, to a zip in `folder`.

    source: the package's folder, or the file of a module alone; this package's if it is
    not given. The archive's name holds the content's digest, so that two versions never
    take each other's place in one session. Returns the archive's path.
    """
    files = sorted(source.rglob("*.py")) if source.is_dir() else [source]
    inner = digest(files, source.parent)[:16]
    archive = Path(folder) / f"{source.stem}-code-{inner}.zip"
    return _pack(files, source.parent, archive, zipfile.ZIP_DEFLATED)


def pack_path(source: Path, archive: Path) -> Path:
    """Write a file, or all files of a folder, to a zip at `archive`, below its name.

    Weights, the most of it, do not compress.
    """
    return _pack(files_of(source), source.parent, archive, zipfile.ZIP_STORED)


def files_of(source: Path) -> list[Path]:
    """Return a file itself, or the files below a folder in order."""
    if source.is_file():
        return [source]
    return sorted(file for file in source.rglob("*") if file.is_file())


def digest(files: Iterable[Path], root: Path) -> str:
    """Return a digest of the files' names and contents."""
    total = hashlib.sha256()
    for file in files:
        name = file.relative_to(root).as_posix()
        with file.open("rb") as content:
            inner = hashlib.file_digest(content, "sha256").hexdigest()
        total.update(f"{name}\0{inner}\n".encode())
    return total.hexdigest()


def _pack(files: Iterable[Path], root: Path, target: Path, how: int) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    with zipfile.ZipFile(beside, "w", how) as archive:
        for file in files:
            name = zipfile.ZipInfo(file.relative_to(root).as_posix(), _NO_TIME)
            name.compress_type = how
            name.external_attr = 0o644 << 16
            with file.open("rb") as content, archive.open(name, "w") as packed:
                while block := content.read(1 << 20):
                    packed.write(block)
    beside.replace(target)
    return target
