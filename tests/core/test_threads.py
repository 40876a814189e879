"""Work done by threads comes in its order, and no further ahead than asked."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest
from winnow.core import task
from winnow.core.task import OneBehind, in_threads, taken_ahead


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_come_in_order_and_few_items_are_taken_ahead(threads: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(50):
            taken.append(i)
            yield i

    done = []
    for result in in_threads(lambda i: i * i, items(), threads):
        done.append(result)
        assert len(taken) <= len(done) + 2 * threads
    assert done == [i * i for i in range(50)]


def test_what_fails_is_raised_where_its_result_is_due() -> None:
    results = in_threads(lambda i: 1 // (3 - i), range(10), 2)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_closed_generator_leaves_no_thread() -> None:
    before = threading.active_count()
    results = in_threads(str, range(100), 2)
    assert next(results) == "0"
    assert threading.active_count() > before
    results.close()
    assert threading.active_count() == before


def test_work_left_behind_is_done_in_order_by_one_thread_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task, "available_cores", lambda: 2)
    behind, done = OneBehind(), []
    caller, goes_on = threading.get_ident(), threading.Event()

    def first() -> None:
        assert goes_on.wait(60)
        done.append(("first", threading.get_ident() != caller))

    behind.start(first)
    goes_on.set()  # the caller had not to wait for it
    behind.start(lambda: done.append(("second", threading.get_ident() != caller)))
    behind.wait()
    assert done == [("first", True), ("second", True)]


@pytest.mark.parametrize("cores", [1, 2])
def test_what_fails_behind_is_raised_by_the_next_call(
    monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr(task, "available_cores", lambda: cores)
    behind, done = OneBehind(), []

    def two_pieces() -> None:
        behind.start(lambda: 1 // 0)
        behind.start(lambda: done.append("not begun"))

    with pytest.raises(ZeroDivisionError):
        two_pieces()
    assert not done
    behind.wait()  # told once


@pytest.mark.parametrize("cores", [1, 2])
def test_items_are_taken_one_ahead_and_fail_in_their_turn(
    monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr(task, "available_cores", lambda: cores)
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(5):
            taken.append(i)
            yield i
        raise ValueError("no sixth")

    done = []
    ahead = taken_ahead(items())
    for item in itertools.islice(ahead, 5):
        done.append(item)
        assert len(taken) <= len(done) + cores - 1
    assert done == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="no sixth"):
        next(ahead)


def test_what_is_taken_ahead_is_counted_and_its_thread_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(task, "available_cores", lambda: 2)
    told: ContextVar[list[int]] = ContextVar("told")
    told.set([])
    before = threading.active_count()
    ahead = taken_ahead(told.get().append(i) or i for i in range(9))
    assert next(ahead) == 0
    ahead.close()
    assert told.get() in ([0, 1], [0])
    assert threading.active_count() == before
