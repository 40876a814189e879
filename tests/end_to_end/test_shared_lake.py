"""A real lake of 853 tables by four writers through the commands a user types."""

from __future__ import annotations

import csv
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from winnow.cli.main import main
from winnow.lake.kernels.tables import EDGES, STAGES, TABLES

pytestmark = [pytest.mark.shared, pytest.mark.slow]


@pytest.fixture(scope="module")
def scanned(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("lake") / "run"
    lake = shared / "data" / "lake"
    settings = ["ignore_columns=[rownames]", "input.exclude=gold_edges.csv"]
    chosen = [word for setting in settings for word in ("--set", setting)]
    assert main(["lake", "scan", str(lake), "--out", str(run), *chosen]) == 0
    return run


def rows(run: Path, name: str) -> list[dict[str, Any]]:
    return pq.read_table(run / f"{name}.parquet").to_pylist()


def test_exactly_the_known_edges_are_contained(scanned: Path, shared: Path) -> None:
    with open(shared / "data" / "lake" / "gold_edges.csv") as lines:
        gold = {(row["child"], row["parent"]): row for row in csv.DictReader(lines)}
    edges = rows(scanned, "edges")
    contained = {
        (edge["child"], edge["parent"]): edge
        for edge in edges
        if edge["relation"] in ("contained", "duplicate")
    }
    assert contained.keys() == gold.keys()
    assert len(contained) == 105
    for (child, parent), edge in contained.items():
        assert (edge["containment"], edge["stage"]) == (1.0, "content")
        assert (edge["witness"], edge["refuted_by"]) == (None, None)
        assert edge["rebuild_sql"].startswith("SELECT ")
        mutual = (parent, child) in gold
        assert edge["relation"] == ("duplicate" if mutual else "contained")
    for edge in edges:
        if edge["relation"] == "partial":
            assert 0.9 <= edge["containment"] < 1
            assert set(json.loads(edge["witness"])) == set(edge["shared_columns"])
        assert "rownames" not in edge["shared_columns"]
        assert edge["reason"]


def test_each_stage_hands_on_what_it_could_not_settle(scanned: Path) -> None:
    stages = {row["stage"]: row for row in rows(scanned, "stages")}
    edges = rows(scanned, "edges")
    settled = Counter(edge["refuted_by"] for edge in edges)
    names = ["catalogue", "schema", "min_max", "sketch", "sample", "content"]
    assert list(stages) == [*names, "partial", "witness", "rebuild"]
    assert stages["schema"]["edges_in"] == 853 * 852
    for before, after in itertools.pairwise(names):
        assert stages[before]["edges_out"] == stages[after]["edges_in"]
    comparable = sum(edge["relation"] != "incomparable" for edge in edges)
    assert stages["schema"]["edges_out"] == comparable
    for name in names[2:]:
        lost = stages[name]["edges_in"] - stages[name]["edges_out"]
        assert lost == settled[name]
    assert stages["content"]["edges_out"] == 105
    assert stages["min_max"]["bytes_read"] == 0
    stored = sum(table["bytes"] for table in rows(scanned, "tables"))
    assert 0 < sum(row["bytes_read"] for row in stages.values()) < stored
    for name, schema in (("edges", EDGES), ("tables", TABLES), ("stages", STAGES)):
        assert pq.read_schema(scanned / f"{name}.parquet").equals(schema)


def test_a_table_with_invalid_text_says_so_and_stops_nothing(
    scanned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = {row["table"]: row for row in rows(scanned, "tables")}
    assert len(tables) == 853
    assert {name for name, row in tables.items() if row["reason"]} == {
        "openintro/nyc.parquet"
    }
    table = tables["openintro/nyc.parquet"]
    assert table["readable"]
    assert "restaurant holds text that is not UTF-8" in table["reason"]
    assert main(["lake", "explain", str(scanned), "openintro/nyc.parquet"]) == 0
    assert "not UTF-8" in capsys.readouterr().out


def test_the_plan_keeps_what_others_are_rebuilt_from(
    scanned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["--set", "plan.maintenance_per_table=1"]
    assert main(["lake", "plan", str(scanned), *settings, "--json"]) == 0
    plan = {row["table"]: row for row in json.loads(capsys.readouterr().out)["plan"]}
    edges = {
        (edge["child"], edge["parent"])
        for edge in rows(scanned, "edges")
        if edge["relation"] in ("contained", "duplicate")
    }
    gone = {name: row for name, row in plan.items() if row["action"] == "delete"}
    assert len(gone) > 40
    for name, row in gone.items():
        assert (name, row["parent"]) in edges
        assert plan[row["parent"]]["action"] == "keep"
    groups = [{child, parent} for child, parent in edges if (parent, child) in edges]
    assert all(group - gone.keys() for group in groups)
