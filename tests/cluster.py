"""A real standalone Spark cluster on loopback: one master, two workers, processes.

Started on first use by docker/spark.sh, which the image runs too. Ports are free ones;
folders are temporary; nothing outlives the session.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
START = ROOT / "docker" / "spark.sh"
IMPOSTOR = Path(__file__).resolve().parent / "impostor"
#: In CI, a machine without Java is a failure instead of a skip.
REQUIRED = "WINNOW_REQUIRE_SPARK"
_JAVA = 17
_PATIENCE = 300.0
# A dozen short-lived JVMs on two cores: what they compile is hardly used again, and
# Spark's own classes need no check. All of it halves what a job costs.
QUICK_JAVA = (
    "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData "
    "-XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
)
#: Cores of the suite's cluster that one application takes: one of each worker.
_SHARE = {"spark.cores.max": "2"}


def require_java() -> None:
    """Skip, or fail where $WINNOW_REQUIRE_SPARK is set, without Java 17 or newer."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    said = ""
    if java and Path(java).exists():
        asked = subprocess.run(
            [java, "-version"], capture_output=True, text=True, check=False
        )
        said = asked.stderr + asked.stdout
    release = re.search(r'version "(\d+)', said)
    if release and int(release[1]) >= _JAVA:
        return
    remedy = (
        f"Spark needs Java {_JAVA} or newer; install a JRE "
        "(Debian: apt-get install openjdk-17-jre-headless) or set JAVA_HOME"
    )
    pytest.fail(remedy) if os.environ.get(REQUIRED) else pytest.skip(remedy)


@dataclass
class Role:
    """A running process of the cluster and what it wrote."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_for(self, pattern: str) -> str:
        """Return the first group of `pattern` once the log shows it."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            text = self.log.read_text(errors="replace")
            if found := re.search(pattern, text):
                return found[1]
            if self.process.poll() is not None:
                raise RuntimeError(f"ended with {self.process.returncode}:\n{text}")
            time.sleep(0.05)
        raise RuntimeError(f"no {pattern!r} in {_PATIENCE:.0f} s:\n{text}")

    def kill(self, sign: int = signal.SIGKILL) -> None:
        """End the process and its group: a worker goes with its executors."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, sign)
        if sign != signal.SIGKILL:
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process.wait()


def _dying_with_parent(command: Sequence[str]) -> list[str]:
    """Return the command such that it ends even if this process is killed."""
    linux = shutil.which("setpriv")
    return [linux, "--pdeathsig", "KILL", "--", *command] if linux else [*command]


@dataclass
class SparkCluster:
    """`url` for a session or `--master`; workers can be killed and brought back."""

    folder: Path
    cores: int = 1
    memory: str = "1500m"
    master: Role = field(init=False)
    url: str = field(init=False)
    workers: list[Role] = field(default_factory=list)
    history: str | None = None
    _roles: list[Role] = field(default_factory=list)

    def start(self, workers: int = 2) -> SparkCluster:
        """Start the master and the workers; return when all are registered."""
        self.events.mkdir(parents=True, exist_ok=True)
        self.master = self._role(
            "master", SPARK_MASTER_PORT="0", SPARK_MASTER_WEBUI_PORT="0"
        )
        self.url = self.master.wait_for(r"Starting Spark master at (spark://\S+)")
        for _ in range(workers):
            self.add_worker()
        return self

    @property
    def events(self) -> Path:
        """Folder of event logs."""
        return self.folder / "events"

    def add_worker(self) -> Role:
        """Start one more worker and wait until the master knows it."""
        number = len(self._roles)
        worker = self._role(
            "worker",
            SPARK_MASTER_URL=self.url,
            SPARK_WORKER_CORES=str(self.cores),
            SPARK_WORKER_MEMORY=self.memory,
            SPARK_WORKER_WEBUI_PORT="0",
            SPARK_WORKER_DIR=str(self.folder / f"work-{number}"),
            # A package of our name lies on the path: what executors run was shipped.
            PYTHONPATH=str(IMPOSTOR),
        )
        self.workers.append(worker)
        worker.wait_for("(Successfully registered with master)")
        return worker

    def kill_worker(self, number: int = 0) -> None:
        """Kill a worker with its executors, as a lost machine would.

        Returns once the master has noticed.
        """
        worker = self.workers.pop(number)
        address = worker.wait_for(r"Starting Spark worker (\S+) with")
        worker.kill()
        self.master.wait_for(f"(Removing worker .* on {re.escape(address)})")

    def history_server(self) -> str:
        """Start the history server if it is not there; return its address."""
        if self.history is None:
            server = self._role(
                "history",
                SPARK_EVENTS=str(self.events),
                SPARK_HISTORY_PORT="0",
                SPARK_HISTORY_INTERVAL="1s",
            )
            port = server.wait_for(r"HistoryServerUI' on port (\d+)")
            self.history = f"http://127.0.0.1:{port}"
        return self.history

    def ask(self, path: str) -> Any:
        """Return what the history server's REST answers below /api/v1/."""
        address = f"{self.history_server()}/api/v1/{path}"
        with urllib.request.urlopen(address, timeout=30) as answer:
            return json.load(answer)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment for a driver on this machine."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SPARK_")}
        paths = (str(ROOT), os.environ.get("PYTHONPATH", ""))
        return {
            **kept,
            "JDK_JAVA_OPTIONS": QUICK_JAVA,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "WINNOW_PYTHON": sys.executable,
            "PYSPARK_PYTHON": sys.executable,
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            **more,
        }

    def run(
        self, arguments: Sequence[str], env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a driver (`winnow …`, `spark-submit …`) to its end."""
        environment = self.environment(**(env or {}))
        return subprocess.run(
            list(arguments),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def submit(self, script: Path, *arguments: str) -> Any:
        """Run a driver by `spark-submit` with the event log on."""
        command = [str(Path(sys.executable).with_name("spark-submit"))]
        settings = {
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": f"file://{self.events}",
            "spark.ui.enabled": "false",
            **_SHARE,
        }
        for name, value in settings.items():
            command += ["--conf", f"{name}={value}"]
        return self.run([*command, "--master", self.url, str(script), *arguments])

    def start_driver(
        self, arguments: Sequence[str], env: Mapping[str, str] | None = None
    ) -> Role:
        """Start a driver that the test will kill, or that kills go on beside."""
        return self._start(
            f"driver-{len(self._roles)}",
            arguments,
            self.environment(**(env or {})),
        )

    def close(self) -> None:
        """End every process, drivers first."""
        for role in reversed(self._roles):
            role.kill(signal.SIGTERM)

    def _role(self, role: str, **more: str) -> Role:
        env = self.environment(**{"SPARK_DAEMON_MEMORY": "256m", **more})
        return self._start(f"{role}-{len(self._roles)}", [str(START), role], env)

    def _start(self, name: str, command: Sequence[str], env: dict[str, str]) -> Role:
        log = self.folder / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                _dying_with_parent(command),
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )
        role = Role(process, log)
        self._roles.append(role)
        return role


@pytest.fixture(scope="session")
def java() -> None:
    """Java for Spark, or a skip that says what to install."""
    require_java()


@pytest.fixture(scope="session")
def make_cluster(
    java: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., SparkCluster]]:
    """Return make(workers=2, cores=1, memory=…): a cluster of the test's own."""
    made: list[SparkCluster] = []

    def make(workers: int = 2, **settings: Any) -> SparkCluster:
        cluster = SparkCluster(tmp_path_factory.mktemp("spark"), **settings)
        made.append(cluster)
        return cluster.start(workers)

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture(scope="session")
def spark_cluster(make_cluster: Callable[..., SparkCluster]) -> SparkCluster:
    """Return the suite's cluster: a master and two workers.

    A worker has a core for `spark` and one for what a test submits beside it. A test
    that kills a worker adds one, so that the next test finds two.
    """
    return make_cluster(cores=2, memory="3g")


@pytest.fixture(scope="session")
def spark(spark_cluster: SparkCluster) -> Iterator[Any]:
    """Return a session of this process on the suite's cluster, with an event log."""
    from pyspark.sql import SparkSession

    cluster = spark_cluster
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("JDK_JAVA_OPTIONS", QUICK_JAVA)
    settings = {
        "spark.driver.memory": "512m",
        "spark.executor.memory": "1g",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": f"file://{cluster.events}",
        **_SHARE,
    }
    builder = SparkSession.builder.appName("tests").master(cluster.url)
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    yield session
    session.stop()
