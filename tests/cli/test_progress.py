"""Progress: bars on a terminal, lines elsewhere; an interruption is no traceback."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from winnow.cli import main as cli


@pytest.fixture
def recipe(
    vector_recipe: Callable[..., dict], planted_pool: Path, tmp_path: Path
) -> Path:
    file = tmp_path / "recipe.yaml"
    steps = ["embed", "cluster", "random", "apply"]
    file.write_text(yaml.safe_dump(vector_recipe(planted_pool, tmp_path / "r", steps)))
    return file


def test_a_terminal_gets_a_line_for_each_finished_step(recipe: Path):
    terminal, theirs = pty.openpty()
    command = [sys.executable, "-m", "winnow", "run", os.fspath(recipe)]
    done = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    told = b""
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        told += part
    assert done.wait() == 0, told.decode()
    for step in ("index", "embed", "cluster", "random", "apply"):
        assert f"{step} " in told.decode()
    assert "200 in" in told.decode()


def test_an_interruption_says_how_to_go_on(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("winnow.api.run", interrupted)
    assert cli.main(["run", str(recipe)]) == 130
    assert "the same command goes on" in capsys.readouterr().err
