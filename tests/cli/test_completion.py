"""What a shell completes, asked of the shell itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from winnow.cli.main import main

_ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_winnow
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("completion") / "winnow.bash"
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("winnow.cli.completion.show", said.append)
        assert main(["completion", "bash"]) == 0
    file.write_text("\n".join(said))
    return file


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash on the PATH")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["wh"], {"what-if"}),
        (["lake", "s"], {"scan"}),
        (["run", "--rep"], {"--replace"}),
        (["export", "--t"], {"--to"}),
        (["completion", "z"], {"zsh"}),
    ],
)
def test_bash_completes_commands_and_options(
    script: Path, words: list[str], offered: set[str]
):
    asked = ["bash", "-c", _ASK, "ask", str(script), "winnow", *words]
    answer = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert set(answer.stdout.split()) == offered


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash on the PATH")
def test_bash_completes_folders_of_runs(script: Path, tmp_path: Path):
    (tmp_path / "first_run").mkdir()
    (tmp_path / "first_file").touch()
    asked = ["bash", "-c", _ASK, "ask", str(script), "winnow", "report", "first"]
    answer = subprocess.run(
        asked, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert answer.stdout.split() == ["first_run"]


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_get_a_script(shell: str, capsys: pytest.CaptureFixture[str]):
    assert main(["completion", shell]) == 0
    assert "what-if" in capsys.readouterr().out
