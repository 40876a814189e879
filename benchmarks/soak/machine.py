"""Commands on a faulty machine: told in a sentence, the old result whole, then equal.

    python benchmarks/soak/machine.py --log machine.log        # as root, for its mounts

Each command works on a small file system of its own (tmpfs), which is full, out of
inodes or read-only, or in a process that has 64 descriptors, no home or no network. It
has to do its work, or end with 2 or 3 and one sentence without a traceback; what reads
has to answer as before; and the same command on a healthy machine has to leave, byte
for byte, what one leaves that nothing disturbed.
"""

from __future__ import annotations

import argparse
import errno
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
os.environ.update(
    {f"{n}_NUM_THREADS": "1" for n in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
)
os.environ["POLARS_MAX_THREADS"] = "1"
os.environ["NUMBA_THREADING_LAYER"] = "workqueue"

import kill_flows
from forks import FaultError, ended, import_everything
from kill_flows import Scenario, plain_answer
from kills import FLOWS, require_same

_ROOMY = "size=256m,nr_inodes=100000"
#: Bytes, and files, that are left to a command on a disk that is nearly full.
_BYTES_LEFT = (0, 20_000, 100_000, 300_000)
_FILES_LEFT = (0, 3, 12)


@dataclass(frozen=True)
class Fault:
    """One fault of a machine.

    mount: options of the file system, given what is used (bytes, files). prepare: what
    a process does to itself. changed: the command in place of the scenario's.
    """

    name: str
    mount: Callable[[int, int], str] = lambda size, files: _ROOMY
    prepare: Callable[[], None] = lambda: None
    long_path: bool = False


def _few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def _no_home() -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "USER", "LOGNAME"):
        os.environ.pop(name, None)


def _closed_home() -> None:
    _no_home()
    os.environ["HOME"] = "/proc/none"


def _no_network() -> None:
    def hook(event: str, values: tuple[Any, ...]) -> None:
        away = event in ("socket.connect", "socket.getaddrinfo")
        if away and "127.0.0.1" not in repr(values) and "localhost" not in repr(values):
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    sys.addaudithook(hook)


FAULTS = [
    *(
        Fault(
            f"full, {left:,} bytes left",
            lambda size, files, more=left: _full(size + more),
        )
        for left in _BYTES_LEFT
    ),
    *(
        Fault(
            f"{left} inodes left",
            lambda size, files, more=left: f"size=256m,nr_inodes={files + more}",
        )
        for left in _FILES_LEFT
    ),
    Fault("read-only", lambda size, files: "ro"),
    Fault("64 descriptors", prepare=_few_descriptors),
    Fault("no HOME", prepare=_no_home),
    Fault("HOME cannot be written", prepare=_closed_home),
    Fault("no network", prepare=_no_network),
    Fault("path too long", long_path=True),
]


def _full(size: int) -> str:
    # No page at all would mean no limit.
    pages = max(1, -(-size // 4096))
    return f"size={pages * 4096},nr_inodes=100000"


def mount(folder: Path, options: str) -> None:
    """Mount a file system, or change the one that is mounted."""
    again = os.path.ismount(folder)
    how = f"remount,{options}" if again else options
    # Read-only and back leaves the rest as it is.
    how = how if options == "ro" else f"{how},rw"
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", how, "tmpfs", folder], check=True)


def reset(scenario: Scenario) -> None:
    """Make the folder what it was, on its roomy file system."""
    mount(scenario.folder, _ROOMY)
    for entry in scenario.folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    if scenario.before is not None:
        shutil.copytree(scenario.before, scenario.folder, dirs_exist_ok=True)
    for extra in scenario.folder.parent.glob(f"{scenario.folder.name}.ack"):
        extra.unlink()


def used(folder: Path) -> tuple[int, int]:
    """Return the bytes and files of a file system that are in use."""
    state = os.statvfs(folder)
    blocks = state.f_blocks - state.f_bfree
    return blocks * state.f_frsize, state.f_files - state.f_ffree


def play(scenario: Scenario, fault: Fault) -> str:
    """Give the commands on a faulty and on a healthy machine; return what was said."""
    reset(scenario)
    before = ended(scenario, readers=scenario.readers).told
    asked = _with_long_path(scenario) if fault.long_path else scenario
    mount(scenario.folder, fault.mount(*used(scenario.folder)))
    try:
        done = ended(asked, prepare=fault.prepare)
        said = _checked(done, scenario)
        answer = ended(scenario, readers=scenario.readers).told
    finally:
        mount(scenario.folder, _ROOMY)
    if "Traceback" in answer or "unexpected" in answer:
        raise FaultError(f"a reader fails: {answer[-2000:]}")
    if done.status and scenario.steady and plain_answer(answer) != plain_answer(before):
        raise FaultError(f"a reader answers otherwise: {answer[-2000:]}")
    # An app may end well without having kept what it was asked to keep.
    if done.status or scenario.client:
        first = 0 if scenario.client else done.commands
        again = ended(scenario, first)
        if again.status and not scenario.may_refuse(again.told):
            raise FaultError(f"again: {again.told[-2000:]}")
    return said


_GIVEN = ("ui", "map", "add")


def _with_long_path(scenario: Scenario) -> Scenario:
    """Return a scenario whose output has a name that no file system takes."""
    out = str(scenario.folder / ("x" * 300))
    first = list(scenario.commands[0])
    # What has no output of its own writes in the folder that it is given.
    given = next((n for n, word in enumerate(first[:2]) if word in _GIVEN), None)
    if given is None:
        first += ["--out", out]
    else:
        first[given + 1 :] = [out, *first[given + 2 :]] if first[0] != "ui" else [out]
    return replace(scenario, commands=[first])


def _checked(done: Any, scenario: Scenario) -> str:
    """Return what a command said; raises FaultError where it is not as it has to be."""
    code = os.waitstatus_to_exitcode(done.status)
    if "Traceback" in done.told or "unexpected" in done.told:
        raise FaultError(f"{code}: {done.told[-3000:]}")
    if code == 0:
        return "did its work"
    said = [line for line in done.told.splitlines() if line.startswith("winnow: ")]
    refused = scenario.may_refuse(done.told)
    if code not in (1, 2, 3) or not said or (code == 1 and not refused):
        raise FaultError(f"exit code {code}: {done.told[-2000:]}")
    return f"{code}: {said[-1]}"


def scenarios(scratch: Path, only: list[str]) -> list[tuple[str, Scenario]]:
    """Return what is played: of each command an update of something finished."""
    chosen = {
        "image_text": ["setting"],
        "text_dedup": ["update", "build"],
        "lake": ["again"],
        "filter_train": ["tiny"],
        "export": ["parquet", "hf", "uids"],
        "app_marks": ["mark"],
        "looks": ["map", "analyse", "prove", "build", "grow"],
    }
    played = []
    for flow, names in chosen.items():
        if only and flow not in only:
            continue
        made = {one.name: one for one in FLOWS[flow](scratch / flow)}
        played += [(flow, made[name]) for name in names]
    return played


def main() -> int:
    """Play all; exit code 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(FLOWS), nargs="+", default=[])
    parser.add_argument("--log", type=Path, default=Path("machine.log"))
    asked = parser.parse_args()
    if os.geteuid():
        print("machine.py: left out; its file systems need root")
        return 0
    faulty = 0
    with tempfile.TemporaryDirectory() as scratch, asked.log.open("w") as log:
        kill_flows.make_pools(Path(scratch))
        import_everything()
        for flow, scenario in scenarios(Path(scratch), asked.only):
            try:
                faulty += _play_all(flow, scenario, log)
            finally:
                if os.path.ismount(scenario.folder):
                    subprocess.run(["umount", scenario.folder], check=True)
    print(f"{faulty} faulty")
    return int(bool(faulty))


def _play_all(flow: str, scenario: Scenario, log: Any) -> int:
    shutil.rmtree(scenario.folder, ignore_errors=True)
    reset(scenario)
    whole = ended(scenario)
    if whole.status:
        raise RuntimeError(f"undisturbed, it fails: {whole.told[-2000:]}")
    wanted, faulty = scenario.results(), 0
    for fault in FAULTS:
        try:
            said = play(scenario, fault)
            if not fault.long_path:
                require_same(wanted, scenario.results())
        except FaultError as error:
            said, faulty = f"FAULTY {error}", faulty + 1
        log.write(f"{flow} {scenario.name}: {fault.name}: {said}\n")
        log.flush()
    return faulty


if __name__ == "__main__":
    sys.exit(main())
