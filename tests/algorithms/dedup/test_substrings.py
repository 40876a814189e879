"""Repeated passages against brute force over all windows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from winnow.algorithms.dedup.substrings import repeated_passages

from tests.examples import examples


def joined(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    bounds = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    return np.frombuffer(b"".join(texts), np.uint8), bounds


def brute_force(
    texts: list[bytes], length: int, keep_first: bool
) -> list[tuple[int, int, int, int]]:
    base = np.cumsum([0, *map(len, texts)]).tolist()
    windows = [
        (base[row] + i, text[i : i + length])
        for row, text in enumerate(texts)
        for i in range(len(text) - length + 1)
    ]
    count = Counter(window for _, window in windows)
    first: dict[bytes, int] = {}
    for place, window in windows:
        first.setdefault(window, place)
    spans: list[list[int]] = []
    for row in range(len(texts)):
        open_ = False
        for place, window in windows:
            if not base[row] <= place < base[row + 1]:
                continue
            if count[window] > 1 and not (keep_first and first[window] == place):
                if open_ and place <= spans[-1][1]:
                    spans[-1][1] = place + length
                else:
                    earlier = -1 if first[window] == place else first[window]
                    spans.append([place, place + length, earlier, count[window]])
                    open_ = True
    return [tuple(span) for span in spans]


def passages(texts: list[bytes], length: int, **more):
    text, bounds = joined(texts)
    repeats = repeated_passages(text, bounds, length, **more)
    return [tuple(int(value) for value in row) for row in zip(*repeats, strict=True)]


@settings(max_examples=examples(60, 200), deadline=None)
@given(
    texts=st.lists(st.text("ab", max_size=30).map(str.encode), max_size=6),
    length=st.integers(1, 9),
    keep_first=st.booleans(),
    threads=st.integers(1, 3),
)
@example([b"aaaaaaaaaa"], 3, True, 1)
@example([b"abcabc", b"", b"abc"], 3, False, 2)
def test_passages_are_those_of_brute_force(texts, length, keep_first, threads):
    repeats = passages(
        texts, length, keep_first=keep_first, threads=threads, table_bytes=1024
    )
    assert repeats == brute_force(texts, length, keep_first)


def documents(rows: int, seed: int) -> list[bytes]:
    """Texts of words, some with a notice, a quotation or a whole other text in them."""
    rng = np.random.default_rng(seed)
    notice = b"Licensed under the terms of some licence, without warranty of any kind."
    texts: list[bytes] = []
    for i in range(rows):
        text = b" ".join(b"w%d" % n for n in rng.integers(0, 5000, 40))
        if i % 7 == 0:
            text = notice + text
        if i % 11 == 5:
            quoted = texts[int(rng.integers(i))]
            text = text[:60] + quoted[20:120] + text[60:]
        if i % 97 == 3:
            text = texts[i // 2]
        texts.append(text)
    return texts


@pytest.mark.parametrize("keep_first", [True, False])
def test_two_thousand_texts_against_brute_force(keep_first):
    texts = documents(2000, 1)
    text, bounds = joined(texts)
    # A small table, so that there are several parts.
    small = repeated_passages(
        text, bounds, 50, keep_first=keep_first, threads=2, table_bytes=1 << 19
    )
    whole = repeated_passages(text, bounds, 50, keep_first=keep_first)
    for one, other in zip(small, whole, strict=True):
        np.testing.assert_array_equal(one, other)
    repeats = [tuple(map(int, row)) for row in zip(*whole, strict=True)]
    assert repeats == fast_brute_force(texts, 50, keep_first)
    assert len(repeats) > 300


def fast_brute_force(texts, length, keep_first):
    """As brute_force, one pass over a dictionary."""
    count: Counter[bytes] = Counter()
    first: dict[bytes, int] = {}
    base = 0
    for text in texts:
        for i in range(len(text) - length + 1):
            window = text[i : i + length]
            count[window] += 1
            first.setdefault(window, base + i)
        base += len(text)
    spans: list[list[int]] = []
    base = 0
    for text in texts:
        last = -1
        for i in range(len(text) - length + 1):
            window, place = text[i : i + length], base + i
            if count[window] > 1 and not (keep_first and first[window] == place):
                if place <= last:
                    spans[-1][1] = place + length
                else:
                    earlier = -1 if first[window] == place else first[window]
                    spans.append([place, place + length, earlier, count[window]])
                last = place + length
        base += len(text)
    return [tuple(span) for span in spans]


def test_impossible_lengths_are_refused():
    with pytest.raises(ValueError, match="at least 1 byte"):
        repeated_passages(np.zeros(3, np.uint8), np.array([0, 3]), 0)
