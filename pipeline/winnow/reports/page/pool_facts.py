"""What a pool is like, before anything of it is decided: sizes, lengths, languages."""

from __future__ import annotations

from typing import Any

from winnow.core.sql_text import literal
from winnow.pages.answers import Answer, Section
from winnow.pages.drawing import draw
from winnow.reports.page.charts import bars
from winnow.reports.page.context import PageSource
from winnow.reports.page.measured import CAPTIONS, IMAGES

_LANGUAGES = 12
#: Bounds of the bars; the last has no end.
_WORDS = (0, 1, 3, 6, 11, 21, 51, 101, 201, 501, 1001)
_SIDES = (0, 32, 64, 128, 256, 512, 1024, 2048)
#: Shares of the rows that lie below what is shown.
_QUANTILES = {"least": 0.0, "low": 0.05, "median": 0.5, "high": 0.95, "most": 1.0}


def pool_facts(source: PageSource) -> Section:
    """Return captions' lengths and languages and images' sizes, each None without any.

    All are of a sample, of at most `CAPTIONS` captions and `IMAGES` pictures.
    """
    return {"captions": _captions(source), "images": _images(source)}


def _captions(source: PageSource) -> Section | None:
    lengths = source.ask(
        "SELECT count(*) AS rows, count(*) FILTER (coalesce(words, 0) = 0) AS empty, "
        f"{_quantiles('words')}, {_quantiles('characters')} FROM measured"
    )
    if lengths.rows[0]["words_most"] is None:
        return None
    languages = source.ask(
        "SELECT language, count(*) AS rows, "
        "count(*) / sum(count(*)) OVER () AS share FROM measured "
        "WHERE language IS NOT NULL GROUP BY language "
        f"ORDER BY rows DESC, language LIMIT {_LANGUAGES}"
    )
    words = _binned(source, "coalesce(words, 0)", _WORDS, "true")
    return {
        "lengths": lengths,
        "words": words,
        "languages": languages,
        "at_most": CAPTIONS,
        "chart": _chart(words, "label", "Captions by their number of words"),
        "language_chart": _chart(languages, "language", "Captions by language"),
    }


def _images(source: PageSource) -> Section | None:
    sizes = source.ask(
        f"SELECT count(width) AS rows, {_quantiles('width')}, {_quantiles('height')}, "
        f"{_quantiles('least(width, height)', 'side')} FROM measured"
    )
    if not sizes.rows[0]["rows"]:
        return None
    sides = _binned(source, "least(width, height)", _SIDES, "width IS NOT NULL")
    return {
        "sizes": sizes,
        "sides": sides,
        "at_most": IMAGES,
        "chart": _chart(sides, "label", "Images by their shorter side, in pixels"),
    }


def _quantiles(value: str, name: str = "") -> str:
    return ", ".join(
        f"quantile_disc({value}, {share}) AS {name or value}_{called}"
        for called, share in _QUANTILES.items()
    )


def _binned(
    source: PageSource, value: str, bounds: tuple[int, ...], where: str
) -> Answer:
    """Return how many rows lie in each stretch of a whole number, in order."""
    whens = " ".join(
        f"WHEN {value} >= {low} THEN {literal(_stretch(low, high))}"
        for low, high in reversed(list(zip(bounds, (*bounds[1:], None), strict=True)))
    )
    return source.ask(
        f"SELECT CASE {whens} END AS label, count(*) AS rows FROM measured "
        f"WHERE {where} GROUP BY label ORDER BY min({value})"
    )


def _stretch(low: int, high: int | None) -> str:
    if high is None:
        return f"{low:,} and more"
    return str(low) if high == low + 1 else f"{low:,} to {high - 1:,}"


def _chart(answer: Answer, label: str, title: str) -> Any:
    rows = [{"label": row[label], "rows": row["rows"]} for row in answer.rows]
    told = "; ".join(f"{row['label']}: {row['rows']:,}" for row in rows)
    return draw(bars(rows), f"{title}: {told}") if rows else None
