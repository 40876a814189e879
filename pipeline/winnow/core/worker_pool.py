"""Processes of this Python beside this one, for work that mostly is Python's own.

Threads take turns with Python's code. The processes are started anew rather than
forked, since a fork of a process with threads may wait for a lock for ever; they load
what the work needs and not the caller's script. One that dies costs only the piece that
it worked on.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

_Thing = TypeVar("_Thing")
_Done = TypeVar("_Done")
_PROGRAM = "import sys; sys.path[:] = {}; from winnow.core.worker import serve; serve()"
#: Pieces that a process has at hand: it never waits for the next one.
_SENT = 2
#: Pieces for each process that are under way or wait, so that this one finds something
#: to do while a long one is worked on elsewhere.
_UNDER_WAY = 12


class WorkerDied(Exception):
    """A process ended while it worked on something."""


@dataclass(frozen=True)
class _Work:
    number: int
    pickled: bytes
    #: What stands for a thing that a process dies of.
    lost: Callable[[Any], Any]


@dataclass
class _Piece:
    """Several things that one process works on together, and what comes of them."""

    work: _Work
    things: Sequence[Any]
    done: threading.Event = field(default_factory=threading.Event)
    #: None: nothing came of them elsewhere, so that they are worked on here.
    results: list[Any] | None = None


class WorkerPool:
    """Up to so many processes; none is started before `start`.

    modules: what each of them loads before it takes anything.
    """

    def __init__(self, processes: int, modules: Sequence[str] = ()) -> None:
        self._count, self._modules = processes, tuple(modules)
        self._queue: SimpleQueue[_Piece | None] = SimpleQueue()
        self._processes: list[_Process] = []
        self._threads: list[threading.Thread] = []
        self._works = 0

    @property
    def running(self) -> bool:
        """Whether there are processes to work beside this one."""
        return bool(self._threads)

    def start(self) -> None:
        """Start the processes, unless they are; they load meanwhile."""
        if self._threads:
            return
        for _ in range(self._count):
            process = _Process(self._modules)
            thread = threading.Thread(target=self._drive, args=[process], daemon=True)
            self._processes.append(process)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """End the processes, whatever they work on."""
        for process in self._processes:
            process.end()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            process.close()
        self._processes, self._threads = [], []

    def map(
        self,
        work: Callable[[Sequence[_Thing]], _Done],
        pieces: Iterable[Sequence[_Thing]],
        lost: Callable[[_Thing], _Done],
    ) -> Generator[_Done, None, None]:
        """Yield what work comes to for each piece, in their order.

        This process works on pieces, too. Where another dies of a piece, each thing of
        it is worked on alone, with a result of its own; `lost` says what stands for one
        that a process dies of. What work raises is raised here. `work`, the things and
        the results are pickled. For one caller at a time.
        """
        self._works += 1
        numbered = _Work(self._works, pickle.dumps(work), lost)
        waiting: deque[_Piece] = deque()
        try:
            for things in pieces:
                piece = _Piece(numbered, things)
                waiting.append(piece)
                self._queue.put(piece)
                if len(waiting) > _UNDER_WAY * len(self._threads):
                    yield from self._results(waiting.popleft(), work)
            while waiting:
                yield from self._results(waiting.popleft(), work)
        finally:
            while self._taken() is not None:
                pass

    def _results(
        self, piece: _Piece, work: Callable[[Sequence[_Thing]], _Done]
    ) -> list[Any]:
        """Return what comes of a piece, working on others until it is known."""
        while not piece.done.is_set():
            other = self._taken()
            if other is None:
                piece.done.wait()
                break
            other.results = [work(other.things)]
            other.done.set()
        return [work(piece.things)] if piece.results is None else piece.results

    def _taken(self) -> _Piece | None:
        try:
            return self._queue.get_nowait()
        except Empty:
            return None

    def _drive(self, process: _Process) -> None:
        """Hand pieces to a process, as long as it can be started."""
        sent: deque[_Piece] = deque()
        usable, more = process.is_ready(), True
        try:
            while usable and (more or sent):
                try:
                    more = more and self._send(process, sent)
                    if sent:
                        sent[0].results = process.receive()
                        sent.popleft().done.set()
                except WorkerDied:
                    usable = process.begin_again()
                    while usable and sent:
                        sent[0].results = _one_by_one(process, sent[0])
                        sent.popleft().done.set()
                        usable = process.running
        finally:
            for piece in sent:
                piece.done.set()

    def _send(self, process: _Process, sent: deque[_Piece]) -> bool:
        """Send pieces until some wait; return whether others may come."""
        while len(sent) < _SENT:
            try:
                piece = self._queue.get(block=not sent)
            except Empty:
                return True
            if piece is None:
                return False
            sent.append(piece)
            process.send(piece.work, piece.things)
        return True


def _one_by_one(process: _Process, piece: _Piece) -> list[Any] | None:
    """Return a result for each thing; None where they have to be worked on here."""
    results: list[Any] = []
    for thing in piece.things:
        try:
            process.send(piece.work, [thing])
            some = process.receive()
        except WorkerDied:
            if not process.begin_again():
                return None
            some = [piece.work.lost(thing)]
        if some is None:
            return None
        results += some
    return results


class _Process:
    """A process that `worker.serve` runs in."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = modules
        #: Held while it is started or ended.
        self._turn = threading.Lock()
        self._ended = False
        self._work = 0
        self._process = _started()

    @property
    def running(self) -> bool:
        """Whether it takes work."""
        return not self._ended and self._process.poll() is None

    def is_ready(self) -> bool:
        """Whether it has loaded what it needs."""
        try:
            self._write(self._modules)
            return bool(self._read())
        except WorkerDied:
            return False

    def begin_again(self) -> bool:
        """Start anew after it died; whether that could be done."""
        with self._turn:
            if self._ended:
                return False
            self.close()
            self._work, self._process = 0, _started()
        return self.is_ready()

    def send(self, work: _Work, things: Sequence[Any]) -> None:
        """Have it work on things; raises WorkerDied."""
        known = self._work == work.number
        self._work = work.number
        self._write((None if known else work.pickled, pickle.dumps(things)))

    def receive(self) -> list[Any] | None:
        """Return what came of things sent; None if work raised something.

        Raises WorkerDied.
        """
        done, result = self._read()
        return [result] if done else None

    def _write(self, message: Any) -> None:
        try:
            pickle.dump(message, self._process.stdin)  # type: ignore[arg-type]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except (OSError, ValueError) as error:
            self._process.kill()
            raise WorkerDied from error

    def _read(self) -> Any:
        try:
            return pickle.load(self._process.stdout)  # type: ignore[arg-type]
        except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
            self._process.kill()
            raise WorkerDied from error

    def end(self) -> None:
        """End it at once."""
        with self._turn:
            self._ended = True
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Close the pipes of a process that ended."""
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            # What was left to be written has no reader.
            with suppress(OSError, ValueError):
                pipe.close()  # type: ignore[union-attr]


def _started() -> subprocess.Popen[bytes]:
    program = _PROGRAM.format(sys.path)
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
