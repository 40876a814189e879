"""Same rows, same recipe, same decisions, whatever the shards and their order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

Winnow = Callable[..., Any]
Write = Callable[..., Path]

STEPS = [
    "exact",
    "rules",
    "embed",
    "cluster",
    "semantic",
    "score",
    "cluster",
    "complexity",
    "prototypes",
    "uniform",
    "random",
    "apply",
]
GENTLE = {
    "exact": {"by": ["caption", "image_bytes"]},
    "cluster": {"k": 5, "train_rows": 60},
    "semantic": {"order": "random"},
    "score": {"keep_fraction": 0.9, "method": "neg_clip_loss", "batch": 30},
    "complexity": {"keep_fraction": 0.9, "keep": "random"},
    "prototypes": {"keep_fraction": 0.9},
    "uniform": {"keep_fraction": 0.9},
}
ROWS = 300


@pytest.fixture(scope="module")
def reference(
    winnow: Winnow,
    planted_table: Callable[..., pa.Table],
    write_shards: Write,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    folder = tmp_path_factory.mktemp("reference")
    pool = write_shards(folder / "p", planted_table(ROWS), 100)
    run = winnow(pool, folder / "r", STEPS, **GENTLE)
    assert run.result.kept > 20
    return run


def assert_same_decisions(run: Any, reference: Any) -> None:
    for step in ("embed", "cluster", "cluster_2"):
        name = "vectors" if step == "embed" else "clusters"
        ours, theirs = (r.artifact(step, name).sort_by("uid") for r in (run, reference))
        assert ours.equals(theirs), step
    for part in sorted((reference.path / "ledger").iterdir()):
        step = part.name.removeprefix("step=")
        assert run.ledger_table(step).equals(reference.ledger_table(step)), step
    ours, theirs = (r.output().sort_by("uid") for r in (run, reference))
    assert ours.equals(theirs)
    subsets = [np.load(r.path / "subset.npy") for r in (run, reference)]
    np.testing.assert_array_equal(*subsets)


@pytest.mark.parametrize(
    ("seed", "shard_rows", "group_rows"),
    [
        (1, 41, 17),
        pytest.param(2, 300, 300, marks=pytest.mark.slow),
        pytest.param(3, 7, 3, marks=pytest.mark.slow),
    ],
)
def test_other_shards_and_another_order_of_rows(
    winnow: Winnow,
    planted_table: Callable[..., pa.Table],
    write_shards: Write,
    reference: Any,
    tmp_path: Path,
    seed: int,
    shard_rows: int,
    group_rows: int,
):
    table = planted_table(ROWS)
    order = np.random.default_rng(seed).permutation(ROWS)
    pool = write_shards(tmp_path / "p", table.take(order), shard_rows, group_rows)
    assert_same_decisions(winnow(pool, tmp_path / "r", STEPS, **GENTLE), reference)


def test_groups_that_go_through_the_disk(
    planted_table: Callable[..., pa.Table],
    write_shards: Write,
    vector_recipe: Callable[..., dict],
    read_run: Callable[..., Any],
    reference: Any,
    tmp_path: Path,
):
    from winnow.config.run import parse
    from winnow.engines.local import LocalEngine
    from winnow.flows import runner

    pool = write_shards(tmp_path / "p", planted_table(ROWS))
    config = parse(vector_recipe(pool, tmp_path / "r", STEPS, **GENTLE))
    result = runner.run(config, lambda _, scratch: LocalEngine(scratch, 900))
    assert_same_decisions(read_run(tmp_path / "r", result), reference)


def test_the_same_run_elsewhere_is_equal_byte_for_byte(
    winnow: Winnow,
    planted_table: Callable[..., pa.Table],
    write_shards: Write,
    reference: Any,
    tmp_path: Path,
):
    pool = write_shards(tmp_path / "p", planted_table(ROWS), 100)
    run = winnow(pool, tmp_path / "r", STEPS, **GENTLE)
    ours, theirs = run.files(), reference.files()
    assert set(ours) == set(theirs)
    timed = ("done.json", "steps.parquet", "config.lock.yaml", "manifest.json")
    different = [n for n in ours if ours[n] != theirs[n] and not n.endswith(timed)]
    assert different == []
