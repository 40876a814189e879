"""What runs in a process of `worker_pool`."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from typing import Any

import pyarrow as pa

from winnow.core.task import Task, set_task


def serve() -> None:
    """Take pieces of work from the standard input until it ends.

    First the modules to load, then (work, or None for the same, things) each time; the
    answer is (whether it could be done, the result). Whatever else is printed goes to
    the standard error.
    """
    # A user's Ctrl-C is for the process that started this one, which ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    given = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    set_task(Task(cores=1))
    _array_without_pandas()
    work: Any = None
    try:
        for module in pickle.load(given):
            import_module(module)
        _answer(answers, True)
        while True:
            pickled, things = pickle.load(given)
            if pickled is not None:
                work = pickle.loads(pickled)
            _answer(answers, _done(work, things))
    except (EOFError, BrokenPipeError):
        sys.exit()


def _array_without_pandas() -> None:
    """Make pyarrow's first array from a list, for which it would load pandas."""
    no_pandas = _NoPandas()
    sys.meta_path.insert(0, no_pandas)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(no_pandas)


class _NoPandas(MetaPathFinder):
    """Says that there is no pandas."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("not wanted here", name=fullname)


def _done(work: Any, things: Any) -> tuple[bool, Any]:
    try:
        return True, work(things)
    except Exception:  # the asking process does it again, and sees it raised
        return False, None


def _answer(answers: Any, reply: Any) -> None:
    answers.write(pickle.dumps(reply, pickle.HIGHEST_PROTOCOL))
    answers.flush()
