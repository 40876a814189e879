"""Second names of files, which are as good as copies where nothing writes in place."""

from __future__ import annotations

import os
import shutil


def link(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Give a file a second name, or copy it where the file system knows no links.

    Files of a run are never written in place, so that links are as good as copies.
    """
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
