import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.algorithms.dedup.exact import (
    DIGEST,
    bytes_digests,
    caption_digests,
    normalise_caption,
)
from winnow.core.hashing import digest

CAPTION = st.text(
    st.one_of(
        st.sampled_from(" \t\n\x0b\x1c\x1fAbZé\xa0 "), st.characters(codec="utf-8")
    )
)


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("A  red\tstar\n", "a red star"),
        ("ＲＥＤ star", "red star"),  # full-width letters
        ("Straße", "STRASSE"),
        ("cafe\u0301", "CAF\u00c9"),  # combining accent and one letter
        ("ﬁve\u00a0stars", "five stars"),  # ligature, no-break space
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),  # final sigma
        ("x²", "x2"),
    ],
)
def test_captions_that_differ_only_in_form_are_equal(text, same_as):
    assert normalise_caption(text) == normalise_caption(same_as)


@pytest.mark.parametrize(
    ("text", "other"), [("a star", "a stars"), ("red star", "redstar"), ("é", "e")]
)
def test_captions_that_differ_in_content_are_not(text, other):
    assert normalise_caption(text) != normalise_caption(other)


@given(st.text())
def test_normalising_twice_changes_nothing_more(text):
    once = normalise_caption(text)
    assert normalise_caption(once) == once


@given(st.text(st.characters(max_codepoint=127)))
def test_the_short_cut_for_ascii_is_the_same_rule(text):
    with_accent = normalise_caption(text + " é")
    assert with_accent == (normalise_caption(text) + " é").strip()


def test_missing_and_empty_captions_are_no_ones_duplicate():
    digests = caption_digests(pa.array([None, "", " \t\n", "a", "A "]))
    assert digests.type == DIGEST == pa.binary(16)
    assert digests.is_null().to_pylist() == [True, True, True, False, False]
    assert digests[3] == digests[4]


@given(st.lists(st.one_of(st.none(), CAPTION)), st.integers(0, 3))
def test_captions_digested_together_are_those_digested_one_by_one(captions, first):
    forms = [normalise_caption(text or "").encode() for text in captions]
    expected = [digest(form) if form else None for form in forms]
    together = caption_digests(pa.array(captions, pa.string()).slice(first))
    assert together.to_pylist() == expected[first:]


def test_a_null_caption_that_owns_bytes_is_missing():
    owning = pa.array(["A  b", "hidden", " C "], pa.large_string())
    valid = pa.py_buffer(bytes([0b101]))
    captions = pa.Array.from_buffers(
        pa.large_string(), 3, [valid, *owning.buffers()[1:]]
    )
    expected = [digest(b"a b"), None, digest(b"c")]
    assert caption_digests(captions).to_pylist() == expected


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_digests_do_not_depend_on_the_arrow_type_or_chunks(kind):
    texts = ["a", None, "b", "a"]
    chunked = pa.chunked_array([pa.array(texts[:1], kind), pa.array(texts[1:], kind)])
    assert caption_digests(chunked) == caption_digests(pa.array(texts))


def test_equal_bytes_have_equal_digests():
    digests = bytes_digests(pa.array([b"\xff\xd8", b"", None, b"\xff\xd8", b"\xff"]))
    assert digests.is_null().to_pylist() == [False, True, True, False, False]
    assert digests[0] == digests[3] != digests[4]
    assert bytes_digests(pa.array([b"a"], pa.large_binary())).type == DIGEST
