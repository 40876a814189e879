"""Folders and files that a driver sent along to the workers of a cluster.

A worker looks for one where the driver has it only if none was sent: another
machine's may hold something else.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def shipped_name(path: str | os.PathLike[str]) -> str:
    """Return the name under which a folder or file of the driver travels."""
    full = os.path.abspath(path)
    return f"winnow-sent-{hashlib.sha256(full.encode()).hexdigest()[:16]}"


def local_copy(path: str | os.PathLike[str]) -> Path:
    """Return where a folder or file of the driver is on this machine.

    Spark unpacks what is sent in the working directory of its Python workers. Anywhere
    else, the driver included, the path itself is returned.
    """
    sent = Path(shipped_name(path), Path(path).name)
    return sent if sent.exists() else Path(path)
