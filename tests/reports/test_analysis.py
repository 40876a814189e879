"""`winnow analyze`: what a pool is like, against what its rows say themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import median_low
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import winnow
from winnow.cli.main import main
from winnow.core.errors import ConfigError, RunError
from winnow.formats.column_names import guessed

from tests.page_numbers import check_numbers, read_numbers

EVIL = "<script>alert(1)</script> in a caption of seven words"


@pytest.fixture(scope="module")
def pictures(picture_table: Callable[..., pa.Table]) -> pa.Table:
    """Return 60 rows: a picture repeats, a caption is hostile, one is empty."""
    table = picture_table(60)
    texts = table["text"].to_pylist()
    texts[13], texts[1] = EVIL, "  "
    table = table.set_column(2, "caption", pa.array(texts))
    return table.append_column("source", pa.array(["web"] * 60))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory, pictures: pa.Table) -> Path:
    folder = tmp_path_factory.mktemp("analysis")
    pq.write_table(pictures, folder / "pool.parquet")
    return folder / "pool.parquet"


@pytest.fixture(scope="module")
def seen(pool: Path) -> Any:
    return winnow.analyze(pool, pool.parent / "run")


def test_counts_and_spreads_are_those_of_the_rows(seen: Any, pictures: pa.Table):
    words = [len(text.split()) for text in pictures["caption"].to_pylist()]
    assert (seen["rows"], seen["looked_at"], seen["quarantined"]) == (60, 60, 0)
    told = seen["captions"]
    assert (told["rows"], told["empty"]) == (60, 1)
    spread = [told[f"words_{n}"] for n in ("least", "median", "most")]
    assert spread == [0, median_low(words), 7]
    assert (seen["images"]["width_least"], seen["images"]["height_most"]) == (48, 52)
    assert sum(row["rows"] for row in told["languages"]) == 59


def test_each_step_takes_what_a_run_of_it_would(seen: Any, pictures: pa.Table):
    repeated = len(pictures) - len(pc.unique(pictures["image"]))
    taken = {row["step"]: row["dropped"] for row in seen["steps"]}
    assert taken["exact"] == repeated > 0
    # Narrower than the recipe's least side are all.
    assert taken["rules"] == len(pictures) - repeated
    assert seen["reasons"][0]["reason"] == "too_small"
    assert not any(row["by_budget"] for row in seen["steps"])
    run = winnow.open(seen["run"])
    assert len(run.dropped([])) == sum(taken.values())
    assert not (run.path / "kept").exists()


def test_the_page_says_it_by_its_queries_and_runs_no_script(seen: Any):
    page = Path(seen["page"]).read_text()
    assert check_numbers(page, Path(seen["run"])) > 50
    assert not {"script", "b"} & read_numbers(page).tags
    assert "&lt;script&gt;" in page
    for part in ("reasons", "steps", "images", "texts", "step-exact", "duplicates"):
        assert f'id="{part}"' in page


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_page_is_accessible(
    visit: Callable[..., Any], seen: Any, width: int, dark: bool
):
    opened = visit(seen["page"], width=width, dark=dark)
    assert opened.serious() == []
    assert opened.too_wide() == []


def test_the_text_is_short_and_begins_with_the_pool(seen: Any, pool: Path):
    lines = str(seen).splitlines()
    assert lines[0].startswith(f"{pool}: 60 rows, ")
    assert len(lines) < 20
    assert re.search(r"^exact +60 +1  1\.7", str(seen), re.M)


@pytest.mark.slow
def test_of_a_larger_pool_a_sample_is_looked_at(pool: Path):
    drawn = winnow.analyze(pool, pool.parent / "sampled", sample=20)
    assert (drawn["rows"], drawn["looked_at"]) == (60, 20)
    assert drawn["steps"][0]["rows_in"] == 20
    assert all(row["share"] <= 1 for row in drawn["reasons"])
    page = Path(drawn["page"]).read_text()
    assert "duplicates are more than what stands here" in page
    assert check_numbers(page, Path(drawn["run"])) > 30


def test_texts_in_memory(tmp_path: Path):
    rows = [{"id": i, "body": f"text number {i // 2} is here"} for i in range(40)]
    named = {"input.columns.text": "body"}
    told = winnow.analyze(rows, tmp_path / "run", set=named)
    assert [row["step"] for row in told["steps"]] == ["exact", "minhash", "quality"]
    assert told["steps"][0]["dropped"] == 20
    assert told["images"] is None
    assert told["captions"]["words_median"] == 5


@pytest.mark.slow
def test_images_alone_and_by_a_model(
    tmp_path: Path, make_picture: Callable[..., bytes], tiny_vit: str
):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(6):
        (folder / f"{i}.jpg").write_bytes(make_picture(i))
    (folder / "torn.jpg").write_bytes(make_picture(9)[:300])
    told = winnow.analyze(folder, tmp_path / "run", model=tiny_vit)
    assert (told["rows"], told["quarantined"], told["captions"]) == (7, 1, None)
    assert [part["step"] for part in told["clusters"]] == ["cluster"]
    assert 'id="quarantine"' in Path(told["page"]).read_text()


def test_a_pool_without_text_or_image_is_refused(tmp_path: Path):
    pq.write_table(pa.table({"n": [1, 2]}), tmp_path / "n.parquet")
    with pytest.raises(ConfigError, match=r"input\.columns\.text=COLUMN"):
        winnow.analyze(tmp_path / "n.parquet", tmp_path / "run")


def test_another_pool_needs_another_folder(pool: Path, tmp_path: Path):
    pq.write_table(pa.table({"text": ["a b", "c d"]}), tmp_path / "t.parquet")
    with pytest.raises(RunError, match="--replace"):
        winnow.analyze(tmp_path / "t.parquet", pool.parent / "run")


def test_the_command_prints_json(
    pool: Path, capsys: pytest.CaptureFixture[str], seen: Any
):
    out = str(pool.parent / "run")
    assert main(["analyze", str(pool), "--out", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"][0]["dropped"] == 1
    assert main(["analyze", str(pool), "--out", out]) == 0
    said = capsys.readouterr().out
    assert "What stands out:" in said
    assert f"page: {Path(out).resolve().as_uri()}/analysis.html" in said


@pytest.mark.parametrize(
    ("meaning", "columns", "column"),
    [
        ("text", ["url", "TEXT"], "TEXT"),
        ("text", ["title", "caption"], "caption"),
        ("uid", ["key", "n"], "key"),
        ("image", ["url", "jpg"], "jpg"),
        ("uid", ["n"], None),
    ],
)
def test_columns_are_told_by_their_names(
    meaning: str, columns: list[str], column: str | None
):
    assert guessed(meaning, columns) == column
