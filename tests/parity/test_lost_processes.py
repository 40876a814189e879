"""A worker or the driver killed at work: the same result, or the same command goes on.

Drivers are commands of their own, started by `winnow submit`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import winnow
import yaml
from winnow.config.recipes import load
from winnow.demo.run import prepare_demo

from tests.cluster import Role, SparkCluster
from tests.parity.comparison import assert_same

pytestmark = pytest.mark.slow

Demo = tuple[Path, Path]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Return a recipe over 600 scenes in small shards, and the local run."""
    folder = tmp_path_factory.mktemp("demo")
    recipe = prepare_demo(folder, 600, 0)
    values = yaml.safe_load(recipe.read_text())
    values["output"] = {"report": False}
    recipe.write_text(yaml.safe_dump(values))
    winnow.run(load(recipe, (), str(folder / "local")))
    return recipe, folder / "local"


def submitted(cluster: SparkCluster, recipe: Path, out: Path) -> list[str]:
    winnow = [sys.executable, "-m", "winnow", "submit", str(recipe)]
    conf = {
        "spark.executor.memory": "1g",
        "spark.executor.memoryOverhead": "384m",
        "spark.driver.memory": "512m",
        "spark.ui.enabled": "false",
    }
    words = [*winnow, "--master", cluster.url, "--out", str(out)]
    words += ["--set", "engine.partitions=6"]
    for name, value in conf.items():
        words += ["--spark-conf", f"{name}={value}"]
    return words


def wait_for_step(driver: Role, run: Path, step: str) -> None:
    """Return once a step is at work."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        if (run / ".work" / step).is_dir():
            return
        assert driver.process.poll() is None, driver.log.read_text()
        time.sleep(0.1)
    raise AssertionError(f"no {step} in 600 s:\n{driver.log.read_text()}")


def finished(driver: Role) -> None:
    assert driver.process.wait(900) == 0, driver.log.read_text()


@pytest.mark.parametrize(
    "step", ["embed", pytest.param("semantic", marks=pytest.mark.soak)]
)
def test_a_worker_killed_at_work_changes_nothing(
    step: str,
    make_cluster: Callable[..., SparkCluster],
    demo: Demo,
    tmp_path: Path,
):
    recipe, local = demo
    cluster = make_cluster()
    out = tmp_path / "run"
    driver = cluster.start_driver(submitted(cluster, recipe, out))
    wait_for_step(driver, out, step)
    time.sleep(1)
    cluster.kill_worker()
    finished(driver)
    assert_same(local, out)
    cluster.close()


def test_a_killed_driver_goes_on_where_it_was(
    make_cluster: Callable[..., SparkCluster], demo: Demo, tmp_path: Path
):
    recipe, local = demo
    cluster = make_cluster()
    out = tmp_path / "run"
    driver = cluster.start_driver(submitted(cluster, recipe, out))
    wait_for_step(driver, out, "semantic")
    os.killpg(driver.process.pid, signal.SIGKILL)
    driver.process.wait()
    assert not (out / "manifest.json").exists()
    again = cluster.start_driver(submitted(cluster, recipe, out))
    finished(again)
    told = again.log.read_text()
    assert "embed" in told
    assert_same(local, out)
    cluster.close()
