"""Caption and image-size rules: DataComp's basic filter, rule by rule.

Gadre et al. 2023, arXiv 2304.14108, §3.2 and appendix: English captions of more than
two words and five characters, images whose smaller side is at least 200 and whose
aspect ratio is at most 3. Bounds are inclusive here, so "more than two" is 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Column: TypeAlias = pa.Array | pa.ChunkedArray
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that a sample must meet, all inclusive; None switches a rule off.

    Words are what white space separates, characters are code points, sides are pixels,
    the aspect ratio is the longer side over the shorter one, languages are codes as in
    the column that is given with the captions.
    """

    min_words: int | None = None
    min_chars: int | None = None
    max_words: int | None = None
    max_chars: int | None = None
    min_side: int | None = None
    max_aspect: float | None = None
    languages: Sequence[str] | None = None


def first_failure(
    captions: Column | None,
    widths: Column | None,
    heights: Column | None,
    languages: Column | None,
    limits: Limits,
) -> tuple[pa.Array, Floats, Floats]:
    """Return why each of n samples fails, or null, with the number and its bound.

    The three results have n rows: the reason, the measured number and the limit that
    it breaks (both NaN where all rules hold or nothing is measured). Rules are tried
    in this order, and the first that fails is the reason: too_few_words,
    too_few_chars, too_many_words, too_many_chars, unknown_size, too_small,
    too_elongated, unknown_language, other_language. A null caption has 0 words and
    characters.

    Raises ValueError if a rule is on and its column is None, or if lengths differ.
    """
    columns = _needed(captions, widths, heights, languages, limits)
    failures = _Failures(len(columns[0]) if columns else 0)
    _try_captions(failures, captions, limits)
    _try_sizes(failures, widths, heights, limits)
    _try_languages(failures, languages, limits)
    return failures.reasons(), failures.value, failures.limit


class _Failures:
    """The first rule that each row fails."""

    def __init__(self, n: int) -> None:
        self._names: list[str] = []
        self._failed = np.full(n, -1, np.int8)
        self.value = np.full(n, np.nan)
        self.limit = np.full(n, np.nan)

    def record(
        self,
        name: str,
        fails: npt.NDArray[np.bool_],
        value: Floats | float = np.nan,
        limit: float = np.nan,
    ) -> None:
        fails = fails & (self._failed < 0)
        self._failed[fails] = len(self._names)
        self._names.append(name)
        self.value[fails] = np.broadcast_to(value, fails.shape)[fails]
        self.limit[fails] = limit

    def reasons(self) -> pa.Array:
        codes = pa.array(self._failed, mask=self._failed < 0)
        # One name at least: an index into no names is not even null.
        return pa.array([*self._names, ""], pa.string()).take(codes)


def _needed(
    captions: Column | None,
    widths: Column | None,
    heights: Column | None,
    languages: Column | None,
    limits: Limits,
) -> list[Column]:
    text = (limits.min_words, limits.min_chars, limits.max_words, limits.max_chars)
    size = (limits.min_side, limits.max_aspect)
    needs = [
        ("captions", captions, text),
        ("widths", widths, size),
        ("heights", heights, size),
        ("languages", languages, (limits.languages,)),
    ]
    columns = [column for _, column, _ in needs if column is not None]
    for name, column, rules in needs:
        if column is None and any(rule is not None for rule in rules):
            raise ValueError(f"a rule needs {name}, and the samples have none")
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f"columns of {[len(column) for column in columns]} rows")
    return columns


def _try_captions(failures: _Failures, captions: Column | None, limits: Limits) -> None:
    if captions is None:
        return
    texts = captions.to_pylist()
    words = np.array([len((text or "").split()) for text in texts], np.float64)
    chars = np.array([len(text or "") for text in texts], np.float64)
    for name, measured, least in (
        ("too_few_words", words, limits.min_words),
        ("too_few_chars", chars, limits.min_chars),
    ):
        if least is not None:
            failures.record(name, measured < least, measured, least)
    for name, measured, most in (
        ("too_many_words", words, limits.max_words),
        ("too_many_chars", chars, limits.max_chars),
    ):
        if most is not None:
            failures.record(name, measured > most, measured, most)


def _try_sizes(
    failures: _Failures, widths: Column | None, heights: Column | None, limits: Limits
) -> None:
    if widths is None or heights is None:
        return
    if limits.min_side is None and limits.max_aspect is None:
        return
    # A null becomes NaN, which a comparison would let through.
    sides = np.stack([_floats(widths), _floats(heights)])
    shorter, longer = sides.min(axis=0), sides.max(axis=0)
    failures.record("unknown_size", np.isnan(shorter))
    if limits.min_side is not None:
        failures.record(
            "too_small", shorter < limits.min_side, shorter, limits.min_side
        )
    if limits.max_aspect is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            aspect = longer / shorter
        failures.record(
            "too_elongated", ~(aspect <= limits.max_aspect), aspect, limits.max_aspect
        )


def _try_languages(
    failures: _Failures, languages: Column | None, limits: Limits
) -> None:
    if languages is None or limits.languages is None:
        return
    wanted = set(limits.languages)
    codes = languages.to_pylist()
    failures.record("unknown_language", np.array([c is None for c in codes], bool))
    failures.record("other_language", np.array([c not in wanted for c in codes], bool))


def _floats(column: Column) -> Floats:
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
