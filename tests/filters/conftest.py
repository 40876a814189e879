"""Scenes with true captions for the packaged model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from winnow.demo import MODEL_FOLDER
from winnow.demo.captions import describe
from winnow.demo.drawing import jpeg, render
from winnow.demo.scenes import compose, generator

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
                "text": [captions[0] for captions in several],
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


@pytest.fixture(scope="session")
def other_model(
    save_checkpoint: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Return an untrained model, which knows nothing."""
    folder = tmp_path_factory.mktemp("models") / "untrained"
    shutil.copytree(save_checkpoint("vit").removeprefix("local-dir:"), folder)
    return f"local-dir:{folder}"


@pytest.fixture(scope="session")
def hostile_pool(
    scenes: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return 60 scenes, half of them with wrong captions, some with markup."""
    table = scenes(60, first=5000)
    texts = table["text"].to_pylist()
    texts[:30] = [*texts[1:30], texts[0]]
    markup = "<script>alert(1)</script>"
    # Some that a gallery shows, and one that stands three times.
    texts[24:36] = [f"{markup} {text}" for text in texts[24:36]]
    texts[57:] = [f"{markup} {texts[59]}"] * 3
    plain = table.drop_columns(["captions", "text"])
    folder = tmp_path_factory.mktemp("hostile") / "hostile"
    return write_shards(folder, plain.append_column("text", pa.array(texts)))
