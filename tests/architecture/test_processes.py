"""Fixtures of a file are made once, though several processes share the tests."""

from __future__ import annotations

import pytest


def test_files_stay_together(request: pytest.FixtureRequest) -> None:
    if not hasattr(request.config, "workerinput"):
        pytest.skip("one process runs all tests; `make test` shares them among two")
    assert request.node.nodeid.endswith(f"@{request.path}")
