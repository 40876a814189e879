"""Folders of work: gone afterwards, and gone with the next where one was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from winnow.core.scratch import scratch_folder

_HOLDING = """
import sys
from pathlib import Path
from winnow.core.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1]), ".work-") as folder:
    (folder / "large").write_text("x")
    print("in", flush=True)
    input()
"""


def test_it_goes_also_where_the_work_fails(tmp_path: Path):
    def fail() -> None:
        with scratch_folder(tmp_path, ".work-") as work:
            (work / "inner").mkdir()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_and_no_other(tmp_path: Path):
    words = [sys.executable, "-c", _HOLDING, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "in\n"
        (tmp_path / ".work-empty").mkdir()
        (tmp_path / ".work-other").mkdir()
        (tmp_path / ".work-other" / "of the user").write_text("x")
        with scratch_folder(tmp_path, ".work-"):
            assert len(list(tmp_path.glob(".work-*"))) == 3  # held, other, this one
        assert not (tmp_path / ".work-empty").exists()
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with scratch_folder(tmp_path, ".work-") as work:
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {".work-other", work.name}
    assert [path.name for path in tmp_path.iterdir()] == [".work-other"]
