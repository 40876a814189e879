"""The cluster of docker/spark.sh: it runs jobs, loses workers, keeps its history."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import START, SparkCluster

COUNT = """
import time
from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("count").getOrCreate()
# A job this small may be over before the second executor has called.
known = spark.sparkContext._jsc.sc().getExecutorMemoryStatus
end = time.monotonic() + 60
while known().size() < 3 and time.monotonic() < end:
    time.sleep(0.2)
spark.sparkContext.setJobDescription("count the numbers")
print("sum", spark.range(1000).repartition(4).rdd.map(lambda row: row.id).sum())
spark.stop()
"""


def started(
    arguments: list[str], env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(START), *arguments], env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_job_runs_beside_a_lost_worker_and_its_history_is_served(
    spark_cluster: SparkCluster, tmp_path: Path
) -> None:
    # First the new one: else a session of another test may take both free cores of
    # the worker that stays, and there is one worker left for this job.
    spark_cluster.add_worker()
    spark_cluster.kill_worker()
    script = tmp_path / "count.py"
    script.write_text(COUNT)
    done = spark_cluster.submit(script)
    assert done.returncode == 0, done.stderr
    assert "sum 499500" in done.stdout
    application = next(
        app for app in spark_cluster.ask("applications") if app["name"] == "count"
    )
    jobs = spark_cluster.ask(f"applications/{application['id']}/jobs")
    assert {job.get("description") for job in jobs} == {"count the numbers"}
    executors = spark_cluster.ask(f"applications/{application['id']}/allexecutors")
    assert len(executors) == 3  # the driver and both workers, of which one is new


def test_without_java_the_script_says_what_to_install(tmp_path: Path) -> None:
    env = {**os.environ, "JAVA_HOME": str(tmp_path), "WINNOW_PYTHON": sys.executable}
    done = started(["master"], env)
    assert done.returncode == 2
    assert "install a JRE" in done.stderr


@pytest.mark.parametrize("role", ["", "slave"])
def test_an_unknown_role_is_refused(role: str, java: None) -> None:
    env = {**os.environ, "WINNOW_PYTHON": sys.executable}
    done = started([role] if role else [], env)
    assert done.returncode != 0
    assert "master" in done.stderr
