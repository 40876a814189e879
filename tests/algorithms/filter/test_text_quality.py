"""Quality rules against datatrove's own filters, and each rule by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from winnow.algorithms.filter.text_quality import (
    GROUPS,
    TERMINAL,
    QualityLimits,
    first_failure,
    words_of,
)
from winnow.config.text_steps import QualityConfig

from tests.algorithms.filter.quality_texts import made

#: The limits that recipes have unless they say otherwise.
PUBLISHED = QualityLimits(
    **{name: getattr(QualityConfig(), name) for name in QualityLimits._fields}
)

#: What datatrove 0.10.1 decides over the same words; with the words of its own
#: tokeniser (spaCy), all decisions about these texts are the same.
GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "text_quality.json"
#: Our names of its reasons.
NAMES = {
    "": None,
    "dup_para_frac": "gopher_repeated_paragraphs",
    "dup_para_char_frac": "gopher_repeated_paragraph_chars",
    "dup_line_frac": "gopher_repeated_lines",
    "dup_line_char_frac": "gopher_repeated_line_chars",
    **{f"top_{n}_gram": f"gopher_top_{n}_gram" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"gopher_repeated_{n}_grams" for n in range(5, 11)},
    "gopher_short_doc": "gopher_too_few_words",
    "gopher_long_doc": "gopher_too_many_words",
    "gopher_below_avg_threshold": "gopher_short_words",
    "gopher_above_avg_threshold": "gopher_long_words",
    "gopher_too_many_hashes": "gopher_hashes",
    "gopher_too_many_ellipsis": "gopher_ellipses",
    "gopher_too_many_bullets": "gopher_bullet_lines",
    "gopher_too_many_end_ellipsis": "gopher_ellipsis_lines",
    "gopher_below_alpha_threshold": "gopher_not_alphabetic",
    "gopher_enough_stop_words": "gopher_no_stop_words",
    "line_punct_ratio": "fineweb_unended_lines",
    "short_line_ratio": "fineweb_short_lines",
    "char_dup_ratio": "fineweb_repeated_lines",
    "list_ratio": "fineweb_newlines",
    "empty": "empty",
}


@pytest.mark.parametrize("group", GROUPS)
def test_decisions_are_those_of_datatrove(group: str):
    golden = json.loads(GOLDEN.read_text())
    wanted = golden["decisions"][golden["groups"].index(group)]
    failures = [first_failure(text, [group], PUBLISHED) for text in made()]
    assert [f and f.rule for f in failures] == [NAMES[reason] for reason in wanted]
    assert len(set(wanted)) > 3
    # Its own words change no verdict here.
    expected = golden["with_its_own_words"][golden["groups"].index(group)]
    assert expected == len(wanted)


NONE = QualityLimits(
    **{
        name: () if name.endswith("ngrams") else 30 if name == "short_line" else None
        for name in QualityLimits._fields
    }
)


@pytest.mark.parametrize(
    ("rule", "limits", "text", "value"),
    [
        ("gopher_hashes", {"max_symbols": 0.1}, "# a # b", 0.5),
        ("gopher_ellipses", {"max_symbols": 0.1}, "a… b", 1 / 3),
        ("gopher_bullet_lines", {"max_bullet_lines": 0.4}, "- a\nb", 0.5),
        ("gopher_long_words", {"max_word_length": 10}, "a" * 11, 11),
        ("gopher_short_words", {"min_word_length": 3}, "a ab", 1.5),
        ("gopher_too_many_words", {"max_words": 2}, "a b. c", 3),
        ("gopher_top_2_gram", {"top_ngrams": ((2, 0.2),)}, "a b a b", 6 / 7),
        (
            "gopher_repeated_5_grams",
            {"repeated_ngrams": ((5, 0.1),)},
            "abcde " * 10,
            25 / 60,
        ),
        (
            "fineweb_short_lines",
            {"max_short_lines": 0.4},
            "x" * 30 + "\n" + "x" * 31,
            0.5,
        ),
        ("fineweb_newlines", {"max_newlines": 0.3}, "a\nb", 0.5),
        ("fineweb_unended_lines", {"min_ended_lines": 0.6}, "終わり。\nb", 0.5),
    ],
)
def test_each_rule_says_what_it_measured(rule, limits, text, value):
    failure = first_failure(text, list(GROUPS), NONE._replace(**limits))
    assert failure is not None
    assert (failure.rule, failure.value) == (rule, pytest.approx(value))
    assert first_failure(text, list(GROUPS), NONE) is None


def test_words():
    assert words_of("Don't stop... at 1.5% -- e.g. über") == [
        "Don't", "stop", "...", "at", "1.5", "%", "--", "e.g", ".", "über"
    ]  # fmt: skip
    assert words_of("2024年のPython、") == ["2024", "年", "の", "Python", "、"]
    assert {".", "!", "。", "؟"} <= set(TERMINAL)


@pytest.mark.parametrize("text", [None, "", " \n\t"])
def test_a_text_of_nothing_is_empty(text):
    failure = first_failure(text, ["fineweb"], PUBLISHED)
    assert failure is not None
    assert failure.rule == "empty"
