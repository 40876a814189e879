"""`report.html` of a scan: gather the sections, write one file."""

from __future__ import annotations

from pathlib import Path

from winnow.lake.database import LakeDatabase
from winnow.lake.page.sections import sections
from winnow.pages.answers import Answers
from winnow.pages.page import render, write_page
from winnow.pages.provenance import provenance


def write_report(run: str | Path, out: str | Path | None = None) -> Path:
    """Write a scan's page and return where; by default RUN/report.html.

    Raises RunError if the folder holds no scan.
    """
    target = Path(out) if out is not None else Path(run) / "report.html"
    write_page(target, render_report(run))
    return target


def render_report(run: str | Path) -> str:
    """Return a scan's page; see `write_report`."""
    with LakeDatabase(run) as database:
        answers = Answers(database)
        shown = sections(answers)
        return render(
            "winnow.lake.page",
            "lake.html.j2",
            name=Path(run).resolve().name,
            provenance=provenance(Path(run)),
            queries=list(answers.asked),
            left_out=0,
            lake=True,
            **shown,
        )
