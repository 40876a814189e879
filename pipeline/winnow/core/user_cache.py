"""The folder of what may be made, or fetched, again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path:
    """Return the folder of what is kept for later: $WINNOW_CACHE, else the user's.

    Nothing in it is the only copy of anything. Example: `/home/ada/.cache/winnow`.
    """
    given = os.environ.get("WINNOW_CACHE")
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(given or f"{user}/winnow").expanduser()
