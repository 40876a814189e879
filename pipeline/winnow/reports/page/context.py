"""What every section of a page is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from winnow.pages.answers import Answer, Answers
from winnow.reports.database import RunDatabase
from winnow.reports.page.pictures import Picture, Pictures

#: Memory of the queries of a page, in MB, whatever the number of rows. A page is made
#: at the end of a run, in a process that holds what its steps have loaded.
QUERY_MB = 192


def page_database(run: str | Path) -> RunDatabase:
    """Open a run for its page, within less memory than its steps may take.

    Raises RunError if the folder holds no run, or a file of it is damaged.
    """
    return RunDatabase(run, memory_mb=QUERY_MB)


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
