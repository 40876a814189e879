"""`notebooks/execute.py`, which saves the notebooks, as tests call it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"


def execute(name: str, folder: Path) -> Any:
    """Return a notebook that ran in `folder`/notebooks, as it would be saved."""
    spec = importlib.util.spec_from_file_location("execute", FOLDER / "execute.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.executed(name, folder)
