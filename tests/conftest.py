"""Fixtures that the whole suite shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real inputs beside the checkout, or skip."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("WINNOW_SHARED", beside))
    if not (folder / "data").is_dir():
        pytest.skip(f"no data in {folder}; set WINNOW_SHARED to the folder of inputs")
    return folder
