"""Values that datasketch 2.0 gave once, kept so that a later one is told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "minhash.json"


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    values: dict[str, Any] = json.loads(GOLDEN.read_text())
    return values
