"""Texts whose script has no spaces: units, shingles, and what edits do to them."""

from __future__ import annotations

import itertools

import datasketch
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from winnow.algorithms.dedup import minhash
from winnow.algorithms.dedup.jaccard import text_similarity
from winnow.algorithms.dedup.spaceless_scripts import RANGES

from tests.examples import examples

MIXED = "ab1 .\t\u3000日本語。กาཀ한국é，𠀀"
TEXT = st.text(st.one_of(st.sampled_from(MIXED), st.characters(codec="utf-8")))
#: First and last letters that texts are drawn from, and whether they have spaces.
SCRIPTS = {
    "Latin": ("abcdefghijklmnopqrstuvwxyz", True),
    "Arabic": ("".join(map(chr, range(0x0627, 0x064B))), True),
    "Korean": ("".join(map(chr, range(0xAC00, 0xAE00))), True),
    "Chinese": ("".join(map(chr, range(0x4E00, 0x5600))), False),
    "Japanese": ("".join(map(chr, range(0x3041, 0x3097))), False),
    "Thai": ("".join(map(chr, range(0x0E01, 0x0E2F))), False),
    "Khmer": ("".join(map(chr, range(0x1780, 0x17B4))), False),
}


def spaceless(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in RANGES)


def units(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The definition: the text as it is cut, and where each unit lies in it."""
    squeezed = " ".join(text.split())
    chars = [
        c
        for i, c in enumerate(squeezed)
        if c != " " or not (spaceless(squeezed[i - 1]) and spaceless(squeezed[i + 1]))
    ]
    runs, start = list[tuple[int, int]](), None
    for i, c in enumerate([*chars, " "]):
        inside = c != " " and not spaceless(c)
        if inside and start is None:
            start = i
        if not inside and start is not None:
            runs.append((start, i))
            start = None
        if c != " " and spaceless(c):
            runs.append((i, i + 1))
    return "".join(chars), runs


def shingles(text: str, ngram: int) -> list[bytes]:
    whole, spans = units(text)
    if not spans:
        return []
    ngram = min(ngram, len(spans))
    return [
        whole[spans[i][0] : spans[i + ngram - 1][1]].encode()
        for i in range(len(spans) - ngram + 1)
    ]


@settings(max_examples=examples(60, 200), deadline=None)
@given(texts=st.lists(TEXT, max_size=5), ngram=st.integers(1, 6))
@example(["日本 語x yก", "a 日 b", "日", " 。"], 2)
def test_units_are_words_and_characters_and_sketches_those_of_datasketch(texts, ngram):
    told = minhash.sketched(texts, ngram=ngram, unit="auto", num_perm=16)
    sets = [shingles(text, ngram) for text in texts]
    wanted = datasketch.MinHash.bulk(sets, num_perm=16)
    for row, sketch in zip(told.signatures, wanted, strict=True):
        np.testing.assert_array_equal(row, sketch.hashvalues)
    assert told.units.tolist() == [len(units(text)[1]) for text in texts]
    assert told.singles.tolist() == [sum(map(spaceless, text)) for text in texts]


@settings(max_examples=examples(20, 60), deadline=None)
@given(st.lists(st.text(st.characters(max_codepoint=0xDFF)), max_size=5))
def test_scripts_with_spaces_are_cut_into_words(texts):
    np.testing.assert_array_equal(
        minhash.signatures(texts, unit="auto", num_perm=8),
        minhash.signatures(texts, unit="word", num_perm=8),
    )


def document(rng: np.random.Generator, letters: str, spaces: bool) -> str:
    text = "".join(letters[i] for i in rng.integers(0, len(letters), 500))
    if not spaces:
        return text
    cuts = np.cumsum(rng.integers(3, 9, 200))
    return " ".join(
        text[a:b] for a, b in itertools.pairwise([0, *cuts.tolist()]) if text[a:b]
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_two_edits_in_500_characters_stay_near_in_every_script(script):
    letters, spaces = SCRIPTS[script]
    rng = np.random.default_rng(7)
    texts: list[str] = []
    for _ in range(40):
        one = document(rng, letters, spaces)
        other = list(one)
        for i in rng.choice(np.arange(len(one)), 2, replace=False):
            other[i] = letters[0] if other[i] != " " else " "
        texts += [one, "".join(other)]
    left = np.arange(0, 80, 2, dtype=np.uint32)
    auto = text_similarity(texts_of(texts), unit="auto")(left, left + 1)
    words = text_similarity(texts_of(texts), unit="word")(left, left + 1)
    # Two edits change at most ten shingles of five units.
    assert auto.mean() >= (0.8 if spaces else 0.95)
    if spaces:
        np.testing.assert_array_equal(auto, words)
    else:
        assert words.mean() < 0.2


def texts_of(texts: list[str]):
    import pyarrow as pa

    return pa.array(texts, pa.large_string())


def test_a_wrapped_chinese_text_is_the_same_text():
    text = "".join(map(chr, range(0x4E00, 0x4EC8)))
    wrapped = "\n".join(text[i : i + 40] for i in range(0, 200, 40))
    similarity = text_similarity(texts_of([text, wrapped]), unit="auto")
    zero = np.zeros(1, np.uint32)
    assert similarity(zero, zero + 1).tolist() == [1.0]
