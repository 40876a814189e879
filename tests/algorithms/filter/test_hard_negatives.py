"""Wrong captions: never a right one, the same for any order of rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.algorithms.filter.hard_negatives import (
    noun_places,
    strangers,
    swapped,
    vocabulary,
    words_of,
)

from tests.examples import examples

CLUSTER = [
    "A brown dog on the beach .",
    "Two cats sit under a table",
    "Three men with the ball",
    "A man walks his horse to a river",
]


def test_nouns_and_numbers_of_captions():
    words = vocabulary(CLUSTER)
    assert {"dog", "beach", "table", "ball", "horse", "river"} <= set(words.nouns)
    assert not {"brown", "under", "the", "two"} & set(words.nouns)
    assert words.numbers == ("three", "two")


def test_a_caption_without_a_determiner_gives_its_content_words():
    words = ["lighthouse", "at", "night"]
    assert [words[i] for i in noun_places(words)] == ["lighthouse", "night"]


@given(st.integers(0, 2**64 - 1), st.sampled_from(CLUSTER))
@settings(max_examples=examples(30, 100), deadline=None)
def test_one_word_changes_to_one_that_no_right_caption_has(key, caption):
    others, right = vocabulary(CLUSTER), words_of([caption, "The lighthouse ball"])
    edited = swapped(caption, others, right, key)
    before, after = caption.split(), edited.split()
    changed = [
        (a, b) for a, b in zip(before, after, strict=True) if a.lower() != b.lower()
    ]
    assert len(changed) == 1
    old, new = changed[0]
    assert new.lower() not in right
    assert new.lower() in {*others.nouns, *others.numbers}
    assert old[0].isupper() == new[0].isupper()
    has_number = any(word.lower() in others.numbers for word in before)
    assert (new.lower() in others.numbers) == has_number
    assert swapped(caption, others, right, key) == edited


def test_where_no_other_word_is_free_nothing_is_changed():
    caption = "A dog on a beach"
    assert swapped(caption, vocabulary([caption]), words_of([caption]), 5) is None
    assert swapped("…", vocabulary(CLUSTER), set(), 5) is None
    # A number becomes another one, even where the cluster has none.
    changed = swapped("Four men", vocabulary(["Four men"]), words_of(["Four men"]), 0)
    assert changed.split()[0] in {"Two", "Three", "Five"}


@given(st.integers(0, 300))
@settings(max_examples=examples(20, 60), deadline=None)
def test_strangers_share_the_group_and_no_caption(seed):
    random = np.random.default_rng(seed)
    n = 24
    keys = random.permutation(n).astype(np.uint64)
    groups = random.integers(0, 4, n)
    captions = [frozenset(random.integers(0, 8, random.integers(1, 3)).tolist())
           for _ in range(n)]  # fmt: skip
    partner = strangers(keys, groups, captions)
    for row, other in enumerate(partner.tolist()):
        possible = [
            o
            for o in range(n)
            if groups[o] == groups[row] and not captions[o] & captions[row]
        ]
        assert (other in possible) if possible else other == -1
    order = random.permutation(n)
    again = strangers(keys[order], groups[order], [captions[i] for i in order])
    for first, other in zip(order.tolist(), again.tolist(), strict=True):
        assert (order[other] if other >= 0 else -1) == partner[first]


@pytest.mark.parametrize("n", [0, 1])
def test_alone_there_is_no_stranger(n):
    partners = strangers(
        np.zeros(n, np.uint64), np.zeros(n, np.int64), [frozenset({1})] * n
    )
    assert partners.tolist() == [-1] * n
