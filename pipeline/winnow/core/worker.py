"""What runs in a process of `worker_pool`."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from importlib import import_module
from queue import SimpleQueue
from typing import Any

from winnow.core.task import Task, set_task


def serve() -> None:
    """Take pieces of work from the standard input until it ends.

    First the modules to load, then (work, or None for the same, things) each time, both
    pickled; the answer is (whether it could be done, the result). Whatever else is
    printed goes to the standard error.
    """
    # A user's Ctrl-C is for the process that started this one, which ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    given = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    set_task(Task(cores=1))
    messages: SimpleQueue[Any] = SimpleQueue()
    # What is sent is taken in at once, so that the sender never waits.
    threading.Thread(target=_take, args=[given, messages], daemon=True).start()
    try:
        for module in messages.get() or ():
            import_module(module)
        _answer(answers, True)
        work: Any = None
        while (message := messages.get()) is not None:
            work, reply = _done(work, *message)
            _answer(answers, reply)
    except BrokenPipeError:
        pass  # nobody asks any more


def _take(given: Any, messages: SimpleQueue[Any]) -> None:
    """Take in messages until they end, and say so by None."""
    try:
        while True:
            messages.put(pickle.load(given))
    except (EOFError, OSError, pickle.UnpicklingError):
        messages.put(None)


def _done(
    work: Any, pickled: bytes | None, things: bytes
) -> tuple[Any, tuple[bool, Any]]:
    """Return the work, for what comes next, and the reply."""
    try:
        if pickled is not None:
            work = pickle.loads(pickled)
        return work, (True, work(pickle.loads(things)))
    except Exception:  # the asking process does it again, and sees it raised
        return work, (False, None)


def _answer(answers: Any, reply: Any) -> None:
    answers.write(pickle.dumps(reply, pickle.HIGHEST_PROTOCOL))
    answers.flush()
