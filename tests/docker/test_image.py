"""The image's files: linted, consistent with each other, their scripts run for real."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Sequence
from pathlib import Path

import compose_spec
import pytest
from winnow.core.extras import EXTRAS

from tests.cluster import ROOT, SparkCluster

DOCKER = ROOT / "docker"
TOOLS = Path(sys.executable).parent


def ran(command: Sequence[str | Path], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        check=False,
    )


def composed(text: str) -> compose_spec.PyCompose:
    read = compose_spec.PyOptions(apply_merge=True).from_yaml(text)
    read.validate()
    return read


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = ran(
        [TOOLS / "hadolint", "--failure-threshold", "info", DOCKER / "Dockerfile"]
    )
    assert done.returncode == 0, done.stdout


def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    scripts = sorted(DOCKER.glob("*.sh"))
    assert len(scripts) >= 4
    done = ran([TOOLS / "shellcheck", *scripts, ROOT / ".ci" / "run"])
    assert done.returncode == 0, done.stdout


def test_the_image_is_slim_pinned_and_without_root() -> None:
    lines = (DOCKER / "Dockerfile").read_text().splitlines()
    bases = [line for line in lines if line.startswith("FROM ")]
    assert all("-slim-" in base and "latest" not in base for base in bases)
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001"]
    assert any(line.startswith("HEALTHCHECK ") for line in lines)


def test_the_compose_file_is_one_by_the_specification() -> None:
    text = (DOCKER / "compose.yaml").read_text()
    services = composed(text)
    assert services.service_names() == ["master", "worker", "history", "submit"]
    assert services.get_service("worker").deploy.replicas == 2
    with pytest.raises(ValueError, match="replics"):
        composed(text.replace("replicas", "replics"))


def test_what_the_compose_file_names_is_there() -> None:
    read = composed((DOCKER / "compose.yaml").read_text())
    copied = (DOCKER / "Dockerfile").read_text()
    for name in read.service_names():
        service = read.get_service(name)
        script = service.command[0]
        assert os.access(DOCKER / script, os.X_OK)
        assert f"docker/{script}" in copied
        mounted = {volume.partition(":")[0] for volume in service.volumes}
        assert mounted == set(read.volumes)


def test_what_the_dockerfile_copies_is_there() -> None:
    lines = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ")]
    sources = {
        word for words in copies if not words[0].startswith("--") for word in words
    }
    assert "pipeline/winnow" in sources
    assert all((ROOT / source).exists() for source in sources)


def test_the_readme_names_what_the_wheel_holds() -> None:
    inside = re.findall(r"site-packages/(\S+)", (DOCKER / "README.md").read_text())
    forced = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]
    jobs = forced["build"]["targets"]["wheel"]["force-include"]["jobs"]
    for path in inside:
        folder, _, name = path.rpartition("/")
        assert (folder, (ROOT / "jobs" / name).is_file()) == (jobs, True)


@pytest.mark.parametrize("file", ["Dockerfile", "install.sh"])
def test_the_image_has_known_extras(file: str) -> None:
    text = (DOCKER / file).read_text()
    *_, given = re.findall(r'WINNOW_EXTRAS[-=]"?([a-z,]+)', text)
    assert set(given.split(",")) == {"images", "spark"} <= set(EXTRAS)


@pytest.mark.slow
def test_the_install_script_installs_a_wheel(tmp_path: Path) -> None:
    done = ran(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    # An environment that is there is kept: it sees this one's packages, so that nothing
    # needs to be fetched. pip checks the pins against them.
    venv = tmp_path / "venv"
    assert ran([sys.executable, "-m", "venv", "--without-pip", venv]).returncode == 0
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n")
    done = ran(
        [DOCKER / "install.sh", venv, wheel, ROOT / "constraints.txt"],
        PIP_NO_INDEX="1",
        PYTHONPATH="",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("winnow ")
    assert (site / "winnow" / "conf" / "engine" / "spark.yaml").is_file()
    assert (site / "winnow" / "jobs" / "curate.py").is_file()


def test_health_tells_a_master_from_none(spark_cluster: SparkCluster) -> None:
    port = spark_cluster.master.wait_for(r"MasterUI' on port (\d+)")
    asked = {
        "WINNOW_ROLE": "master",
        "WINNOW_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    script = [DOCKER / "health.sh"]
    assert ran(script, SPARK_MASTER_WEBUI_PORT=port, **asked).returncode == 0
    assert ran(script, SPARK_MASTER_WEBUI_PORT="1", **asked).returncode != 0
    assert ran(script, WINNOW_ROLE="").returncode == 0
