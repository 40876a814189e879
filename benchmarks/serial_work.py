"""What more cores than this machine has would give each step, by its serial work.

    python benchmarks/serial_work.py [--rows 300000] [--dim 256] [--work DIR]

The run of `benchmarks/scale.py` once with its pieces one after the other, each timed:
what `in_threads` works on side by side, what `taken_ahead` and `OneBehind` do in a
thread of their own. Then 1, 2, 8, 16 and 64 cores are played through: pieces in their
order, each on the core that is free first, as many waiting as `in_threads` lets wait,
results in order; the rest by one core, but for what libraries do in threads themselves
(processor time above the clock's). No core is slower for the others: memory bandwidth
is not in it. Last, 1 and 2 cores as measured, beside the same as played through.
"""

from __future__ import annotations

import argparse
import heapq
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cores import run_on
from scale import measure

_CORES = (1, 2, 8, 16, 64)


@dataclass
class Pool:
    """Items of one call of `in_threads`: seconds to make, work on and take each."""

    ahead: bool
    items: list[list[float]] = field(default_factory=list)


@dataclass
class Step:
    """What one step does, in its order: ("rest" | "behind" | "wait", s) or a pool."""

    events: list[tuple[str, Any]] = field(default_factory=list)
    wall: float = 0.0
    cpu: float = 0.0

    def pieces(self) -> float:
        """Seconds of what a thread beside the caller's may do."""
        total = sum(s for kind, s in self.events if kind == "behind")
        for kind, pool in self.events:
            if kind == "pool":
                total += sum(work for _, work, _ in pool.items)
                total += sum(made for made, _, _ in pool.items if pool.ahead)
        return total

    def rest(self, cores: int) -> float:
        """By what the rest is multiplied: 1 but for what libraries do in threads."""
        had = len(os.sched_getaffinity(0))
        wall, cpu = self.wall - self.pieces(), self.cpu - self.pieces()
        if had < 2 or wall <= 0:
            return 1.0
        shared = min(max(0.0, (cpu - wall) * had / (had - 1)), cpu)
        return (max(0.0, wall - shared / had) + shared / cores) / wall

    def serial(self) -> float:
        """Seconds of the rest that any number of cores leaves."""
        return (self.wall - self.pieces()) * self.rest(10**9)


class Recorder:
    """Does every piece when it is asked for, and notes how long it took."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._mark = time.perf_counter()
        self._cpu = 0.0
        self._inside = False

    def begin(self) -> None:
        """A step begins."""
        self.steps.append(Step())
        self._mark, self._cpu = time.perf_counter(), time.process_time()
        self._start = self._mark

    def end(self) -> None:
        """The step ends."""
        self._note("rest", self._lap())
        self.steps[-1].wall = time.perf_counter() - self._start
        self.steps[-1].cpu = time.process_time() - self._cpu

    def in_threads(
        self, work: Callable[[Any], Any], items: Iterable[Any], threads: int
    ) -> Iterator[Any]:
        """Stand in for `winnow.core.task.in_threads`."""
        if self._inside or not self.steps:
            yield from map(work, items)
            return
        self._note("rest", self._lap())
        pool = Pool(isinstance(items, Ahead))
        self._note("pool", pool)
        self._inside = True
        try:
            for item in items:
                pool.items.append([self._lap(), 0.0, 0.0])
                result = work(item)
                pool.items[-1][1] = self._lap()
                self._inside = False
                yield result
                self._inside = True
                pool.items[-1][2] = self._lap()
        finally:
            self._inside = False
            self._note("rest", self._lap())

    def behind(self, work: Callable[[], object]) -> None:
        """Stand in for `OneBehind.start`."""
        nested = self._inside or not self.steps
        if not nested:
            self._note("rest", self._lap())
        work()
        if not nested:
            self._note("behind", self._lap())

    def waited(self) -> None:
        """Stand in for `OneBehind.wait`."""
        if self.steps and not self._inside:
            self._note("rest", self._lap())
            self._note("wait", 0.0)

    def _note(self, kind: str, what: Any) -> None:
        self.steps[-1].events.append((kind, what))

    def _lap(self) -> float:
        before, self._mark = self._mark, time.perf_counter()
        return self._mark - before


class Ahead:
    """Items that `taken_ahead` would have a thread take."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)


def recorded(rows: int, dim: int, work: Path) -> dict[str, Step]:
    """Run the recipe with its pieces one after the other; return each step's."""
    import winnow  # noqa: F401
    from winnow.core import meter, task
    from winnow.numeric import threads
    from winnow.steps import cluster, ready_vectors, semantic_tasks  # noqa: F401

    recorder = Recorder()
    made, asked = meter.Meter.__init__, meter.Meter.read

    def begin(self: Any) -> None:
        made(self)
        recorder.begin()

    def end(self: Any) -> Any:
        recorder.end()
        return asked(self)

    meter.Meter.__init__, meter.Meter.read = begin, end  # type: ignore[method-assign]
    for name, given in (("in_threads", recorder.in_threads), ("taken_ahead", Ahead)):
        original = getattr(task, name)
        for module in list(sys.modules.values()):
            if getattr(module, name, None) is original:
                setattr(module, name, given)
    assert threads.in_threads == recorder.in_threads
    task.OneBehind.start = lambda self, work: recorder.behind(work)  # type: ignore
    task.OneBehind.wait = lambda self: recorder.waited()  # type: ignore
    result = measure(rows, dim, work)
    return dict(zip(result["steps"], recorder.steps, strict=True))


def played(step: Step, cores: int) -> float:
    """Return the seconds of a step on so many cores."""
    rest, clock, behind = step.rest(cores), 0.0, 0.0
    for kind, what in step.events:
        if kind == "rest":
            clock += what * rest
        elif kind == "pool":
            clock = played_pool(what, cores, rest, clock)
        elif cores < 2:
            clock += what
        else:
            clock = max(clock, behind)
            behind = clock + what
    # The caller and threads that read ahead are on these cores, too.
    serial, rests = step.serial(), (step.wall - step.pieces()) * rest
    least = (step.pieces() + serial) / cores + (rests - serial)
    return max(clock, behind, least)


def played_pool(pool: Pool, cores: int, rest: float, clock: float) -> float:
    """Return when the last result of a pool is taken that begins at `clock`."""
    if cores < 2:
        made_by = 1.0 if pool.ahead else rest
        return clock + sum(m * made_by + w + t * rest for m, w, t in pool.items)
    free = [clock] * cores
    waiting: list[tuple[float, float]] = []
    ready = clock
    for made, work, taken in pool.items:
        if pool.ahead:
            # The next one is begun once this one is fetched.
            ready += made
            clock = ready = max(clock, ready)
        else:
            clock += made * rest
        done = max(clock, heapq.heappop(free)) + work
        heapq.heappush(free, done)
        waiting.append((done, taken))
        if len(waiting) == 2 * cores:
            clock = took(clock, waiting.pop(0), rest)
    for each in waiting:
        clock = took(clock, each, rest)
    return clock


def took(clock: float, result: tuple[float, float], rest: float) -> float:
    """Return when a result is taken: once it is there, and the caller free."""
    done, seconds = result
    return max(clock, done) + seconds * rest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp(prefix="winnow-serial-"))
    measured = {}
    for cores in (1, 2):
        command = [sys.executable, str(Path(__file__).with_name("cores.py"))]
        command += ["--cores", str(cores), "--rows", str(given.rows)]
        command += ["--dim", str(given.dim), "--work", str(work)]
        measured[cores] = run_on(cores, command)
    print(f"{given.rows:,} × {given.dim}, load {os.getloadavg()[0]:.1f}", flush=True)
    steps = recorded(given.rows, given.dim, work)
    report(steps, measured)
    if not given.work:
        shutil.rmtree(work)


def report(steps: dict[str, Step], measured: dict[int, dict[str, float]]) -> None:
    """Print each step's serial seconds, and what cores bring, played and measured."""
    columns = "".join(f"{f'x{n}':>7}" for n in _CORES[1:])
    print(f"{'step':<14}{'1 core':>8}{'serial':>8}{columns}   measured: 1, 2, times")
    totals = dict.fromkeys(_CORES, 0.0)
    for name, step in steps.items():
        seconds = {n: played(step, n) for n in _CORES}
        for n, s in seconds.items():
            totals[n] += s
        line(name, seconds, step.serial(), measured)
    line("all", totals, sum(step.serial() for step in steps.values()), measured)


def line(
    name: str,
    seconds: dict[int, float],
    serial: float,
    measured: dict[int, dict[str, float]],
) -> None:
    """Print one step."""
    times = "".join(f"{seconds[1] / seconds[n]:>7.2f}" for n in _CORES[1:])
    one, two = measured[1][name], measured[2][name]
    real = f"   {one:>6.1f} {two:>6.1f} {one / two:>6.2f}"
    print(f"{name:<14}{seconds[1]:>8.1f}{serial:>8.1f}{times}{real}")


if __name__ == "__main__":
    main()
