"""A process that has imported all and computed nothing; commands are its forks."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import os
import pkgutil
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import winnow
from winnow.cli.main import main as command
from winnow.models.torchvision_ops import ensure_torchvision

#: Seconds, on a machine that may have other work.
_PATIENCE_SECONDS = 600
_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate"}
_LIBRARIES = """
datasets duckdb faiss numba open_clip pacmap polars safetensors.torch scipy.optimize
torch uvicorn webdataset PIL.Image pyarrow.dataset pyarrow.compute pyarrow.parquet
"""


class FaultError(Exception):
    """What a kill left, or what came after it, is not what it has to be."""


class Played(Protocol):
    """What is played in a fork: commands that change one folder."""

    commands: list[list[str]]
    folder: Path
    client: Callable[[Any], None] | None

    @property
    def notes(self) -> Path:
        """Where the fork says how far it came."""


@dataclass
class Ended:
    """How a forked command ended; `commands` counts those of its kind that did."""

    status: int
    commands: int
    seconds: float
    changes: int
    told: str

    @property
    def killed(self) -> bool:
        """Whether a signal ended it."""
        return os.WIFSIGNALED(self.status)


def import_everything() -> None:
    """Import what commands import on their way, so that forks have it."""
    ensure_torchvision()
    for module in pkgutil.walk_packages(winnow.__path__, "winnow."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)
    for name in _LIBRARIES.split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    _load_kernels()
    _draw_nothing()
    gc.collect()
    gc.freeze()


def _draw_nothing() -> None:
    """Leave charts out: their engine would cost each fork a second of work."""
    from winnow.pages import drawing

    drawing._svg = lambda spec, *, named: '<svg width="1" height="1"></svg>'
    drawing.start = lambda: None


def _load_kernels() -> None:
    """Load the machine code that earlier processes have kept, as an import would."""
    from numba.core.registry import CPUDispatcher

    for module in [m for n, m in sys.modules.items() if n.startswith("winnow.")]:
        for kernel in vars(module).values():
            if isinstance(kernel, CPUDispatcher):
                with contextlib.suppress(Exception):
                    kernel._cache._renew()
                    for key in kernel._cache._cache_file._load_index():
                        kernel.compile(key[0])


def ended(
    scenario: Played,
    first: int = 0,
    *,
    after_seconds: float = 0.0,
    at_change: int = 0,
    readers: Sequence[Sequence[str]] | None = None,
    prepare: Callable[[], None] = lambda: None,
) -> Ended:
    """Give a scenario's commands, from the `first` on, in a fork; wait for its end.

    after_seconds, at_change: when it is killed, if it is. readers: commands to give in
    their place. prepare: called in the fork before them.
    """
    notes = scenario.notes
    shutil.rmtree(notes, ignore_errors=True)
    notes.mkdir()
    begun = time.perf_counter()
    child = os.fork()
    if not child:
        _in_child(scenario, first, at_change, readers, prepare)
    limit = after_seconds or _PATIENCE_SECONDS
    status = 0
    while True:
        one, status = os.waitpid(child, os.WNOHANG)
        if one:
            break
        if time.perf_counter() - begun > limit:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.002)
    seconds = time.perf_counter() - begun
    if not after_seconds and seconds > _PATIENCE_SECONDS:
        raise FaultError(f"it did not end: {_read(notes / 'told')[-2000:]}")
    return Ended(
        status,
        len(_read(notes / "commands")),
        seconds,
        int(_read(notes / "changes") or 0),
        _read(notes / "told"),
    )


def _read(file: Path) -> str:
    return file.read_text(errors="replace") if file.is_file() else ""


def _in_child(
    scenario: Played,
    first: int,
    at_change: int,
    readers: Sequence[Sequence[str]] | None,
    prepare: Callable[[], None],
) -> None:
    """Be a command's process; never returns."""
    code = 70
    try:
        told = os.open(scenario.notes / "told", os.O_CREAT | os.O_WRONLY, 0o600)
        os.dup2(told, 1)
        os.dup2(told, 2)
        # A shell that starts this in the background has it ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        faulthandler.dump_traceback_later(_PATIENCE_SECONDS - 5)
        seen = _count_changes(scenario.folder, at_change)
        prepare()
        code = _give(scenario, first, readers)
        (scenario.notes / "changes").write_text(str(seen[0]))
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _give(scenario: Played, first: int, readers: Sequence[Sequence[str]] | None) -> int:
    if readers is not None:
        for arguments in readers:
            print("$", *arguments, flush=True)
            print("->", _code_of(arguments), flush=True)
        return 0
    for arguments in scenario.commands[first:]:
        if scenario.client is not None:
            scenario.client(scenario)
        code = _code_of(arguments)
        if code:
            return code
        with (scenario.notes / "commands").open("a") as done:
            done.write(".")
    return 0


def _code_of(arguments: Sequence[str]) -> int:
    try:
        return command(list(arguments))
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 2


def _count_changes(folder: Path, at_change: int) -> list[int]:
    """Count changes below a folder from here on; die at the one that is named."""
    seen, below = [0], f"{folder}/"

    def hook(event: str, values: tuple[Any, ...]) -> None:
        if event == "open":
            writes = isinstance(values[2], int) and values[2] & (
                os.O_WRONLY | os.O_RDWR | os.O_CREAT
            )
            if not writes:
                return
        elif event not in _CHANGES:
            return
        if not any(str(value).startswith(below) for value in values[:2]):
            return
        seen[0] += 1
        if seen[0] == at_change:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return seen
