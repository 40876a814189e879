"""What a Spark session shows of a run, what it is sent, and how it ends in errors."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
from winnow.core.errors import ConfigError, InputError, RunError
from winnow.engines.spark.frame import SparkFrame
from winnow.engines.spark.probe import require_seen
from winnow.engines.spark.relational_verbs import _bytes
from winnow.engines.spark.session import (
    SparkOptions,
    open_session,
    settings_of,
    translated,
)
from winnow.engines.spark.workers import see_gpu
from winnow.handles.engine import _is_small

from tests.cluster import QUICK_JAVA, ROOT, SparkCluster

TRACEBACK = """An exception was thrown from the worker: Traceback (most recent):
  File "worker.py", line 1, in main
winnow.core.errors.InputError: shard 7: no such column
in two lines

\tat org.apache.spark.api.python.BasePythonRunner.read(PythonRunner.scala:1)
"""


def test_an_error_is_found_in_a_workers_traceback() -> None:
    error = translated(TRACEBACK)
    assert isinstance(error, InputError)
    assert str(error) == "shard 7: no such column\nin two lines"
    assert translated("winnow.core.errors.Nothing: x") is None
    assert translated("ValueError: x") is None


def test_java_compiles_less_for_a_small_pool(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/x", "y"):
        (tmp_path / name).write_bytes(bytes(40))
    assert _is_small([str(tmp_path)])
    assert not _is_small([])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("winnow.handles.engine._SMALL", 80)
        assert not _is_small([str(tmp_path)])
        assert _is_small([str(tmp_path / "y")])
    java = "spark.driver.extraJavaOptions"
    small = SparkOptions(small=True, conf={"spark.x": "1"})
    quick = {java: "-XX:TieredStopAtLevel=1", "spark.x": "1"}
    assert settings_of(small, set()) == quick
    assert settings_of(small, {java}) == {"spark.x": "1"}
    given = SparkOptions(small=True, conf={java: "-Xss4m"})
    assert settings_of(given, set()) == {java: "-Xss4m"}
    assert settings_of(SparkOptions(), set()) == {}


def test_a_full_disk_is_told_in_one_sentence() -> None:
    error = translated("java.io.IOException: No space left on device\n\tat java.base")
    assert isinstance(error, RunError)
    assert "disk of the cluster is full" in str(error)
    assert "\n" not in str(error)


def test_a_session_keeps_its_own_settings(spark: Any) -> None:
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    session = open_session(SparkOptions(partitions=5, batch_rows=77, session=spark))
    assert session.conf.get("spark.sql.shuffle.partitions") == "5"
    assert session.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch") == "77"
    assert spark.conf.get("spark.sql.shuffle.partitions") == before
    assert session.conf.get("spark.sql.session.timeZone") == "Asia/Tokyo"
    spark.conf.unset("spark.sql.session.timeZone")
    assert session.sparkContext is spark.sparkContext


class FarContext:
    """A cluster whose one worker is this process, in another working directory."""

    master = "spark://far:7077"
    defaultParallelism = 2

    def __init__(self, unseen: Path | None = None) -> None:
        self.unseen = unseen

    def parallelize(self, numbers: range, parts: int) -> FarContext:
        return self

    def mapPartitions(self, look: Any) -> FarContext:
        self.look = look
        return self

    def collect(self) -> list[Any]:
        if self.unseen is not None:
            for file in self.unseen.glob(".seen-*"):
                file.unlink()
        return list(self.look(iter(range(2))))


def test_workers_are_asked_first_whether_they_see_run_and_pool(tmp_path: Path) -> None:
    run, other, pool = (tmp_path / name for name in ("run", "other", "pool"))
    pool.mkdir()
    require_seen(FarContext(), (run, other, run), [str(pool)])
    assert [list(folder.iterdir()) for folder in (run, other)] == [[], []]
    where = f"worker on {socket.gethostname()} does not see"
    with pytest.raises(RunError, match=f"{where} {other} as the driver does"):
        require_seen(FarContext(unseen=other), (run, other), [str(pool)])
    pool.rmdir()
    with pytest.raises(RunError, match=f"{where} {pool} as"):
        require_seen(FarContext(), (run,), [str(pool)])
    assert [list(folder.iterdir()) for folder in (run, other)] == [[], []]


def test_workers_are_asked_whether_they_can_read_a_pool_behind_a_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/seen/pool/a.parquet", b"")
    for url in ("memory://seen/pool", "memory://seen/pool/*.parquet"):
        require_seen(FarContext(), (tmp_path,), [url])
    with pytest.raises(RunError, match=r"cannot read memory://seen/none as .* there;"):
        require_seen(FarContext(), (tmp_path,), ["memory://seen/none"])

    def refuse(_: object, path: str) -> bool:
        raise PermissionError("no credentials\nand a long trace")

    monkeypatch.setattr(type(store), "exists", refuse)
    with pytest.raises(RunError, match="PermissionError: no credentials; workers need"):
        require_seen(FarContext(), (tmp_path,), ["memory://seen/pool"])


def test_a_session_of_spark_connect_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remote = type("SparkSession", (), {"__module__": "pyspark.sql.connect.session"})
    for options in (
        SparkOptions(session=remote()),
        SparkOptions(conf={"spark.remote": "sc://far"}),
    ):
        with pytest.raises(ConfigError, match="Spark Connect is not supported"):
            open_session(options)
    monkeypatch.setenv("SPARK_REMOTE", "sc://far")
    with pytest.raises(ConfigError, match="Spark Connect is not supported"):
        open_session(SparkOptions())


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *[("-1", -1), (None, -1), ("10485760", 10 * 2**20), ("10MB", 10 * 2**20)],
        *[("7b", 7), ("1k", 2**10), ("1t", 2**40), ("2tb", 2**41), ("1PB", 2**50)],
    ],
)
def test_sizes_are_read_as_spark_reads_them(text: str | None, size: int) -> None:
    assert _bytes(text) == size


def test_a_task_sees_its_own_gpu_until_a_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "all")
    see_gpu(())
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "all"
    see_gpu(["3"])
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    monkeypatch.setitem(sys.modules, "torch", sys)
    see_gpu(["1"])
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


@pytest.mark.slow
def test_the_history_server_names_the_steps(
    spark: Any,
    spark_cluster: SparkCluster,
    planted_pool: Path,
    vector_recipe: Any,
    tmp_path: Path,
) -> None:
    steps = ["embed", "random", "apply"]
    recipe = vector_recipe(planted_pool, tmp_path / "run", steps)
    result = winnow.run({**recipe, "engine": {"partitions": 2}}, spark=spark)
    # A worker's libraries alone take more.
    assert all(marker.peak_rss_mb > 50 for marker in result.steps)
    application = spark.sparkContext.applicationId
    groups: set[str] = set()
    for _ in range(120):
        groups = {job.get("jobGroup", "") for job in _jobs(spark_cluster, application)}
        if {f"winnow {step}" for step in ("index", *steps)} <= groups:
            return
        time.sleep(0.5)
    raise AssertionError(groups)


def _jobs(cluster: SparkCluster, application: str) -> Iterator[dict[str, Any]]:
    try:
        yield from cluster.ask(f"applications/{application}/jobs")
    except OSError:  # not yet in the server's list
        return


def test_frames_of_other_columns_do_not_unite(spark: Any, tmp_path: Path) -> None:
    from winnow.engines.spark.engine import SparkEngine

    engine = SparkEngine(tmp_path, SparkOptions(session=spark))
    one = engine.from_table(pa.table({"a": [1]}))
    other = engine.from_table(pa.table({"a": ["x"]}))
    with pytest.raises(ValueError, match="union of"):
        engine.union([one, other])


def test_only_a_small_side_of_a_join_is_sent_to_all(spark: Any, tmp_path: Path) -> None:
    from winnow.engines.spark.engine import SparkEngine

    pq.write_table(pa.table({"uid": ["a"]}), tmp_path / "left.parquet")
    pq.write_table(pa.table({"uid": ["a"], "x": [1]}), tmp_path / "right.parquet")
    options = SparkOptions(session=spark, driver_bytes=0)
    engine = SparkEngine(tmp_path / "scratch", options)
    left, small = (
        engine.scan(str(tmp_path / f"{n}.parquet")) for n in ("left", "right")
    )

    def plan(right: SparkFrame) -> str:
        joined = engine.join(left, right, "uid", "inner").data
        return str(joined._jdf.queryExecution().simpleString())

    assert "Broadcast" in plan(small)
    # Spark itself would take both for 8 bytes: the number of the part to be read.
    for size in (2**30, None):
        assert "Broadcast" not in plan(dataclasses.replace(small, bytes=size))


JOB = """
from winnow.engines.spark.session import SparkOptions, open_session

names = ["spark.executor.memory", "spark.executor.memoryOverhead"]
options = SparkOptions(conf=dict.fromkeys(names, "2g"))
settings = open_session(options).sparkContext.getConf()
print("found", *(settings.get(name) for name in names))
"""


@pytest.mark.slow
def test_what_spark_submit_is_given_stays(java: None, tmp_path: Path) -> None:
    job = tmp_path / "job.py"
    job.write_text(JOB)
    command = [str(Path(sys.executable).with_name("spark-submit"))]
    command += ["--master", "local[1]", "--conf", "spark.ui.enabled=false"]
    command += ["--conf", "spark.executor.memory=1g", str(job)]
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith("PYSPARK_GATEWAY")},
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "JDK_JAVA_OPTIONS": QUICK_JAVA,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert "found 1g 2g" in done.stdout, done.stderr
