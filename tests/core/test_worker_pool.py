"""Processes beside this one: what comes of work does not depend on them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from winnow.core.worker_pool import WorkerPool

HERE = os.getpid()


def process_and_squares(numbers: Sequence[int]) -> tuple[int, list[int]]:
    os.write(1, b"what work prints is no answer")
    if os.getpid() != int(os.environ["CALLER"]):
        for number in numbers:
            if number == 13:
                os._exit(1)
            if number == 14:
                raise ValueError("elsewhere")
    elif 14 in numbers:
        raise ValueError("here")
    else:
        time.sleep(0.01)  # so that others have something to do
    return os.getpid(), [number**2 for number in numbers]


def lost(number: int) -> tuple[int, list[int]]:
    return HERE, [-number]


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerPool]:
    monkeypatch.setenv("CALLER", str(HERE))
    pool = WorkerPool(2)
    yield pool
    pool.close()
    assert not pool.running


def pieces(numbers: Sequence[int], size: int) -> list[list[int]]:
    return [list(numbers[i : i + size]) for i in range(0, len(numbers), size)]


def until_they_work(pool: WorkerPool) -> None:
    """Wait until another process has worked on something."""
    deadline = time.monotonic() + 120
    done: set[int] = set()
    while done <= {HERE} and time.monotonic() < deadline:
        for process, _ in pool.map(process_and_squares, pieces(range(9), 1), lost):
            done.add(process)
    assert done - {HERE}


def test_results_come_in_order_from_several_processes(pool: WorkerPool) -> None:
    assert not pool.running
    pool.start()
    assert pool.running
    until_they_work(pool)
    results = list(pool.map(process_and_squares, pieces(range(20, 620), 3), lost))
    assert [n for _, some in results for n in some] == [n**2 for n in range(20, 620)]
    assert len({process for process, _ in results}) > 1


def test_few_pieces_are_taken_ahead(pool: WorkerPool) -> None:
    pool.start()
    taken: list[int] = []

    def each() -> Iterator[list[int]]:
        for number in range(20, 120):
            taken.append(number)
            yield [number]

    results = pool.map(process_and_squares, each(), lost)
    for count, _ in enumerate(results, 1):
        assert len(taken) <= count + 12 * 2
    assert len(taken) == 100


def test_a_process_that_dies_costs_one_thing(pool: WorkerPool) -> None:
    pool.start()
    until_they_work(pool)
    died: list[int] = []
    deadline = time.monotonic() + 120
    # This process takes the piece, and survives it, now and then.
    while not died and time.monotonic() < deadline:
        died.clear()
        each = [[20, 21], [13, 22], [23, 24], [25, 26], [27, 28]]
        results = list(pool.map(process_and_squares, each, lost))
        squares = [n for _, some in results for n in some]
        died += [n for n in squares if n < 0]
        whole = [abs(n) if n != -13 else 169 for n in squares]
        assert whole == [n**2 for some in each for n in some]
    assert died == [-13]
    until_they_work(pool)


def test_what_fails_elsewhere_is_raised_here(pool: WorkerPool) -> None:
    pool.start()
    until_they_work(pool)
    with pytest.raises(ValueError, match="here"):
        list(pool.map(process_and_squares, [[1], [14], [2], [3]], lost))


def test_a_generator_closed_early_leaves_nothing_to_do(pool: WorkerPool) -> None:
    pool.start()
    results = pool.map(process_and_squares, pieces(range(100, 200), 1), lost)
    assert next(results)[1] == [10000]
    results.close()
    again = pool.map(process_and_squares, [[5], [6]], lost)
    assert [some for _, some in again] == [[25], [36]]


def test_without_a_python_to_start_the_work_is_done_here(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    pool.start()
    results = list(pool.map(process_and_squares, pieces(range(12), 2), lost))
    assert {process for process, _ in results} == {HERE}
    assert [n for _, some in results for n in some] == [n**2 for n in range(12)]


def test_a_script_without_a_guard_is_not_run_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from winnow.core.worker_pool import WorkerPool\n"
        "print('once')\n"
        "pool = WorkerPool(1)\n"
        "pool.start()\n"
        "print(list(pool.map(sum, [[1, 2], [3]], abs)))\n"
        "pool.close()\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == ["once", "[3, 3]"]
