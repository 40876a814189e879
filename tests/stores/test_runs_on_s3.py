"""Runs on an S3 server (moto's, on loopback), published and killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow as api
from winnow.core.errors import ConfigError

from tests.s3_server import s3_server

pytestmark = pytest.mark.slow

URL = "s3://winnow-runs/runs/first"
#: Publishes an update, and is killed where it comes to an object.
KILLED = """
import os, signal, sys
import winnow
from winnow.stores.run_store import RunStore

publish, path = RunStore.publish, RunStore._path

def killed(self, *names):
    if names[-1] == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)
    return path(self, *names)

def published(self, folder, base):
    RunStore._path = killed
    return publish(self, folder, base)

RunStore.publish = published
winnow.run(sys.argv[1], {"random.keep_count": 7})
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with s3_server("winnow-runs") as files:
        yield files


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / "cache"))
    texts = [f"the text number {i % 30} of a pool" for i in range(40)]
    table = pa.table({"uid": [f"{i:02d}" for i in range(40)], "text": texts})
    pq.write_table(table, tmp_path / "pool.parquet")
    file = tmp_path / "recipe.yaml"
    file.write_text(
        f"input: {{path: {tmp_path}/pool.parquet, columns: {{image: null}}}}\n"
        f"output: {{path: {URL}, report: false}}\n"
        "steps: [exact, random, apply]\n"
        "exact: {by: [caption]}\n"
        "random: {keep_count: 20}\n"
    )
    return file


def test_a_run_on_s3_stands_whole_wherever_its_update_is_killed(
    s3: Any, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert api.run(recipe).kept == 20
    seen = []
    # The second of these comes up where old versions are removed.
    for kill in ("manifest.json", "versions"):
        cache = {**os.environ, "WINNOW_CACHE": str(tmp_path / "writer")}
        words = [sys.executable, "-c", KILLED, str(recipe), kill]
        ended = subprocess.run(words, env=cache, capture_output=True, check=False)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert len(s3.ls("winnow-runs/runs/first/versions", refresh=True)) == 2
        monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / f"reader{kill}"))
        seen.append(len(api.open(URL).kept(["text"]).arrow()))
    assert seen == [20, 7]
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / "writer"))
    assert api.run(recipe, {"random.keep_count": 7}).ran == []
    assert len(s3.ls("winnow-runs/runs/first/versions", refresh=True)) == 1


def test_spark_makes_the_same_run_and_its_driver_publishes_it(
    s3: Any, recipe: Path, tmp_path: Path, spark: Any
):
    here = api.run(recipe, {"output.path": "s3://winnow-runs/here"})
    there = api.run(
        recipe,
        {
            "output.path": "s3://winnow-runs/spark",
            "engine.scratch": str(tmp_path / "seen"),
        },
        spark=spark,
    )
    assert (here.kept, there.kept) == (20, 20)
    fates = [run.run.fates().polars().sort("uid") for run in (here, there)]
    assert fates[0].equals(fates[1])


def test_a_bucket_or_credentials_that_are_not_there_are_one_line_before_any_work(
    s3: Any, recipe: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(ConfigError, match="cannot be written to") as error:
        api.run(recipe, {"output.path": "s3://no-such-bucket/run"})
    assert "no-such-bucket" not in [b.split("/")[0] for b in s3.ls("", refresh=True)]
    assert len(str(error.value).splitlines()) == 1
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    type(s3).clear_instance_cache()
    with pytest.raises(ConfigError, match=r"Unable to locate credentials|Forbidden"):
        api.run(recipe)
    type(s3).clear_instance_cache()
