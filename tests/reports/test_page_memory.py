"""What a page holds does not grow with the rows of its run."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from winnow.pages import closed_sql
from winnow.pages.answers import Answers
from winnow.reports.database import RunDatabase
from winnow.reports.page import bias
from winnow.reports.page.attributes import attributes
from winnow.reports.page.context import QUERY_MB, PageSource
from winnow.reports.page.pictures import Pictures
from winnow.reports.page.report import render_report
from winnow.reports.run_view import RunView


def test_every_query_of_a_page_is_within_its_memory(
    hostile_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int | None] = []
    connect = closed_sql.closed_connection

    def recorded(*args: Any, **kwargs: Any) -> Any:
        limits.append(kwargs.get("memory_mb"))
        return connect(*args, **kwargs)

    monkeypatch.setattr(closed_sql, "closed_connection", recorded)
    render_report(hostile_run)
    assert limits
    assert set(limits) == {QUERY_MB}


def test_no_table_of_a_run_is_collected_whole(
    hostile_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(hostile_run, run)
    measured = RunView(run).folder.artifacts("index") / "measured"
    shutil.rmtree(measured, ignore_errors=True)
    engines: list[Any] = []
    collect = pl.LazyFrame.collect

    def recorded(self: pl.LazyFrame, *args: Any, **kwargs: Any) -> Any:
        engines.append(kwargs.get("engine"))
        return collect(self, *args, **kwargs)

    monkeypatch.setattr(pl.LazyFrame, "collect", recorded)
    render_report(run)
    assert measured.is_dir()
    assert set(engines) <= {"streaming"}


def test_the_bias_check_counts_what_became_of_the_rows(hostile_run: Path) -> None:
    with RunDatabase(hostile_run) as database:
        source = PageSource(Answers(database), Pictures(database, 0))
        (section,) = bias.bias(source, attributes(database, ["category"]))
        samples = database.query("SELECT uid, category FROM samples").to_pylist()
        fates = database.query("SELECT uid, fate, step FROM fates").to_pylist()
    ended = {row["uid"]: (row["fate"], row["step"]) for row in fates}
    rows, kept = Counter[str](), Counter[str]()
    by_step: dict[str, Counter[str]] = {}
    for sample in samples:
        value, (fate, step) = sample["category"], ended[sample["uid"]]
        if fate == "kept":
            kept[value] += 1
        elif fate == "dropped":
            by_step.setdefault(value, Counter())[step] += 1
        rows[value] += fate in ("kept", "dropped")
    removed = 1 - kept.total() / rows.total()
    assert {row["value"] for row in section["table"].rows} == set(rows)
    for row in section["table"].rows:
        value = row["value"]
        assert (row["rows"], row["kept"]) == (rows[value], kept[value])
        lost = 1 - kept[value] / rows[value]
        assert row["lift"] == pytest.approx(lost / removed)
        steps = by_step[value]
        assert row["most_by"] == min(steps, key=lambda step: (-steps[step], step))
