"""Runs whose products a device makes: the decisions of those without one.

The processor stands in for the GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from winnow.algorithms.dedup import cluster
from winnow.core.errors import ConfigError
from winnow.engines.local import LocalEngine
from winnow.models import torch_device
from winnow.models.torch_device import STAND_IN, TorchDevice, device_of
from winnow.steps import device_choice, semantic_pool

Winnow = Callable[..., Any]
Write = Callable[..., Path]
STEPS = ["embed", "cluster", "semantic"]


@pytest.fixture
def tiles(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Count the device's tiles, clusters of any size being worth them."""
    torch_device._opened.cache_clear()
    monkeypatch.setenv(STAND_IN, "cpu")
    monkeypatch.setattr(cluster, "DEVICE_FROM", 1)
    made: list[int] = []
    original = TorchDevice._tile

    def tile(self: TorchDevice, *given: Any) -> Any:
        made.append(1)
        return original(self, *given)

    monkeypatch.setattr(TorchDevice, "_tile", tile)
    yield made
    torch_device._opened.cache_clear()


@pytest.fixture(scope="module")
def pool(
    tmp_path_factory: pytest.TempPathFactory,
    planted_table: Callable[..., pa.Table],
    write_shards: Write,
) -> Path:
    return write_shards(tmp_path_factory.mktemp("pool"), planted_table(700, seed=4))


@pytest.mark.parametrize("scope", ["cluster", "pool", "groups"])
@pytest.mark.parametrize("semantics", ["greedy", "reference", "components"])
def test_a_device_changes_no_decision(
    winnow: Winnow,
    pool: Path,
    tmp_path: Path,
    tiles: list[int],
    monkeypatch: pytest.MonkeyPatch,
    semantics: str,
    scope: str,
) -> None:
    if scope == "groups":
        monkeypatch.setattr(semantic_pool, "WHOLE_ROWS", 0)
    sections = {
        "cluster": {"k": 6},
        "semantic": {
            "epsilon": 0.05,
            "semantics": semantics,
            "scope": "cluster" if scope == "cluster" else "pool",
        },
    }
    plain = winnow(pool, tmp_path / "a", STEPS, engine={"device": "cpu"}, **sections)
    assert not tiles
    ours = winnow(pool, tmp_path / "b", STEPS, engine={"device": "cuda"}, **sections)
    assert len(tiles) > 10
    assert plain.ledger("semantic") == ours.ledger("semantic")
    assert 50 < len(ours.kept("semantic")) < 650
    for step, name, key in (
        ("cluster", "clusters", "uid"),
        ("semantic", "neighbours", "uid"),
    ):
        tables = [run.artifact(step, name).sort_by(key) for run in (plain, ours)]
        assert tables[0].equals(tables[1])
    centroids = [
        np.load(run.path / "artifacts" / "cluster" / "centroids.npy")
        for run in (plain, ours)
    ]
    np.testing.assert_allclose(*centroids, atol=1e-6)


def test_a_device_that_is_not_there_is_named_and_auto_goes_on(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch_device._opened.cache_clear()
    monkeypatch.delenv(STAND_IN, raising=False)
    monkeypatch.setattr(torch_device, "_may_have_gpu", lambda: False)
    steps = ["embed", "cluster"]
    with pytest.raises(ConfigError, match=r"engine\.device: cuda, but"):
        winnow(planted_pool, tmp_path / "r", steps, engine={"device": "cuda"})
    monkeypatch.setattr(device_choice, "WORTH_ROWS", 0)
    winnow(planted_pool, tmp_path / "r", steps, engine={"device": "auto"})


def test_few_rows_are_not_worth_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = {
        (choice, rows): device_choice.kernels_choice(
            LocalEngine(tmp_path, device=choice), rows
        )
        for choice in ("auto", "cpu", "cuda")
        for rows in (100, 10**6)
    }
    assert choices["auto", 100] == choices["cpu", 10**6] == "cpu"
    assert choices["auto", 10**6] == "auto"
    assert choices["cuda", 100] == "cuda"
    assert device_of("cpu") is None


def test_the_driver_of_a_cluster_may_be_without_a_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device_choice, "device_of", lambda choice: choice)

    class Far:
        name, device = "spark", "cuda"

    engine: Any = Far()
    assert device_choice.drivers_device(engine, 5) == "auto"
    assert device_choice.kernels_choice(engine, 5) == "cuda"
