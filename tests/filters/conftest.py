"""Scenes with true captions for the packaged model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.demo import MODEL_FOLDER
from pipeline.demo.captions import describe
from pipeline.demo.drawing import jpeg, render
from pipeline.demo.scenes import compose, generator
from tests.conftest import hex_uid

SEED = 4_242


@pytest.fixture(scope="session")
def demo_model() -> str:
    return f"local-dir:{MODEL_FOLDER}"


@pytest.fixture(scope="session")
def scenes() -> Callable[..., pa.Table]:
    """Return make(rows, first=0): uid, image, two true captions, text, kind."""

    def make(rows: int, first: int = 0) -> pa.Table:
        numbers = range(first, first + rows)
        several = [
            [describe(compose(SEED, i), generator("say", i, n)) for n in range(2)]
            for i in numbers
        ]
        return pa.table(
            {
                "uid": [hex_uid(i) for i in numbers],
                "image": [jpeg(render(compose(SEED, i))) for i in numbers],
                "captions": several,
                "text": [own[0] for own in several],
                "kind": [["even", "odd"][i % 2] for i in numbers],
            }
        )

    return make


@pytest.fixture(scope="session")
def scene_pool(
    tmp_path_factory: pytest.TempPathFactory,
    scenes: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
) -> Path:
    """Return 90 scenes in three shards."""
    return write_shards(tmp_path_factory.mktemp("scenes") / "scenes", scenes(90), 40)
