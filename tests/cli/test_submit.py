"""`winnow submit` and `--engine`: the command it makes, and what it refuses."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from winnow.cli.main import main
from winnow.config.recipes import engine_section, load_values
from winnow.core.errors import ConfigError
from winnow.engines.spark import submission

MASTER = ["--master", "spark://somewhere:7077"]
JOBS = Path(__file__).resolve().parents[2] / "jobs"


def dry_run(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["submit", *words, *MASTER, "--dry-run"]) == 0
    return shlex.split(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def _with_java(java: None) -> None:
    """Every test here gets as far as looking for Java."""


def test_the_command_names_the_job_the_recipe_and_what_it_was_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = dry_run(capsys, "demo", "--set", "seed=3", "--out", "runs/there")
    assert Path(words[0]).name == "spark-submit"
    job = next(i for i, word in enumerate(words) if word.endswith("curate.py"))
    assert words[job + 1 :] == [
        *["demo", "--engine", "spark", "--set", "seed=3", "--out", "runs/there"]
    ]
    lake = dry_run(capsys, "table_lake")
    assert any(word.endswith("lake.py") for word in lake)


def test_settings_of_spark_come_from_engine_recipe_and_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    engine = tmp_path / "mine.yaml"
    conf = {"spark.driver.memory": "9g", "spark.speculation": True}
    engine.write_text(yaml.safe_dump({"engine": {"name": "spark", "spark": conf}}))
    words = dry_run(
        capsys,
        *["demo", "--engine-conf", str(engine)],
        *["--spark-conf", "spark.driver.memory=7g", "--spark-conf", "spark.a=b=c"],
    )
    assert "spark.driver.memory=7g" in words
    assert "spark.speculation=true" in words
    assert "spark.a=b=c" in words
    assert words[-1] == str(engine)
    shipped = engine_section("spark")["spark"]["spark.executor.memory"]
    assert f"spark.executor.memory={shipped}" in dry_run(capsys, "demo")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["demo", "--spark-conf", "driver.memory=1g"],
            "write spark.some.setting=value",
        ),
        (["demo", "--spark-conf", "spark.driver.memory"], "spark.some.setting=value"),
        (["demo", "--spark-conf", "spark.submit.deployMode=cluster"], "docker/README"),
        (["dema"], "did you mean 'demo'?"),
        (["demo", "--engine", "sparc"], "did you mean 'spark'?"),
    ],
)
def test_what_cannot_be_submitted_says_why(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", *words, *MASTER]) == 2
    assert said in capsys.readouterr().err


def test_without_java_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert main(["submit", "demo", *MASTER]) == 2
    assert "install a JRE" in capsys.readouterr().err


def test_an_archive_is_the_workers_environment(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = dry_run(capsys, "demo", "--archive", "env.tar.gz")
    assert words[words.index("--archives") + 1] == "env.tar.gz#environment"
    env = submission.environment("env.tar.gz")
    assert env["PYSPARK_PYTHON"] == "./environment/bin/python"
    assert env["PYSPARK_DRIVER_PYTHON"] == sys.executable


def test_an_engine_file_holds_its_section_and_nothing_else(tmp_path: Path) -> None:
    wrong = tmp_path / "engine.yaml"
    wrong.write_text("engine: {name: local}\nseed: 1\n")
    with pytest.raises(ConfigError, match="holds one section"):
        engine_section(str(wrong))


def test_engine_settings_replace_the_recipes_and_set_replaces_both() -> None:
    values = load_values("demo", ["engine.group_mb=7"], None, "image_text", "local")
    assert values["engine"]["group_mb"] == 7
    assert values["engine"]["name"] == "local"


DRIVERS = {
    "prints and ends": ("print('first'); print('last')", 0, ""),
    "says why": ("import sys; print('winnow: no such pool'); sys.exit(3)", 3, "above"),
    "fails": ("import sys; print('JVM gone', file=sys.stderr); sys.exit(9)", 9, "JVM"),
    "is killed": ("import os; os.kill(os.getpid(), 9)", 137, "killed by signal 9"),
}


@pytest.mark.parametrize("case", DRIVERS)
def test_a_drivers_end_is_told(case: str) -> None:
    code, status, said = DRIVERS[case]
    lines: list[str] = []
    words = [sys.executable, "-u", "-c", code]
    if status == 0:
        submission.submit(words, submission.environment(), lines.append)
        assert lines == ["first\n", "last\n"]
        return
    with pytest.raises(submission.DriverError, match=said) as raised:
        submission.submit(words, submission.environment(), lines.append)
    assert raised.value.exit_code == status


@pytest.mark.parametrize("job", ["curate", "text_dedup", "lake", "embed"])
def test_jobs_are_short_and_pass_their_words_on(job: str) -> None:
    script = JOBS / f"{job}.py"
    assert len(script.read_text().splitlines()) < 40
    done = subprocess.run(
        [sys.executable, str(script), "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--engine" in done.stdout
