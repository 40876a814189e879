"""The page of a lake: numbers are answers, containments drawn, nothing left unsaid."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.api import write_report
from winnow.cli.main import main
from winnow.core.errors import ConfigError
from winnow.lake.database import LakeDatabase
from winnow.lake.kernels.tables import EDGES, STAGES, TABLES
from winnow.lake.page.graph import arrange
from winnow.lake.page.report import render_report

from tests.examples import examples
from tests.page_numbers import check_numbers, read_numbers

EVIL = "<script>alert(1)</script> \"of\" 'tables'"


@pytest.fixture(scope="session")
def lake_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a planned scan: copies, slices, a near miss, and what cannot be read."""
    folder = tmp_path_factory.mktemp("pages")
    lake, run = folder / "lake", folder / "run"
    lake.mkdir()
    whole = pa.table(
        {"id": range(3000), "kind": [f"<b>{i % 7}</b>" for i in range(3000)]}
    )
    near = whole.slice(0, 1000).set_column(
        1, "kind", pa.array(["<b>0</b>"] * 2 + whole["kind"].to_pylist()[2:1000])
    )
    for name, table in {
        "whole": whole,
        "copy": whole.take(pa.array(range(2999, -1, -1))),
        "half": whole.slice(0, 1500),
        "few": whole.slice(20, 300),
        "ids": whole.select(["id"]).slice(7, 400),
        "near": near,
        EVIL: pa.table({"other": [1.5, 2.5], "more": ["x", None]}),
        "part": pa.table({"other": [2.5], "more": pa.nulls(1, pa.string())}),
    }.items():
        file = lake / f"{name.replace('/', '∕')}.parquet"
        pq.write_table(table, file)
    (lake / "broken.parquet").write_bytes(b"PAR1 <i>no</i> table")
    recipe = ["run", "table_lake", "--set", f"input.path={lake}", "--out", str(run)]
    assert main([*recipe, "--set", "plan.maintenance_per_table=1"]) == 0
    return run


def test_every_number_is_the_answer_to_its_query(lake_run: Path) -> None:
    page = (lake_run / "report.html").read_text()
    assert check_numbers(page, lake_run) > 100


def test_the_page_tells_what_the_files_say(lake_run: Path) -> None:
    page = (lake_run / "report.html").read_text()
    plan = pq.read_table(lake_run / "plan.parquet").to_pylist()
    gone = [row for row in plan if row["action"] == "delete"]
    assert len(gone) == 5
    for row in gone:
        assert f'aria-label="{row["table"]}, can go"' in page
    assert page.count(", stays") >= 2
    assert "broken.parquet" in page
    assert "near.parquet" in page.split('id="near"')[1].split("</section>")[0]


def test_nothing_of_a_lake_is_run_or_loaded(lake_run: Path) -> None:
    page = (lake_run / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<b>0</b>" not in page
    numbers = read_numbers(page)
    assert not {"script", "link", "iframe", "object"} & numbers.tags
    assert not {name for name in numbers.attributes if name.startswith("on")}


def test_a_page_follows_scan_and_plan(lake_run: Path, tmp_path: Path) -> None:
    lake, run = lake_run.parent / "lake", tmp_path / "run"
    assert main(["lake", "scan", str(lake), "--out", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert 'id="plan"' not in page
    assert "What is in what" in page
    assert check_numbers(page, run) > 50
    assert main(["lake", "plan", str(run), "--set", "plan.protected=half*"]) == 0
    page = (run / "report.html").read_text()
    assert 'id="plan"' in page
    assert 'aria-label="half.parquet, stays"' in page
    quiet = ["--set", "output.report=false"]
    assert main(["lake", "scan", str(lake), "--out", str(run), *quiet]) == 0
    assert not (run / "report.html").exists()


def test_a_lake_has_no_columns_to_check(lake_run: Path) -> None:
    with pytest.raises(ConfigError, match="not checked for bias"):
        write_report(lake_run, columns=["kind"])


def test_the_views_of_a_lake_are_known_with_their_columns(lake_run: Path) -> None:
    with LakeDatabase(lake_run) as database:
        views = database.views
    names = ["derived", "edges", "islands", "plan", "stages", "tables"]
    assert sorted(views) == names
    assert [name for name, _ in views["edges"]] == EDGES.names
    assert [name for name, _ in views["islands"]] == ["table", "island"]


def write_scan(folder: Path, pairs: set[tuple[str, str]]) -> Path:
    """Write a scan with these contained pairs, and refuted ones between all others."""
    names = sorted({name for pair in pairs for name in pair} | {"alone"})
    edges = [
        {
            "child": child,
            "parent": parent,
            "relation": "contained" if (child, parent) in pairs else "refuted",
            "stage": "content",
            "child_rows": 1,
            "parent_rows": 2,
        }
        for child in names
        for parent in names
        if child != parent
    ]
    tables = [
        {"table": name, "rows": 1, "bytes": 10, "readable": True} for name in names
    ]
    folder.mkdir(parents=True)
    for name, schema, rows in (
        ("edges", EDGES, edges),
        ("tables", TABLES, tables),
        ("stages", STAGES, [{"stage": "schema", "edges_in": 9, "edges_out": 2}]),
    ):
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / f"{name}.parquet")
    return folder


@pytest.mark.parametrize("seed", range(3))
def test_islands_are_what_containments_link(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    names = [f"t{n:02d}" for n in range(40)]
    pairs = {tuple(chance.sample(names, 2)) for _ in range(chance.choice([8, 25, 45]))}
    run = write_scan(tmp_path / "run", pairs)
    least = {name: name for pair in pairs for name in pair}
    for _ in names:
        for one, other in pairs:
            least[one] = least[other] = min(least[one], least[other])
    with LakeDatabase(run) as database:
        islands = database.query("SELECT * FROM islands").to_pylist()
    assert {row["table"]: row["island"] for row in islands} == least
    assert len(islands) == len(least)


def test_a_lake_of_hundreds_of_tables_is_drawn_in_part_and_says_so(
    tmp_path: Path,
) -> None:
    star = {(f"child{n:03d}", "parent") for n in range(120)}
    twos = {(f"a{n:02d}", f"b{n:02d}") for n in range(60)}
    run = write_scan(tmp_path / "run", star | twos)
    page = render_report(run)
    assert check_numbers(page, run) > 100
    assert "Shown are the 48 with most tables" in page
    assert "at most the 40 largest tables are drawn" in page
    graph = page.split('id="graph"')[1]
    wide = graph.split('class="wide"')[1].split("</svg>")[0]
    assert wide.count("<a href=") == 40 + 47 * 2
    assert len(page) < 2_000_000


#: Islands of tables; each table a set of up to five rows, as bits.
ISLANDS = st.lists(
    st.lists(st.integers(0, 31), min_size=2, max_size=9), min_size=1, max_size=5
)


def island(rows: list[int]) -> tuple[list[str], set[tuple[str, str]]]:
    """Return tables and their true containments."""
    held = dict(zip("abcdefghi", rows, strict=False))
    pairs = {(a, b) for a in held for b in held if a != b and held[a] & ~held[b] == 0}
    return list(held), pairs


@settings(deadline=None, max_examples=examples(20, 50))
@given(ISLANDS, st.sampled_from([306, 656]), st.integers(0, 99))
def test_children_are_drawn_below_what_holds_them(
    lakes: list[list[int]], width: int, seed: int
) -> None:
    chance = random.Random(seed)
    islands = [island(rows) for rows in lakes]
    layout = arrange(islands, width)
    dots = {(dot.island, dot.table): (dot.x, dot.y) for dot in layout.dots}
    assert len(dots) == sum(len(names) for names, _ in islands)
    assert len(set(dots.values())) == len(dots)
    for x, y in dots.values():
        assert 0 < x < width
        assert 0 < y < layout.height
    linked: dict[Any, set[Any]] = {}
    for x, y, x2, y2, kind in layout.lines:
        assert (kind == "same rows") == (y == y2 or kind == "same rows")
        linked.setdefault((x, y), set()).add((x2, y2))
        if kind == "same rows":
            linked.setdefault((x2, y2), set()).add((x, y))
    for number, (_, pairs) in enumerate(islands):
        for child, parent in pairs:
            below, above = dots[number, child], dots[number, parent]
            if (parent, child) not in pairs:
                assert below[1] > above[1]
            # Lines lead from every table to all that hold it.
            assert above in reach(linked, below)
    shuffled = [(chance.sample(names, len(names)), pairs) for names, pairs in islands]
    assert arrange(shuffled, width) == layout


def reach(linked: dict[Any, set[Any]], start: Any) -> set[Any]:
    seen, left = {start}, [start]
    while left:
        for other in linked.get(left.pop(), set()) - seen:
            seen.add(other)
            left.append(other)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_lakes_page_in_a_browser(
    visit: Callable[..., Any], lake_run: Path, dark: bool
) -> None:
    seen = visit(lake_run / "report.html", dark=dark)
    assert seen.serious() == []
    if dark:
        return
    mark = seen.page.locator('#graph .wide a[href="#island-1"]').first
    mark.focus()
    seen.page.keyboard.press("Enter")
    seen.page.locator(".cluster:target").wait_for()
    assert "whole.parquet" in seen.words(".cluster:target")[0]
    assert seen.serious() == []
    narrow = visit(lake_run / "report.html", width=360, height=740)
    assert narrow.too_wide() == []
    assert narrow.page.locator("#graph .narrow svg").is_visible()
    assert narrow.serious() == []


def test_the_first_islands_bear_a_name_and_none_lies_over_another() -> None:
    long = "raw/2024/a_table_with_a_very_long_name.parquet"
    pairs = [("b.parquet", long), *((f"c{i}", f"p{i}") for i in range(20))]
    islands = [([child, parent], {(child, parent)}) for child, parent in pairs]
    layout = arrange(islands, 400)
    texts = [text for _, _, text in layout.numbers]
    assert texts[:2] == ["1  …long_name.parquet", "2  p0"]
    assert texts[12:] == [str(n) for n in range(13, 22)]
    for (x, y, text), (right, line, _) in pairwise(layout.numbers):
        # Letters of this size are at most seven pixels wide.
        assert y != line or x + 7 * len(text) <= right
        assert x + 7 * len(text) <= 400
