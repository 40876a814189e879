"""What a trained filter's folder says of its files, and whether they are still so.

    FILTER/manifest.json   how it was trained, length and checksum of each file below,
                           and a checksum of itself; written last

A model from elsewhere has no such manifest, and is taken as it is; so is a filter of a
version that kept no checksums.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from winnow.core.integrity import damage, seals, take_check, with_check
from winnow.core.saved_files import DamagedError

MANIFEST = "manifest.json"
_FILES = "files"
#: What tells our manifest from a file of that name which others wrote.
_OURS = {"result", "recipe"}
_REMEDY = (
    "restore it, or have the same `winnow filter train` make it again; a folder that "
    "was changed on purpose is taken as it is without its manifest.json"
)


def sealed_manifest(folder: Path, values: Mapping[str, Any], names: list[str]) -> str:
    """Return a manifest as JSON that knows the files of these names as they are."""
    files = seals(folder, [folder / name for name in names])
    return json.dumps(with_check({**values, _FILES: files}), indent=1) + "\n"


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what a trained filter's manifest holds; nothing if there is none.

    Raises DamagedError if it is not what was written.
    """
    file = folder / MANIFEST
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedError(f"{file} is damaged ({error}); {_REMEDY}") from error
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{file} is damaged ({error}); {_REMEDY}") from error
    if not (isinstance(values, dict) and _OURS & values.keys()):
        return {}
    sealed = "check" in values or _FILES in values
    if not take_check(values) and sealed:
        raise DamagedError(f"{file} is damaged (its checksum differs); {_REMEDY}")
    return values


def require_as_trained(folder: Path, names: Iterable[str] = ()) -> None:
    """Raise DamagedError if a file of a trained filter is not what was written.

    folder: of a filter, or of anything else, which is taken as it is.
    names: files to look at; empty: all that the manifest knows.
    """
    known = read_manifest(folder).get(_FILES, {})
    wanted = set(names) or known.keys()
    fault = damage(folder, {n: seal for n, seal in known.items() if n in wanted})
    if fault:
        raise DamagedError(f"{fault}; {_REMEDY}")


def require_file_as_trained(file: Path) -> None:
    """Raise DamagedError for a file that a filter beside it knows to be otherwise."""
    require_as_trained(file.parent, [file.name])
