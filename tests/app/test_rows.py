"""Paging, filtering and sorting, against the run's own files read without Winnow."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from winnow.app.filters import asked
from winnow.core.errors import QueryError

from tests.app.conftest import STEPS

Site = Any
QUARANTINED = 1


def walk(site: Site, fields: list[tuple[str, str]], size: int = 23) -> list[Any]:
    """Follow `later` to the end, and check that `earlier` leads back the same way."""
    wanted = asked(fields, site.index)
    similar, marks = site.similar(wanted, {}), site.marks.actions()
    position: dict[str, Any] = {"after": None, "before": None}
    pages = []
    while True:
        here = _at(wanted, position)
        page = site.rows.page(here, marks, similar, size)
        pages.append(page.rows)
        if not page.more_after:
            break
        assert len(page.rows) == size
        position = {"after": page.rows[-1]["n"], "before": None}
    for expected in reversed(pages[:-1]):
        first = pages[pages.index(expected) + 1][0]["n"]
        back = _at(wanted, {"after": None, "before": first})
        page = site.rows.page(back, marks, similar, size)
        assert page.rows == expected
        assert page.more_before == (expected is not pages[0])
    return [row for page in pages for row in page]


def _at(wanted: Any, place: dict[str, Any]) -> Any:
    from dataclasses import replace

    return replace(wanted, **place)


SORTS = ["", "severity", "score", "score.semantic", "score.score", "caption", "fate"]
SORTS += ["input.quality", "cluster.cluster", "distance.cluster_2", "kept_twin", "row"]


@pytest.mark.parametrize("descending", [False, True], ids=["up", "down"])
@pytest.mark.parametrize("sort", SORTS)
def test_pages_hold_every_row_exactly_once_in_order(
    site: Site, sort: str, descending: bool
):
    fields = [("sort", sort), ("dir", "desc" if descending else "")]
    rows = walk(site, fields)
    assert sorted(row["n"] for row in rows) == list(range(161))
    sort = sort or "n"
    known = [row[sort] for row in rows if row[sort] is not None]
    assert known == sorted(known, reverse=descending)
    assert all(row[sort] is None for row in rows[len(known) :])
    ties = [(row[sort] is None, row[sort], row["n"]) for row in rows]
    for one, other in pairwise(ties):
        assert one[:2] != other[:2] or one[2] < other[2]


def test_the_most_alike_come_first_unless_asked_otherwise(site: Site):
    (row,) = site.rows.ask('SELECT n FROM rows WHERE "score.score" > 0 LIMIT 1')
    near = ("near", str(row["n"]))
    for fields, key, down in (
        ([near], "similarity", True),
        ([near, ("dir", "asc")], "similarity", False),
        ([near, ("sort", "n")], "n", False),
        ([near, ("sort", "severity"), ("dir", "desc")], "severity", True),
    ):
        wanted = asked(fields, site.index)
        assert (wanted.sort, wanted.descending) == (key, down)
        again = [tuple(part.split("=")) for part in wanted.address().split("&")]
        assert asked(again, site.index) == wanted
        rows = walk(site, fields, 40)
        values = [r[key] for r in rows if r[key] is not None]
        assert values == sorted(values, reverse=down)
        assert len(rows) == len({r["n"] for r in rows}) > 100


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.sampled_from(
            [
                ("fate", "dropped"),
                ("fate", "kept"),
                ("step", "semantic"),
                ("q", "PICTURE"),
                ("q", "alert(1"),
                ("marked", "none"),
                ("sort", "severity"),
                ("sort", "input.quality"),
                ("dir", "desc"),
            ]
        ),
        max_size=4,
    ),
    st.integers(15, 60),
)
def test_filtered_pages_hold_what_is_counted(
    site: Site, fields: list[tuple[str, str]], size: int
):
    rows = walk(site, fields, size)
    counts = site.rows.counts(asked(fields, site.index), site.marks.actions())
    assert len({row["n"] for row in rows}) == len(rows) == sum(counts.values())
    single = dict(fields)
    for row in rows:
        assert row["fate"] == single.get("fate", row["fate"])
        assert row["step"] == single.get("step", row["step"])
        assert single.get("q", "").lower() in (row["caption"] or "").lower()


def test_the_index_says_what_the_ledgers_say(site: Site, app_run: Any):
    rows = {row["n"]: row for row in walk(site, [], 100)}
    ledgers = {
        step: app_run.ledger(step)
        for step in ("exact", "semantic", "score", "complexity")
    }
    seen = 0
    for row in rows.values():
        if row["fate"] == "quarantined":
            assert (row["step"], row["source"]) == ("index", "00002.parquet")
            continue
        seen += 1
        uid, margins = row["uid"], []
        for step, ledger in ledgers.items():
            decision = ledger.get(uid)
            if decision is None:
                continue
            if decision["score"] is not None:
                assert row[f"score.{step}"] == decision["score"]
                if decision["threshold"] is not None:
                    margins.append(abs(decision["score"] - decision["threshold"]))
            if not decision["keep"]:
                assert (row["fate"], row["step"]) == ("dropped", step)
                assert row["reason"] == decision["reason"]
                assert row["kept_twin"] == decision["kept_twin"]
                if decision["score"] is not None and decision["threshold"] is not None:
                    assert row["severity"] == margins[-1]
                break
        else:
            assert row["fate"] == "kept"
            assert row["severity"] == -min(margins)
    assert seen == app_run.result.rows - QUARANTINED
    for step in ("cluster", "cluster_2"):
        for decision in app_run.artifact(step, "clusters").to_pylist():
            row = next(r for r in rows.values() if r["uid"] == decision["uid"])
            assert row[f"cluster.{step}"] == decision["cluster"]


def test_rows_are_those_of_the_input_with_its_columns(site: Site, app_run: Any):
    pool = Path(site._pool.root)
    for row in walk(site, [], 50):
        table = pq.read_table(pool / row["source"]).slice(row["row"], 1)
        (given,) = table.drop_columns(["image", "iv", "tv", "extra"]).to_pylist()
        if row["fate"] == "quarantined":
            assert row["uid"] == "00002.parquet#20"
            continue
        assert row["uid"] == given.pop("uid")
        assert row["caption"] == given.pop("text")
        assert {f"input.{name}": value for name, value in given.items()} == {
            name: value for name, value in row.items() if name.startswith("input.")
        }


CONDITIONS: list[tuple[str, str, str, Callable[[Any], bool]]] = [
    ("caption", "has", "script>ALERT(1", lambda r: "script>alert(1" in _lower(r)),
    ("caption", "has", "éclair", lambda r: "éclair" in _lower(r)),
    ("caption", "has", "100% _of_", lambda r: "100% _of_" in _lower(r)),
    ("input.quality", "min", "2", lambda r: (r["input.quality"] or 0) >= 2),
    ("input.quality", "max", "1e0", lambda r: (r["input.quality"] or 9) <= 1
     or r["input.quality"] == 0),
    ("input.quality", "empty", "", lambda r: r["input.quality"] is None),
    ("input.quality", "filled", "", lambda r: r["input.quality"] is not None),
    ("input.quality", "not", "3", lambda r: r["input.quality"] != 3),
    ("cluster.cluster", "is", "2", lambda r: r["cluster.cluster"] == 2),
    ("input.width", "is", "200.0", lambda r: r["input.width"] == 200),
    ("input.Kind of \"it\" 'x'", "is", "\"><img src='x'>",
     lambda r: r["input.Kind of \"it\" 'x'"] == "\"><img src='x'>"),
    ("score", "min", "-inf", lambda r: r["score"] is not None),
]  # fmt: skip


def _lower(row: Any) -> str:
    return (row["caption"] or "").lower()


@pytest.mark.parametrize(("column", "operation", "value", "holds"), CONDITIONS)
def test_a_condition_finds_the_rows_it_says(
    site: Site, column: str, operation: str, value: str, holds: Callable[[Any], bool]
):
    fields = [("col", column), ("op", operation), ("val", value)]
    numbers = {row["n"] for row in walk(site, fields)}
    assert numbers == {row["n"] for row in walk(site, [], 100) if holds(row)}


@pytest.mark.parametrize(
    ("column", "value"),
    [("input.quality", "high"), ("input.width", "1,5"), ("score", "nan")],
)
def test_a_value_of_another_kind_is_an_error_that_names_the_column(
    site: Site, column: str, value: str
):
    with pytest.raises(QueryError, match=value):
        asked([("col", column), ("op", "is"), ("val", value)], site.index)


def test_an_address_says_all_that_was_asked(site: Site):
    from urllib.parse import parse_qsl

    fields = [("q", "a&b=c"), ("fate", "kept"), ("col", "uid"), ("op", "empty")]
    fields += [("val", ""), ("col", "score"), ("op", "min"), ("val", "0.5")]
    fields += [("sort", "severity"), ("dir", "desc"), ("marked", "any")]
    wanted = asked(fields, site.index)
    again = parse_qsl(wanted.address(after=7), keep_blank_values=True)
    assert asked(again, site.index) == _at(wanted, {"after": 7})


def test_an_index_is_built_once_and_again_when_the_run_has_changed(
    planted_pool: Path, tmp_path: Path, winnow: Callable[..., Any]
):
    from winnow.app.site import Site

    def opened() -> tuple[Path, int, int]:
        site = Site(tmp_path / "run")
        numbers = walk(site, [("fate", "kept")], 50)
        site.close()
        (file,) = (tmp_path / "run" / "ui").glob("*.duckdb")
        return file, file.stat().st_mtime_ns, len(numbers)

    steps = [*STEPS, "apply"]
    first = winnow(planted_pool, tmp_path / "run", steps).result.kept
    once = opened()
    assert once[2] == first
    assert opened() == once
    changed = winnow(
        planted_pool, tmp_path / "run", steps, complexity={"keep_fraction": 0.3}
    )
    again = opened()
    assert again[0] != once[0]
    assert again[2] == changed.result.kept != first


def test_a_run_without_steps_of_scores_or_an_input_can_be_looked_at(
    tmp_path: Path,
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    winnow: Callable[..., Any],
):
    from winnow.app.site import Site

    pool = write_shards(tmp_path / "pool", planted_table(30))
    winnow(pool, tmp_path / "run", ["random", "apply"])
    site = Site(tmp_path / "run")
    assert len(walk(site, [("sort", "score.random")])) == 30
    site.close()
    for shard in pool.glob("*.parquet"):
        shard.unlink()
    site = Site(tmp_path / "run")
    rows = walk(site, [])
    assert len(rows) == 30
    assert not site.has_captions
    assert "gone" in site.frame()["note"]
    with pytest.raises(QueryError, match="no captions"):
        site.listing([("q", "cat")])
    site.close()


def test_severity_is_finite(site: Site):
    for row in walk(site, [("col", "severity"), ("op", "filled"), ("val", "")]):
        assert math.isfinite(row["severity"])


def test_a_run_that_cannot_be_written_can_be_looked_at(
    planted_pool: Path, tmp_path: Path, winnow: Callable[..., Any]
):
    from winnow.app.site import Site
    from winnow.core.errors import RunError

    winnow(planted_pool, tmp_path / "run", ["random", "apply"])
    (tmp_path / "run" / "ui").write_text("in the way of the app's folder")
    site = Site(tmp_path / "run")
    assert len(walk(site, [], 150)) == 200
    with pytest.raises(RunError, match="marks cannot be written"):
        site.mark([1], "drop", "")
    assert site.frame()["marks"] == 0
    site.close()


def test_what_a_killed_app_left_of_its_index_goes_unless_another_writes_it(
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    tmp_path: Path,
    winnow: Callable[..., Any],
):
    from winnow.app.site import Site
    from winnow.core.operating_system import lock

    pool = write_shards(tmp_path / "pool", planted_table(30))
    winnow(pool, tmp_path / "run", ["random", "apply"])
    app = tmp_path / "run" / "ui"
    # The engine puts into the folder what its memory cannot hold.
    (app / "rows-a.duckdb.tmp.tmp").mkdir(parents=True)
    left = ["rows-a.duckdb.7.tmp", "rows-a.duckdb.tmp", "rows-a.duckdb.tmp.wal"]
    for name in (*left, "rows-a.duckdb.tmp.tmp/block"):
        (app / name).write_text("unfinished")
    before = {file.name for file in app.iterdir()}
    with (app / "rows.lock").open("w") as handle:
        lock(handle)
        site = Site(tmp_path / "run")
        assert len(walk(site, [])) == 30
        site.close()
    assert {file.name for file in app.iterdir()} == {*before, "rows.lock"}
    site = Site(tmp_path / "run")
    built = {file.name for file in app.iterdir()}
    assert built == {"rows.lock", site.index.file.name}
    site.close()
    # No less where the index is there already.
    (app / left[0]).write_text("unfinished")
    Site(tmp_path / "run").close()
    assert {file.name for file in app.iterdir()} == built


def test_an_index_of_rows_that_was_cut_is_written_again(app_run: Any, tmp_path: Path):
    import shutil

    import duckdb
    from winnow.app.row_index import row_index
    from winnow.reports.database import RunDatabase

    shutil.copytree(app_run.path, tmp_path / "run")
    with RunDatabase(tmp_path / "run") as database:
        whole = row_index(database, tmp_path)
        whole.file.unlink()
        duckdb.connect(whole.file).close()  # what a full disk may leave: no tables
        again = row_index(database, tmp_path)
    assert (again.file, again.rows) == (whole.file, whole.rows)
