"""Batches: every image once an epoch, never two equal captions, no hidden state."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.core.errors import InputError
from winnow.filters.train.order import Order, wrong_order


def flat(captions):
    return [text for each in captions for text in each]


@given(
    st.lists(
        st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=3, unique=True),
        min_size=4,
        max_size=30,
    ),
    st.integers(2, 6),
)
def test_batches_repeat_no_image_in_an_epoch_and_no_caption_in_a_batch(captions, size):
    uids = [f"u{row}" for row in range(len(captions))]
    texts = flat(captions)
    if len({c for each in captions for c in each}) < 8:
        return
    order = Order(uids, captions, size, seed=1)
    seen: dict[int, list[int]] = {}
    try:
        batches = list(islice(order(), 20))
    except InputError:
        # All captions that an epoch drew were equal.
        return
    for batch in batches:
        said = [texts[number] for number in batch.captions]
        assert len(set(said)) == len(said)
        for row, text in zip(batch.rows.tolist(), said, strict=True):
            assert text in captions[row]
        seen.setdefault(batch.epoch, []).extend(batch.rows.tolist())
    for rows in seen.values():
        assert len(set(rows)) == len(rows)


def test_an_epoch_without_equal_captions_leaves_out_less_than_a_batch():
    captions = [(f"text {row}",) for row in range(37)]
    order = Order([f"u{row}" for row in range(37)], captions, 8, seed=0)
    epochs = [batch.epoch for batch in islice(order(), 8)]
    assert epochs == [0, 0, 0, 0, 1, 1, 1, 1]
    assert order.steps_per_epoch == 4


def test_every_caption_of_an_image_has_its_turn():
    captions = [tuple(f"{row} {n}" for n in range(5)) for row in range(8)]
    order = Order([f"u{row}" for row in range(8)], captions, 8, seed=0)
    met = {int(number) for batch in islice(order(), 5) for number in batch.captions}
    assert met == set(range(40))


def test_a_later_start_gives_the_batches_that_an_uninterrupted_one_gives():
    captions = [(f"text {row % 20}", f"other {row}") for row in range(50)]
    uids = [f"u{row}" for row in range(50)]
    whole = list(islice(Order(uids, captions, 8, seed=5)(), 15))
    later = list(islice(Order(uids, captions, 8, seed=5)(9), 6))
    for one, other in zip(whole[9:], later, strict=True):
        assert np.array_equal(one.rows, other.rows)
        assert np.array_equal(one.captions, other.captions)


def test_the_order_of_the_rows_does_not_matter():
    captions = {f"u{row}": (f"a {row}", f"b {row}") for row in range(30)}

    def epochs(uids):
        texts = [captions[uid] for uid in uids]
        told = flat(texts)
        order = Order(uids, texts, 7, seed=2)
        return [
            [(uids[r], told[c]) for r, c in zip(b.rows, b.captions, strict=True)]
            for b in islice(order(), 8)
        ]

    assert epochs(sorted(captions)) == epochs(sorted(captions, reverse=True))


def test_fewer_different_captions_than_a_batch_make_a_smaller_one():
    captions = [("one",), ("two",), ("three",), ("two",), ("one",)]
    order = Order([f"u{row}" for row in range(5)], captions, 5, seed=0)
    assert sorted(len(b.rows) for b in islice(order(), 3)) == [3, 3, 3]


def test_a_pool_of_one_caption_is_refused():
    order = Order(["a", "b", "c"], [("same",)] * 3, 2, seed=0)
    with pytest.raises(InputError, match="share one caption"):
        next(order())


def test_shares_of_processes_are_equal():
    captions = [(f"text {row}",) for row in range(21)]
    order = Order([f"u{row}" for row in range(21)], captions, 9, seed=0, share=2)
    assert {len(batch.rows) for batch in islice(order(), 6)} == {8}


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5, 1.0])
def test_wrong_captions_are_exactly_a_share_and_none_is_its_own(fraction):
    uids = [f"u{row}" for row in range(40)]
    wrong = wrong_order(uids, fraction, seed=0)
    assert len(wrong) == 40 * fraction
    assert all(row != other for row, other in wrong.items())
    assert sorted(wrong) == sorted(wrong.values())


def test_a_smaller_share_of_wrong_captions_lies_within_a_larger_one():
    uids = [f"u{row}" for row in range(40)]
    assert set(wrong_order(uids, 0.25, 7)) < set(wrong_order(uids, 0.5, 7))
