"""What differs off Linux, simulated here: other units, another lock, no limits."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from winnow.core import operating_system
from winnow.core.errors import RunError
from winnow.core.meter import Meter
from winnow.core.run_folder import RunFolder

PACKAGE = Path(operating_system.__file__).parents[1]

HOLD = """
import sys
from winnow.core.operating_system import lock
handle = open(sys.argv[1], "w")
lock(handle)
print("held", flush=True)
sys.stdin.read()
"""


def holder(file: Path) -> subprocess.Popen[str]:
    """Return another process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


class BytesOfWindows:
    """`msvcrt.locking` over a set of locked files, as Windows behaves."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        self.locked: set[int] = set()
        self.asked = 0

    def locking(self, descriptor: int, mode: int, length: int) -> None:
        """Lock one byte, or fail at once where it is locked."""
        assert (mode, length) == (self.LK_NBLCK, 1)
        self.asked += 1
        if self.locked and descriptor not in self.locked:
            raise PermissionError(13, "Permission denied")
        self.locked.add(descriptor)


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> BytesOfWindows:
    simulated = BytesOfWindows()
    monkeypatch.setattr(operating_system, "_fcntl", None)
    monkeypatch.setattr(operating_system, "_resource", None)
    monkeypatch.setattr(operating_system, "_msvcrt", simulated)
    return simulated


def test_a_lock_is_against_other_processes_and_goes_with_them(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    process = holder(file)
    with open(file, "w") as handle:
        with pytest.raises(OSError, match="unavailable"):
            operating_system.lock(handle)
        process.kill()
        process.communicate()
        operating_system.lock(handle)


def test_a_lock_can_be_waited_for(tmp_path: Path) -> None:
    process = holder(tmp_path / ".lock")
    with open(tmp_path / ".lock", "w") as handle:
        assert process.stdin is not None
        process.stdin.close()
        operating_system.lock(handle, wait=True)
    process.wait()


def test_windows_locks_a_byte(windows: BytesOfWindows, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with run.locked():
        assert len(windows.locked) == 1
        with (
            pytest.raises(RunError, match="another process is writing this run"),
            run.locked(),
        ):
            pass


def test_windows_waits_for_a_byte(
    windows: BytesOfWindows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows.locked.add(-1)
    # Who holds it lets go while it is waited for.
    monkeypatch.setattr(
        operating_system.time, "sleep", lambda seconds: windows.locked.clear()
    )
    with open(tmp_path / ".lock", "w") as handle:
        operating_system.lock(handle, wait=True)
        assert windows.locked == {handle.fileno()}
        assert windows.asked == 2


def test_windows_has_neither_a_figure_nor_a_limit(windows: BytesOfWindows) -> None:
    assert operating_system.peak_memory_mib() == 0.0
    with operating_system.data_limit(2**30) as stands:
        assert not stands


@pytest.mark.parametrize(
    ("system", "told", "mib"), [("linux", 2048, 2.0), ("darwin", 2**21, 2.0)]
)
def test_peak_memory_is_told_in_one_unit(
    monkeypatch: pytest.MonkeyPatch, system: str, told: int, mib: float
) -> None:
    resource = SimpleNamespace(
        RUSAGE_SELF=0, getrusage=lambda who: SimpleNamespace(ru_maxrss=told)
    )
    monkeypatch.setattr(operating_system, "_resource", resource)
    monkeypatch.setattr(operating_system.sys, "platform", system)
    assert operating_system.peak_memory_mib() == mib


def test_without_proc_a_stretch_has_the_peak_of_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("winnow.core.meter._CLEAR", tmp_path / "no" / "clear_refs")
    seconds, peak = Meter().read()
    assert seconds >= 0
    assert 0 < peak <= operating_system.peak_memory_mib()


def test_a_limit_stands_for_a_while_and_goes() -> None:
    resource: Any = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with operating_system.data_limit(2**40) as stands:
        during = resource.getrlimit(resource.RLIMIT_DATA)[0]
    assert stands == (sys.platform == "linux")
    assert not stands or during >= 2**40
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_a_limit_that_is_refused_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(kind: int, limits: tuple[int, int]) -> None:
        raise ValueError("current limit exceeds maximum limit")

    resource = SimpleNamespace(
        RLIMIT_DATA=2, getrlimit=lambda kind: (1, 1), setrlimit=refuse
    )
    monkeypatch.setattr(operating_system, "_resource", resource)
    with operating_system.data_limit(2**30) as stands:
        assert not stands


def test_reading_ahead_is_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "table"
    file.write_bytes(b"x" * 100)
    operating_system.read_ahead(str(file), 50, 10)
    operating_system.read_ahead(str(tmp_path / "none"), 0, 10)
    monkeypatch.delattr("os.posix_fadvise", raising=False)
    operating_system.read_ahead(str(file), 50, 10)


def test_a_plain_file_is_opened_and_a_link_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"data")
    link.symlink_to(file)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="symbolic links"):
        operating_system.open_plainly(str(link))
    for path in (file, tmp_path / "pipe"):
        os.close(operating_system.open_plainly(str(path)))
    for flag in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC"):
        monkeypatch.delattr(os, flag)
    with open(operating_system.open_plainly(str(file)), "rb") as opened:
        assert opened.read() == b"data"


def test_only_one_module_asks_for_what_some_systems_lack() -> None:
    lacking = re.compile(
        r"^\s*import (fcntl|msvcrt|resource)\b"
        r"|\bos\.(posix_fadvise|O_(?!RDONLY|WRONLY|RDWR|APPEND|CREAT|EXCL|TRUNC)\w+)",
        re.MULTILINE,
    )
    askers = {
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        if lacking.search(file.read_text())
    }
    assert askers <= {"core/operating_system.py"}


def test_every_locker_imports_without_fcntl_and_resource() -> None:
    modules = ["core.run_folder", "core.meter", "indexes.near_index", "app.marks"]
    modules += ["filters.train.state", "engines.spark.workers", "cli.query"]
    code = "import sys; sys.modules.update(fcntl=None, resource=None)\n" + "".join(
        f"import winnow.{name}\n" for name in modules
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in modules:
        importlib.import_module(f"winnow.{name}")
