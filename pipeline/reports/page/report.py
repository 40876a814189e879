"""`report.html`: gather the sections, draw them, write one file."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pipeline.core.errors import ConfigError, WinnowError
from pipeline.reports.database import RunDatabase
from pipeline.reports.page import bias, clusters, deciding, lake, overview, twins
from pipeline.reports.page.answers import Answers
from pipeline.reports.page.attributes import attributes
from pipeline.reports.page.context import Section, Source
from pipeline.reports.page.measured import measure
from pipeline.reports.page.pictures import Pictures
from pipeline.reports.page.provenance import provenance
from pipeline.reports.run_view import RunView

#: Bytes of pictures in a page, which has to stay below 8 MB.
PICTURES = 5_000_000


def write_report(
    run: str | Path, out: str | Path | None = None, columns: Sequence[str] = ()
) -> Path:
    """Write a run's or a scan's page and return where; by default RUN/report.html.

    columns: what to look for bias in: columns of the pool, `language`, `aspect` or
    `source`; without any, the usual ones that the pool has.

    Raises RunError if the folder holds no run, ConfigError for an unknown column.
    """
    target = Path(out) if out is not None else Path(run) / "report.html"
    write_page(target, render_report(run, columns))
    return target


def render_report(run: str | Path, columns: Sequence[str] = ()) -> str:
    """Return a run's page, or that of a scan of a lake."""
    if Path(run, "edges.parquet").is_file():
        if columns:
            raise ConfigError("--columns: tables of a lake are not checked for bias")
        return _render_lake(run)
    view = RunView(run)
    _measure(view)
    with RunDatabase(run) as database:
        source = Source(Answers(database), Pictures(database, PICTURES))
        sections = _sections(source, view, columns)
        source.pictures.load()
        return render(
            "report.html.j2",
            name=Path(run).resolve().name,
            queries=list(source.answers.asked),
            left_out=source.pictures.left_out,
            **sections,
        )


def _render_lake(run: str | Path) -> str:
    with RunDatabase(run) as database:
        answers = Answers(database)
        sections = lake.sections(answers)
        return render(
            "lake.html.j2",
            name=Path(run).resolve().name,
            provenance=provenance(Path(run)),
            queries=list(answers.asked),
            left_out=0,
            lake=True,
            **sections,
        )


def _measure(view: RunView) -> None:
    """Measure what no column says; a pool that is gone leaves that out."""
    with RunDatabase(view.folder.path) as database:
        pool = database.pool
        if pool is None:
            return
        names = {name for name, _ in database.views["samples"]}
        sized = {"original_width", "width"} & names
        try:
            measure(view, pool, sizes=not sized)
        except WinnowError:
            return


def _sections(source: Source, view: RunView, columns: Sequence[str]) -> Section:
    looked_at = attributes(source.answers.database, columns)
    return {
        "headline": overview.headline(source),
        "funnel": overview.steps(source),
        "deciding": deciding.deciding(source),
        "twins": twins.twins(source),
        "captions": twins.captions(source),
        "clusters": clusters.clusters(source, view),
        "bias": bias.bias(source, looked_at),
        "quarantine": overview.quarantine(source),
        "provenance": provenance(view.folder.path),
    }


def render(template: str, **values: Any) -> str:
    """Return a page of the templates folder; values are escaped where they stand."""
    style = _environment().get_template("page.css").render()
    # The page runs no script and loads nothing; its one style sheet is named by hash.
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    page = _environment().get_template(template)
    return page.render(style=Markup(style), policy=policy, **values)


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write_page(target: Path, page: str) -> None:
    """Write a page beside its place and give it its name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(target.name + ".tmp")
    beside.write_text(page, encoding="utf-8")
    os.replace(beside, target)
