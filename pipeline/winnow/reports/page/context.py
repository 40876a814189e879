"""What every section of a page is made from."""

from __future__ import annotations

from dataclasses import dataclass

from winnow.pages.answers import Answer, Answers
from winnow.reports.page.pictures import Picture, Pictures


@dataclass(frozen=True)
class PageSource:
    """Where numbers and samples of a page come from."""

    answers: Answers
    pictures: Pictures

    def ask(self, sql: str) -> Answer:
        """Return the rows of a SELECT."""
        return self.answers.ask(sql)

    def want(self, answer: Answer, column: str = "uid") -> list[Picture]:
        """Return the samples that a column of an answer names."""
        return [self.pictures.want(uid) for uid in answer.column(column)]


@dataclass(frozen=True)
class Gallery:
    """Samples under a title; row i of the answer belongs to picture i."""

    title: str
    answer: Answer
    pictures: list[Picture]
    note: str = ""


def gallery(source: PageSource, title: str, sql: str, note: str = "") -> Gallery | None:
    """Return the gallery of a query of uid and more; None if there is none to show."""
    answer = source.ask(sql)
    if not answer.rows:
        return None
    return Gallery(title, answer, source.want(answer), note)
