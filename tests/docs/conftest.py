"""What the examples of the reference talk about: a pool, a run, a lake, an index."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

ROWS = 60
STEPS = ["exact", "embed", "cluster", "semantic", "score", "apply"]


@pytest.fixture(scope="session")
def reference_folder(
    tmp_path_factory: pytest.TempPathFactory,
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    make_picture: Callable[..., bytes],
) -> Path:
    """Return a folder with `pool/` of 60 rows and `lake/` of two tables, and others."""
    folder = tmp_path_factory.mktemp("reference")
    table = planted_table(ROWS)
    pictures = pa.array([make_picture(i // 2 * 2) for i in range(ROWS)])
    write_shards(folder / "pool", table.set_column(2, "image", pictures))
    held_out = planted_table(40, seed=1)
    unseen = pa.array([make_picture(i) for i in range(1000, 1040)])
    write_shards(folder / "held_out", held_out.set_column(2, "image", unseen))
    (folder / "lake").mkdir()
    whole = pa.table({"id": range(90), "name": [f"n{i % 7}" for i in range(90)]})
    pq.write_table(whole, folder / "lake" / "whole.parquet")
    pq.write_table(whole.slice(8, 70), folder / "lake" / "slice.parquet")
    pairs = pa.table(
        {
            "uid": table["uid"].slice(0, 30),
            "image": pictures.take(pa.array(range(0, ROWS, 2))),
            "text": [f"{table['text'][i].as_py()} {i}" for i in range(30)],
        }
    )
    write_shards(folder / "pairs", pairs)
    return folder


@pytest.fixture(scope="session")
def base_names(
    reference_folder: Path, vector_recipe: Callable[..., dict[str, Any]]
) -> dict[str, Any]:
    """Return the names that every example may use; runs what they stand for once."""
    import winnow

    recipe = vector_recipe("pool", "runs/first", STEPS)
    before = Path.cwd()
    os.chdir(reference_folder)
    try:
        (reference_folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        run = winnow.run(recipe).run
        winnow.scan("lake", "runs/lake")
        lake = winnow.open_lake("runs/lake")
        lake.plan(maintenance_per_table=1)
        settings = {"ngram": 1, "threshold": 0.5}
        texts = winnow.index("runs/first", "texts.index", set=settings)
        dropped = [r["uid"] for r in run.dropped([]) if r["step"] == "semantic"]
        kept = run.kept([])["uid"][0].as_py()
    finally:
        os.chdir(before)
    return {
        "FOLDER": reference_folder,
        "Path": Path,
        "winnow": winnow,
        "recipe": recipe,
        "run": run,
        "lake": lake,
        "texts": texts,
        "uid": dropped[0],
        "kept_uid": kept,
    }


@pytest.fixture(scope="session")
def filter_recipe() -> dict[str, Any]:
    """Return a recipe that trains a tiny filter on `pairs/`."""
    tiny = {
        "embed_dim": 16,
        "vision_cfg": {
            **{"image_size": 32, "layers": 1, "width": 32},
            **{"patch_size": 16, "head_width": 16},
        },
        "text_cfg": {
            **{"context_length": 16, "vocab_size": 49408},
            **{"width": 16, "heads": 2, "layers": 1},
        },
    }
    return {
        "flow": "filter_train",
        "data": [{"path": "pairs", "hold_out": {"fraction": 0.3}}],
        "model": {"architecture": tiny},
        "optimise": {"batch_size": 7, "epochs": 1, "precision": "float32"},
        "output": {"path": "filters/mine"},
    }


@pytest.fixture
def examples_of(
    base_names: dict[str, Any],
    filter_recipe: dict[str, Any],
    request: pytest.FixtureRequest,
) -> Callable[[str], dict[str, Any]]:
    """Return names(of) -> a fresh namespace for the example of a public name."""

    def names(of: str) -> dict[str, Any]:
        more: dict[str, Any] = {"filter_recipe": filter_recipe}
        if of in ("evaluate_filter", "compare_filters"):
            more["model"] = request.getfixturevalue("tiny_vit")
        return {**base_names, **more}

    return names
