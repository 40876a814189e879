"""What runs in a process of `worker_pool`."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from contextlib import suppress
from importlib import import_module
from queue import SimpleQueue
from typing import Any

from winnow.core.collector import seldom_collected
from winnow.core.operating_system import widen_pipe
from winnow.core.task import Task, set_task


def serve() -> None:
    """Take pieces of work from the standard input until it ends.

    First the modules to load, then (work, or None for the same, things) each time, both
    pickled; the answer is (whether it could be done, the result). Whatever else is
    printed goes to the standard error.
    """
    with seldom_collected():
        _serve()


def _serve() -> None:
    # A user's Ctrl-C is for the process that started this one, which ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    given = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    widen_pipe(answers)
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    set_task(Task(cores=1))
    messages: SimpleQueue[Any] = SimpleQueue()
    replies: SimpleQueue[bytes | None] = SimpleQueue()
    # What is sent is taken in at once, so that the sender never waits; and this process
    # works on while who asked is too busy to take an answer.
    threading.Thread(target=_take, args=[given, messages], daemon=True).start()
    answering = threading.Thread(target=_answer, args=[answers, replies], daemon=True)
    answering.start()
    for module in messages.get() or ():
        import_module(module)
    replies.put(pickle.dumps(True))
    work: Any = None
    while (message := messages.get()) is not None:
        work, reply = _done(work, *message)
        replies.put(pickle.dumps(reply, pickle.HIGHEST_PROTOCOL))
    replies.put(None)
    answering.join()


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


def _answer(answers: Any, replies: SimpleQueue[bytes | None]) -> None:
    """Write replies until they end, or nobody asks any more."""
    with suppress(BrokenPipeError):
        while (reply := replies.get()) is not None:
            answers.write(reply)
            answers.flush()
