"""A folder of another kind than a command needs: its own command is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
from winnow.cli.main import main

Recipe = dict[str, Any]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool that is a lake as well, a run over it and a scan of it."""
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "pool").mkdir()
    rows = {
        "uid": [f"u{n}" for n in range(9)],
        "text": [f"a text {n}" for n in range(9)],
    }
    pq.write_table(pa.table(rows), folder / "pool" / "a.parquet")
    winnow.run(recipe(folder, "run"))
    winnow.scan(folder / "pool", folder / "scan")
    return folder


def recipe(work: Path, out: str, **more: Any) -> Recipe:
    return {
        "input": {"path": str(work / "pool"), "columns": {"image": None}},
        "output": {"path": str(work / out), "report": False},
        "steps": ["random", "apply"],
        "random": {"keep_fraction": 0.5},
        **more,
    }


@pytest.mark.parametrize(
    "words",
    [
        ["what-if", "RUN", "--set", "random.keep_fraction=0.1"],
        ["diff", "RUN", "RUN"],
        ["export", "RUN", "--to", "uids", "--out", "RUN.txt"],
        ["index", "build", "RUN", "--out", "RUN.index"],
    ],
)
def test_a_command_over_samples_sends_a_scan_elsewhere(
    work: Path, words: list[str], capsys: pytest.CaptureFixture[str]
):
    assert main([w.replace("RUN", str(work / "scan")) for w in words]) == 1
    told = capsys.readouterr().err
    assert "holds a scan of a lake, not a run of samples" in told
    assert f"`winnow lake edges {work / 'scan'}`" in told


@pytest.mark.parametrize(
    "words", [["edges"], ["explain", "a.parquet"], ["plan"], ["apply"], ["restore"]]
)
def test_a_command_over_a_lake_sends_a_run_elsewhere(
    work: Path, words: list[str], capsys: pytest.CaptureFixture[str]
):
    assert main(["lake", words[0], str(work / "run"), *words[1:]]) == 1
    told = capsys.readouterr().err
    assert "holds a run of samples, not a scan of a lake" in told


@pytest.mark.parametrize(
    ("out", "why"),
    [
        ("scan", "holds a scan of a lake, which --replace does not remove"),
        ("run", "holds a run of another recipe: it has random, this one exact"),
        ("pool.file", "is a file"),
        ("foreign", "is not empty and holds no run"),
        ("fresh", ""),
    ],
)
def test_a_plan_says_that_the_run_would_be_refused(
    work: Path, out: str, why: str, make_yaml: Callable[[Recipe], str], capsys: Any
):
    (work / "pool.file").write_text("x")
    (work / "foreign").mkdir(exist_ok=True)
    (work / "foreign" / "letter.txt").write_text("dear")
    exact = {"steps": ["exact", "apply"], "exact": {"by": ["caption"]}}
    given = recipe(work, out)
    del given["random"]
    file = make_yaml({**given, **exact})
    assert main(["plan", file]) == 0
    said = capsys.readouterr().out
    assert ("would refuse" in said) == bool(why)
    assert why in said
    if why:
        assert main(["run", file, "-q"]) in (1, 2)
        refused = capsys.readouterr().err.removeprefix("winnow: ").strip()
        assert refused in said, "the plan says what the run says"


@pytest.fixture
def make_yaml(tmp_path: Path) -> Callable[[Recipe], str]:
    import yaml

    def make(values: Recipe) -> str:
        file = tmp_path / "recipe.yaml"
        file.write_text(yaml.safe_dump(values))
        return str(file)

    return make
