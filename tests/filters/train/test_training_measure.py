"""The held-out AUC against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.filters.train.measure import auc, held_out_auc, wrong_partners

numbers = st.lists(st.integers(-3, 3), min_size=1, max_size=20)


@given(numbers, numbers)
def test_auc_is_the_share_of_pairs_in_the_right_order(higher, lower):
    pairs = [(a > b) + 0.5 * (a == b) for a in higher for b in lower]
    area = auc(np.array(higher, float), np.array(lower, float))
    assert area == pytest.approx(np.mean(pairs))


def test_wrong_partners_never_share_a_caption_and_serve_equally_often():
    uids = [f"u{row}" for row in range(30)]
    captions = [(f"text {row // 2}", f"own {row}") for row in range(30)]
    pairs = wrong_partners(uids, captions, each=4)
    assert all(row // 2 != other // 2 for row, other in pairs)
    apart = wrong_partners(uids, [(uid,) for uid in uids], each=4)
    assert np.bincount([other for _, other in apart]).tolist() == [4] * 30


def test_perfect_vectors_have_auc_one_and_no_pairs_one_half():
    eye = np.eye(6, dtype=np.float32)
    pairs = wrong_partners([f"u{i}" for i in range(6)], [(str(i),) for i in range(6)])
    assert held_out_auc(eye, eye, pairs) == 1.0
    assert held_out_auc(eye, eye, []) == 0.5
