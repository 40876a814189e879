"""What cannot work is refused with its reason before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from winnow.config.run import parse
from winnow.core.errors import ConfigError, InputError
from winnow.flows.image_text import check_budgets, ordered_steps

Winnow = Callable[..., Any]
Write = Callable[..., Path]

BUDGET = {"keep_fraction": 0.5}


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["cluster"], "'cluster' needs image vectors.*add embed"),
        (["cluster", "embed"], "'cluster' needs image vectors.*move 'embed' before it"),
        (["embed", "semantic"], "'semantic' needs clusters.*add cluster"),
        (["embed", "semantic", "cluster"], "needs clusters.*move 'cluster' before it"),
        (["embed", "prototypes"], "'prototypes' needs clusters"),
        (["embed", "complexity"], "'complexity' needs clusters"),
        (["uniform"], "'uniform' needs clusters"),
        (["score"], "'score' needs (image|text) vectors"),
        (["apply", "random"], "'random' stands after apply.*put apply last"),
        (["apply", "apply"], "'apply_2' stands after apply"),
    ],
)
@pytest.mark.parametrize("pool", ["planted", "nowhere"])
def test_a_nonsensical_order_is_refused_before_the_input_is_opened(
    winnow: Winnow,
    planted_pool: Path,
    tmp_path: Path,
    pool: str,
    steps: list[str],
    message: str,
):
    input_path = planted_pool if pool == "planted" else tmp_path / "nowhere"
    with pytest.raises(ConfigError, match=message):
        winnow(input_path, tmp_path / "run", steps)
    assert not (tmp_path / "run").exists()


def test_vectors_of_the_other_modality_are_named(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    only_text = {"modalities": ["text"], "image_column": None}
    with pytest.raises(ConfigError, match=r"needs image vectors.*with image among"):
        winnow(planted_pool, tmp_path / "run", ["embed", "cluster"], embed=only_text)
    with pytest.raises(ConfigError, match="'score' needs image vectors"):
        winnow(planted_pool, tmp_path / "run", ["embed", "score"], embed=only_text)


@pytest.mark.parametrize(
    ("columns", "steps", "sections", "message"),
    [
        ({"image": None}, ["exact"], {}, "exact needs the image.*input.columns.image"),
        ({"text": None}, ["rules"], {}, "rules needs the text.*input.columns.text"),
        (
            {"text": None},
            ["embed"],
            {"embed": {"image_column": None, "text_column": None}},
            "embed needs the text",
        ),
        (
            {"image": None},
            ["score"],
            {"score": {"model": {"name": "ViT-B-32", "pretrained": "openai"}}},
            "score needs the image",
        ),
        ({"uid": None, "image": None, "text": None}, ["random"], {}, "without uid"),
    ],
)
def test_an_absent_modality_is_named_with_its_remedy(
    winnow: Winnow,
    planted_pool: Path,
    tmp_path: Path,
    columns: dict,
    steps: list[str],
    sections: dict,
    message: str,
):
    given = {"path": str(planted_pool), "columns": columns}
    with pytest.raises(ConfigError, match=message):
        winnow(planted_pool, tmp_path / "run", steps, input=given, **sections)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("column", "kind", "message"),
    [
        ("image", pa.int64(), "input.columns.image.*'image' holds int64"),
        ("image", pa.list_(pa.binary()), "input.columns.image.*holds list"),
        ("image", pa.struct([("data", pa.binary())]), "holds struct<data: binary>"),
        ("text", pa.list_(pa.int64()), "input.columns.text.*holds list<"),
        ("text", pa.binary(), "input.columns.text.*holds binary"),
    ],
    ids=str,
)
def test_a_column_of_another_type_is_named(
    winnow: Winnow,
    write_shards: Write,
    tmp_path: Path,
    column: str,
    kind: pa.DataType,
    message: str,
):
    table = pa.table({"uid": ["a", "b"], column: pa.nulls(2, kind)})
    pool = write_shards(tmp_path / "p", table)
    by = {"by": ["image_bytes" if column == "image" else "caption"]}
    with pytest.raises(InputError, match=message):
        winnow(pool, tmp_path / "run", ["exact"], exact=by)
    assert not (tmp_path / "run").exists()


def test_a_missing_column_names_the_nearest(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    pool = write_shards(tmp_path / "p", pa.table({"uid": ["a"], "texts": ["b"]}))
    with pytest.raises(InputError, match=r"columns\.text.*'text'.*mean 'texts'"):
        winnow(pool, tmp_path / "run", ["rules"])


def test_a_local_model_that_is_not_there_is_named_before_anything_runs(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    model = {"name": f"local-dir:{tmp_path / 'none'}"}
    no_columns = {"image_column": None, "text_column": None}
    with pytest.raises(ConfigError, match=r"embed: model\.name: .*none"):
        winnow(planted_pool, tmp_path / "run", ["embed"], embed=no_columns, model=model)
    with pytest.raises(ConfigError, match=r"score: model\.name: .*none"):
        winnow(planted_pool, tmp_path / "run", ["score"], score={"model": model})
    assert not (tmp_path / "run").exists()


def test_a_truncated_shard_stops_before_anything_runs_or_is_left_out_and_reported(
    winnow: Winnow,
    planted_table: Callable[..., pa.Table],
    write_shards: Write,
    tmp_path: Path,
):
    pool = write_shards(tmp_path / "p", planted_table(), 50)
    bad = pool / "00001.parquet"
    bad.write_bytes(bad.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"00001\.parquet.*on_bad_shard=skip"):
        winnow(pool, tmp_path / "run", ["random"])
    assert not (tmp_path / "run").exists()
    given = {"path": str(pool), "on_bad_shard": "skip"}
    run = winnow(pool, tmp_path / "run", ["random", "apply"], input=given)
    assert (run.result.rows, run.result.kept, run.result.quarantined) == (150, 75, 0)
    (row,) = run.quarantine()
    assert row["source"].endswith("00001.parquet")
    assert "not a whole Parquet file" in row["reason"]
    assert (row["uid"], row["row"], row["raw"]) == (None, None, None)
    manifest = (run.path / "manifest.json").read_text()
    assert '"unreadable_files"' in manifest
    assert "00001.parquet" in manifest


def test_a_run_inside_its_own_input_is_refused(
    winnow: Winnow,
    planted_table: Callable[..., pa.Table],
    write_shards: Write,
    tmp_path: Path,
):
    pool = write_shards(tmp_path / "p", planted_table(9))
    for out in (pool / "run", pool):
        with pytest.raises(ConfigError, match="lies in the input folder"):
            winnow(pool, out, ["random"])
    winnow(pool / "00000.parquet", pool / "run", ["random"])


def test_a_foreign_folder_is_refused_and_left_alone(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    from winnow.core.errors import RunError

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="not empty and holds no run"):
        winnow(planted_pool, tmp_path / "mine", ["random"])
    assert [f.name for f in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("counts", "rows", "step"),
    [([11], 10, "random"), ([5, 6], 10, "random_2"), ([10, 3, 4], 10, "random_3")],
)
def test_a_budget_that_cannot_be_met_is_told_beforehand(
    counts: list[int], rows: int, step: str
):
    names = ["random", *(f"random_{n}" for n in range(2, len(counts) + 1))]
    sections = {name: {"keep_count": n} for name, n in zip(names, counts, strict=True)}
    recipe = {"input": {"path": "x"}, "steps": ["random"] * len(counts), **sections}
    planned = ordered_steps(parse(recipe))
    with pytest.raises(ConfigError, match=rf"^{step}\.keep_count"):
        check_budgets(planned, rows)


@pytest.mark.parametrize("cutting", ["lines", "substring"])
def test_texts_that_were_cut_are_judged_by_no_later_step(
    winnow: Winnow, tmp_path: Path, cutting: str
):
    given = {cutting: {"action": "cut"}}
    steps = [cutting, "minhash", "apply"]
    message = f"'minhash' reads texts as they came, and '{cutting}' before it cuts them"
    with pytest.raises(ConfigError, match=message):
        winnow(tmp_path / "nowhere", tmp_path / "run", steps, **given)
