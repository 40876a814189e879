"""What a driver sends: its own code and its models, on workers that have others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from winnow.core.errors import ConfigError
from winnow.core.shipped import local_copy, shipped_name
from winnow.engines.spark.archives import pack_code, pack_path
from winnow.engines.spark.shipping import ship_path

from tests.cluster import SparkCluster

# Every worker of the cluster has another package by the name of ours on its path.
DRIVER = """
import json, sys
from pathlib import Path
import winnow
from pyspark.sql import SparkSession
from winnow.core.errors import RunError
from winnow.engines.spark.shipping import ship_code, ship_path

FOLDER, MODEL = sys.argv[1:]

def look(_):
    import numpy as np
    import winnow
    from winnow.algorithms.cosine import exact_cosine
    from winnow.core.shipped import local_copy
    from winnow.models.checkpoint import load_checkpoint

    ones = np.ones(4)
    yield {
        "package": winnow.__file__,
        "kernel": exact_cosine(ones, 4.0, ones, 4.0, np.empty(4)),
        "file": (local_copy(FOLDER) / "one" / "two.txt").read_text(),
        "read": str(local_copy(MODEL)),
        "dim": load_checkpoint(f"local-dir:{MODEL}", None).dim,
    }

spark = SparkSession.builder.getOrCreate()
ship_code(spark)
ship_code(spark)
for path in sys.argv[1:]:
    ship_path(spark, path)
found = spark.sparkContext.parallelize(range(4), 4).mapPartitions(look).collect()
Path(sys.argv[1], "one", "two.txt").write_text("changed")
try:
    ship_path(spark, sys.argv[1])
    changed = ""
except RunError as error:
    changed = str(error)
import winnow.config.recipes as here
print(json.dumps({"driver": here.__file__, "workers": found, "changed": changed}))
spark.stop()
"""


@pytest.mark.slow
def test_workers_run_the_drivers_code_and_find_its_files(
    spark_cluster: SparkCluster, tmp_path: Path
) -> None:
    from winnow.demo import MODEL_FOLDER

    sent = tmp_path / "sent"
    (sent / "one").mkdir(parents=True)
    (sent / "one" / "two.txt").write_text("two")
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    # The driver's own folders are not the workers': what they read was sent.
    model = tmp_path / "model"
    model.symlink_to(MODEL_FOLDER)
    done = spark_cluster.submit(script, str(sent), str(model))
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    for worker in said["workers"]:
        assert "winnow-code-" in worker["package"]
        assert worker["file"] == "two"
        assert worker["dim"] == 128
        assert worker["kernel"] == pytest.approx(1.0)
        assert worker["read"].startswith(shipped_name(model))
    assert ".zip" not in said["driver"]
    assert "changed since this Spark session" in said["changed"]


def test_the_same_code_makes_the_same_archive(tmp_path: Path) -> None:
    first, second = pack_code(tmp_path / "a"), pack_code(tmp_path / "b")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        names = archive.namelist()
    assert "winnow/steps/semantic.py" in names
    assert all(name.endswith(".py") for name in names)


def test_files_and_folders_travel_under_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"weights")
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "config.json").write_text("{}")
    worker = tmp_path / "worker"
    for path in (weights, folder):
        archive = pack_path(path, tmp_path / "archive.zip")
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(worker / shipped_name(path))
    assert local_copy(weights) == weights
    monkeypatch.chdir(worker)
    assert local_copy(weights) != weights
    assert local_copy(weights).read_bytes() == b"weights"
    assert (local_copy(folder) / "deep" / "config.json").read_text() == "{}"


KERNEL = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from winnow.algorithms.cosine import exact_cosine

ones = np.ones(4)
exact_cosine(ones, 4.0, ones, 4.0, np.empty(4))
stats = exact_cosine.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


@pytest.mark.slow
def test_kernels_of_an_archive_are_compiled_once(tmp_path: Path) -> None:
    archive = pack_code(tmp_path)

    def ran(home: Path) -> str:
        env = {**os.environ, "HOME": str(home), "PYTHONPATH": ""}
        env.pop("XDG_CACHE_HOME", None)
        command = [sys.executable, "-c", KERNEL, str(archive)]
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert ran(tmp_path / "home") == "0 1"
    assert ran(tmp_path / "home") == "1 0"
    # Another session finds the same archive in another place.
    (tmp_path / "elsewhere").mkdir()
    archive = archive.rename(tmp_path / "elsewhere" / archive.name)
    assert ran(tmp_path / "home") == "1 0"
    # A container's user may have no home: nothing is kept, and nothing fails.
    assert ran(archive) == "0 1"


def test_what_is_not_there_is_not_sent(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or folder"):
        ship_path(None, str(tmp_path / "nothing"))  # type: ignore[arg-type]
