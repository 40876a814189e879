"""Folders with a marker, written last, that knows the files beside it."""

from __future__ import annotations

import json
from pathlib import Path

from winnow.core.integrity import damage, seals, take_check, with_check
from winnow.core.saved_files import DamagedError, read_json

_MARKER, _FILES = "done.json", "files"


def seal_folder(folder: Path) -> None:
    """Write the marker of a folder whose other files are all there."""
    sealed = with_check({_FILES: seals(folder, [folder])})
    (folder / _MARKER).write_text(json.dumps(sealed), encoding="utf-8")


def folder_fault(folder: Path) -> str:
    """Return what of a sealed folder is not as it was written; '' if nothing is."""
    marker = folder / _MARKER
    try:
        said = read_json(marker, "")
    except DamagedError as error:
        return str(error).removesuffix("; ")
    return damage(folder, said[_FILES]) if take_check(said) else f"{marker} is damaged"
