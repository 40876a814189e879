"""What normalisation may take away, and what it must not."""

from __future__ import annotations

import unicodedata

import numba
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.algorithms.dedup.folding import STABLE
from winnow.algorithms.dedup.punctuation import drop_conditional_of, is_dropped
from winnow.algorithms.dedup.text_normalisation import (
    checked_rules,
    normalised,
    rows_of,
)

from tests.examples import examples

PLAIN = ("case", "punctuation", "whitespace")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("C# tutorial", "C++ tutorial"),
        ("C# tutorial", "C tutorial"),
        ("a < b", "a > b"),
        ("a <= b", "a < b"),
        ("a != b", "a = b"),
        ("it is -5 outside", "it is 5 outside"),
        ("-.5 and on", ".5 and on"),
        ("1.5 litres", "15 litres"),
        ("1.5 litres", "1 5 litres"),
        ("at 10:30", "at 10 30"),
        ("100% sure", "100 sure"),
        ("$5 off", "€5 off"),
        ("AT&T", "AT T"),
        ("@home now", "home now"),
        ("5 − 3", "5 3"),
        ("＃１ hit", "１ hit"),
        ("5‰", "5"),
    ],
)
def test_texts_that_mean_different_things_stay_different(one, other):
    assert normalised(one, PLAIN) != normalised(other, PLAIN)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello, world!", "hello world"),
        ("well-known", "well known"),
        ("“quoted” — so…", "quoted so"),
        ("end. Start", "end start"),
        ("(see: p.c.)", "see p c"),
        ("2024-01-02", "2024 01 02"),
        ("你好，世界。", "你好 世界"),
    ],
)
def test_pure_punctuation_goes(one, other):
    assert normalised(one, PLAIN) == normalised(other, PLAIN)


def test_code_keeps_every_sign_and_minds_no_spacing():
    rules = ("code", "whitespace")
    assert normalised("if(a<b){x+=1;}", rules) == normalised(
        "if (a < b) { x += 1; }", rules
    )
    assert normalised("a->b", rules) != normalised("a-b", rules)
    assert normalised("Name", rules) != normalised("name", rules)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("café", "cafe\u0301"),
        ("café", "cafe"),
        ("co\u00adoperate", "cooperate"),
        ("zero\u200bwidth", "zerowidth"),
        ("مُحَمَّد", "محمد"),
        ("شُكْـــرًا", "شكرا"),
        ("Ἑλλάς", "Ελλας"),
        ("שָׁלוֹם", "שלום"),
    ],
)
def test_fold_takes_marks_away(one, other):
    assert normalised(one, ["fold"]) == normalised(other, ["fold"])
    if unicodedata.normalize("NFC", one) != unicodedata.normalize("NFC", other):
        assert normalised(one, ["nfc"]) != normalised(other, ["nfc"])


@pytest.mark.parametrize(
    ("one", "other"), [("й", "и"), ("が", "か"), ("कि", "क"), ("กิ", "ก")]
)
def test_fold_leaves_marks_that_are_letters(one, other):
    assert normalised(one, ["fold"]) != normalised(other, ["fold"])


def test_composed_and_decomposed_are_one_under_nfc():
    assert normalised("Ame\u0301lie", ["nfc"]) == "Amélie"
    assert checked_rules({"whitespace", "nfc"}) == ("nfc", "whitespace")


def test_what_nfc_leaves_alone_is_told_right():
    """Every character that the kernel passes over is inert under NFC."""
    second = set()
    for code in range(0x110000):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            second.add(int(parts[1], 16))
    low = range(0x300)
    for first, last in [*STABLE, (low.start, low.stop - 1)]:
        for code in range(first, last + 1):
            character = chr(code)
            assert unicodedata.normalize("NFC", character) == character
            assert unicodedata.combining(character) == 0
            assert code not in second


@settings(max_examples=examples(90, 300), deadline=None)
@given(
    st.text(st.one_of(st.sampled_from("a1-.,:/*!= é٣_"), st.characters(codec="utf-8")))
)
def test_normalising_twice_changes_nothing_more(text):
    once = drop_conditional_of(text)
    assert drop_conditional_of(once) == once
    once = normalised(text, PLAIN)
    assert normalised(once, PLAIN) == once


def test_every_ascii_sign_has_its_say():
    kept = [
        c for c in map(chr, range(33, 127)) if not c.isalnum() and not is_dropped(c)
    ]
    assert "".join(kept) == "!#$%&*+,-./:<=>@^"


def test_kernels_are_compiled_once_however_arrow_holds_a_column():
    """Numba tells bytes that may be written from bytes that may not."""
    built = pa.array(["one two", "three"])
    _, offsets, data = built.buffers()
    mapped = pa.py_buffer(data.to_pybytes())
    columns = [
        built,
        pa.Array.from_buffers(pa.string(), 2, [None, offsets, mapped]),
        pa.nulls(2),
        pa.array(["Ａ wide letter", "ﬁ"]),
    ]
    assert data.is_mutable
    assert not mapped.is_mutable
    rows = [rows_of(column, ("nfkc",))[0] for column in columns]
    assert [len(of_column.extra) > 0 for of_column in rows] == [False] * 3 + [True]
    assert len({numba.typeof(of_column) for of_column in rows}) == 1
