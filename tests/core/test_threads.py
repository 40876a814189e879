"""Work done by threads comes in its order, and no further ahead than asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from winnow.core.task import in_threads


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
