"""The settings of the steps that judge and clean texts alone."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from winnow.config.file_names import FileName
from winnow.config.section import Fraction, Positive, StepConfig

Share = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
NGrams = tuple[tuple[Positive, Share], ...]


class QualityConfig(StepConfig):
    """Published rules for the quality of texts; a limit of null switches a rule off."""

    #: Gopher's rules for repetition and for quality, FineWeb's for lines; in order.
    rules: tuple[Literal["gopher_repetition", "gopher_quality", "fineweb"], ...] = (
        "gopher_repetition",
        "gopher_quality",
        "fineweb",
    )
    #: Most of a text's paragraphs and lines that stand there before, and their part of
    #: its characters (Gopher, table A1).
    repeated_paragraphs: Share | None = 0.3
    #: Most of the characters in paragraphs that stand there before.
    repeated_paragraph_chars: Share | None = 0.2
    #: Most of the lines that stand there before.
    repeated_lines: Share | None = 0.3
    #: Most of the characters in such lines.
    repeated_line_chars: Share | None = 0.2
    #: (n, most): part of the characters in the commonest n-gram of words, and in
    #: n-grams that stand there before (Gopher, table A1).
    top_ngrams: NGrams = ((2, 0.2), (3, 0.18), (4, 0.16))
    #: (n, most): part of the characters in n-grams that stand there before.
    repeated_ngrams: NGrams = (
        (5, 0.15),
        (6, 0.14),
        (7, 0.13),
        (8, 0.12),
        (9, 0.11),
        (10, 0.10),
    )
    #: Words without signs, and their mean length in characters (Gopher, §A.1.1).
    min_words: Positive | None = 50
    #: Most words without signs.
    max_words: Positive | None = 100_000
    #: Least mean length of words, in characters.
    min_word_length: Share | None = 3.0
    #: Most mean length of words, in characters.
    max_word_length: Share | None = 10.0
    #: Most hash signs, and most ellipses, for each word.
    max_symbols: Share | None = 0.1
    #: Most of the lines that begin with a bullet.
    max_bullet_lines: Share | None = 0.9
    #: Most of the lines that end in an ellipsis.
    max_ellipsis_lines: Share | None = 0.3
    #: Least part of the words that have a letter.
    min_alphabetic: Share | None = 0.8
    #: Least of the words the, be, to, of, and, that, have, with; null for other
    #: languages than English.
    min_stop_words: Positive | None = 2
    #: Least part of the lines that end a sentence, most that are short, in characters
    #: (FineWeb, §3.5).
    min_ended_lines: Share | None = 0.12
    #: Most of the lines that are short.
    max_short_lines: Share | None = 0.67
    #: Characters up to which a line is short.
    short_line: Positive = 30
    #: Most characters in repeated lines, and most line breaks for each word.
    max_repeated_chars: Share | None = 0.01
    #: Most line breaks for each word.
    max_newlines: Share | None = 0.3

    @model_validator(mode="after")
    def _some_rule(self) -> QualityConfig:
        if not self.rules:
            raise ValueError("rules: name gopher_repetition, gopher_quality or fineweb")
        return self


class LinesConfig(StepConfig):
    """Lines or paragraphs that stand in many texts: boilerplate."""

    #: What is compared: lines, or paragraphs (between empty lines).
    by: Literal["line", "paragraph"] = "line"
    #: Shorter ones, in characters without white space at the ends, are left alone.
    min_chars: Positive = 20
    #: A line is repeated once it stands in so many texts.
    min_texts: Annotated[int, Field(gt=1)] = 3
    #: report: spans alone; cut: also the texts without them; drop: texts of which
    #: repeated lines are at least `drop_share`.
    action: Literal["report", "cut", "drop"] = "report"
    #: Part of a text's characters from which `drop` drops it.
    drop_share: Fraction = 0.5
    #: Whether the first text that has a line keeps it.
    keep_first: bool = True


class SubstringConfig(StepConfig):
    """Passages that stand in several texts, byte by byte."""

    #: Length from which a passage counts, in bytes of UTF-8.
    min_bytes: Annotated[int, Field(ge=8)] = 200
    #: report: spans alone; cut: also the texts without repeated passages; drop: texts
    #: of which they are at least `drop_share`.
    action: Literal["report", "cut", "drop"] = "report"
    #: Part of a text's bytes from which `drop` drops it.
    drop_share: Fraction = 0.5
    #: Whether the first text that has a passage keeps it.
    keep_first: bool = True
    #: Most bytes of text; a scratch file takes as many, and memory about 1.5 times as
    #: many beside the pages of that file.
    max_bytes: Positive = 2_000_000_000


class ItemSet(StepConfig):
    """A test set beside the corpus; a path alone stands for the section with it."""

    #: JSON Lines (.jsonl, .gz, .zst) or Parquet: a file, a folder, a glob.
    path: FileName
    #: What the ledger calls it. None: the last part of the path.
    name: str | None = None
    #: Columns (fields) that hold text. None of them: all that hold strings.
    columns: tuple[str, ...] = ()
    #: The column that names an item. None: shard and number.
    uid: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, values: Any) -> Any:
        return {"path": values} if isinstance(values, str) else values

    @property
    def title(self) -> str:
        """The name it goes by."""
        return self.name or PurePath(self.path.rstrip("/")).name


class OverlapConfig(StepConfig):
    """Drop texts that share a passage with a test set."""

    against: Annotated[tuple[ItemSet, ...], Field(min_length=1)]
    #: Words in a row, case and punctuation aside (GPT-3). None: not compared.
    words: Positive | None = 13
    #: Letters and digits in a row, all else left out (GPT-4). None: not compared.
    characters: Positive | None = 50

    @model_validator(mode="after")
    def _some_criterion(self) -> OverlapConfig:
        if self.words is None and self.characters is None:
            raise ValueError("give words, characters or both")
        titles = [given.title for given in self.against]
        repeated = [title for title in titles if titles.count(title) > 1]
        if repeated:
            raise ValueError(f"two sets are called '{repeated[0]}'; give them a name")
        return self
