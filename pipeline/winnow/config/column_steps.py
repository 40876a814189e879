"""The settings of the steps that decide by what stands in columns of the pool."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from winnow.config.file_names import FileName
from winnow.config.section import StepConfig, TiedBudget


class WhereConfig(StepConfig):
    """Keep the rows for which a condition over their columns holds.

    A string alone stands for the section with that condition.
    """

    alone: ClassVar[str | None] = "condition"

    #: What stands after WHERE, in DuckDB's SQL over input columns: of one row at a
    #: time, without subqueries, aggregates, clock or chance. Unknown is not true.
    condition: Annotated[str, Field(min_length=1)]


class TopConfig(TiedBudget):
    """Keep the best rows by a number that stands in the pool."""

    #: Input column of numbers. Rows without one are not kept.
    column: Annotated[str, Field(min_length=1)]
    #: Least number kept (most, with keep_high: false).
    threshold: float | None = None
    #: Whether high numbers are kept.
    keep_high: bool = True

    @model_validator(mode="after")
    def _some_cut(self) -> TopConfig:
        if not self.has_budget and self.threshold is None:
            raise ValueError(
                "give keep_fraction, keep_count, threshold, or a budget and a threshold"
            )
        return self


class SynsetsConfig(StepConfig):
    """Keep captions of which a word names one of the given synsets of WordNet."""

    #: Folder of WordNet's database (index.noun, noun.exc, …): `dict` of WordNet 3.0, or
    #: what NLTK fetches as corpora/wordnet.
    wordnet: FileName
    #: File with one synset to a line, by its offset: n02084071, or 2084071.
    synsets: FileName
