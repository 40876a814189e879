"""`report.html`: gather the sections, draw them, write one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from winnow.core.errors import WinnowError
from winnow.pages.answers import Answers, Section
from winnow.pages.page import render, write_page
from winnow.pages.provenance import provenance
from winnow.reports.page import (
    bias,
    clusters,
    deciding,
    first_look,
    overview,
    twins,
)
from winnow.reports.page.attributes import attributes
from winnow.reports.page.context import PageSource, page_database
from winnow.reports.page.measured import measure
from winnow.reports.page.pictures import Pictures
from winnow.reports.run_view import RunView

#: Bytes of pictures in a page, which has to stay below 8 MB.
PICTURES = 5_000_000


def write_report(
    run: str | Path, out: str | Path | None = None, columns: Sequence[str] = ()
) -> Path:
    """Write a run's page and return where; by default RUN/report.html.

    columns: what to look for bias in: columns of the pool, `language`, `aspect` or
    `source`; without any, the usual ones that the pool has.

    Raises RunError if the folder holds no run, ConfigError for an unknown column.
    """
    target = Path(out) if out is not None else Path(run) / "report.html"
    write_page(target, render_report(run, columns))
    return target


def render_report(run: str | Path, columns: Sequence[str] = ()) -> str:
    """Return a run's page; see `write_report`."""
    view = RunView(run)
    _measure(view)
    with page_database(run) as database:
        source = PageSource(Answers(database), Pictures(database, PICTURES))
        sections = _sections(source, view, columns)
        source.pictures.load()
        return render(
            "winnow.reports",
            "report.html.j2",
            name=Path(run).resolve().name,
            queries=list(source.answers.asked),
            left_out=source.pictures.left_out,
            **sections,
        )


def _measure(view: RunView) -> None:
    """Measure what no column says; a pool that is gone leaves that out."""
    with page_database(view.folder.path) as database:
        pool = database.pool
        if pool is None:
            return
        names = {name for name, _ in database.views["samples"]}
        sized = {"original_width", "width"} & names
        try:
            measure(view, pool, sizes=not sized)
        except WinnowError:
            return


def _sections(source: PageSource, view: RunView, columns: Sequence[str]) -> Section:
    looked_at = attributes(source.pictures.database, columns)
    made_with = provenance(view.folder.path)
    return {
        "headline": overview.headline(source),
        "first_look": first_look.first_look(source, made_with),
        "funnel": overview.steps(source),
        "deciding": deciding.deciding(source),
        "twins": twins.twins(source),
        "captions": twins.captions(source),
        "clusters": clusters.clusters(source, view),
        "bias": bias.bias(source, looked_at),
        "quarantine": overview.quarantine(source),
        "provenance": made_with,
    }
