"""Fixtures of a file are made once, though several processes share the tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def test_files_stay_together(request: pytest.FixtureRequest) -> None:
    if not hasattr(request.config, "workerinput"):
        pytest.skip("one process runs all tests; `make test` shares them among two")
    assert request.node.nodeid.endswith(f"@{request.path}")


@pytest.mark.slow
def test_fixtures_of_a_folder_are_found_in_any_order_of_files() -> None:
    names = ("compare/test_sketch_pass", "test_lake_texts", "compare/test_partial")
    files = [f"tests/lake/{name}.py" for name in names]
    command = [sys.executable, "-m", "pytest", "-n", "0", "--setup-plan", *files]
    told = subprocess.run(
        command, cwd=TESTS.parent, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout
