"""Spark decides what the local engine decides: every ledger row, every kept row."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
import yaml
from winnow.config.recipes import parse_any
from winnow.demo.run import prepare_demo
from winnow.steps import minhash_marks, minhash_rows

from tests.parity.comparison import assert_same

Recipe = dict[str, Any]
Run = Callable[..., Path]


@pytest.fixture(scope="module")
def run_spark(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return run(recipe, partitions, out=None, **engine) -> a folder of a run on Spark.

    With `driver_mb=0`, every relation is Spark's.
    """

    def run(
        recipe: Recipe,
        partitions: int | None,
        out: Path | None = None,
        **settings: int,
    ) -> Path:
        folder = out or tmp_path_factory.mktemp("on-spark") / "run"
        output = {"path": str(folder), "report": False}
        engine = {"name": "spark", "partitions": partitions, **settings}
        winnow.run({**recipe, "output": output, "engine": engine}, spark=spark)
        return folder

    return run


def run_local(recipe: Recipe, out: Path) -> Path:
    winnow.run({**recipe, "output": {"path": str(out), "report": False}})
    return out


#: What every step is asked over vectors that are there.
PLANS: dict[str, tuple[list[str], Recipe]] = {
    "prune": (
        ["exact", "rules", "embed", "cluster", "semantic", "complexity", "apply"],
        {"exact": {"by": ["image_bytes", "caption"]}, "semantic": {"epsilon": 0.05}},
    ),
    "filter": (
        ["where", "minhash", "embed", "score", "top", "apply"],
        {
            "where": "width > 40 AND text <> 'cat'",
            "minhash": {"ngram": 1, "threshold": 0.7, "allow_large_clusters": True},
            "top": {"column": "height", "keep_fraction": 0.8, "ties": "keep"},
        },
    ),
    "texts": (
        ["quality", "minhash", "overlap", "lines", "substring", "apply"],
        {
            # The planted captions are short: rules that leave some of them.
            "quality": {
                "rules": ["gopher_quality"],
                "min_words": 3,
                "min_stop_words": None,
            },
            "lines": {"min_chars": 3, "min_texts": 2},
            "substring": {"min_bytes": 12, "action": "cut"},
            "minhash": {"ngram": 1, "allow_large_clusters": True},
            # `against` is the first shard's captions of the pool, each tenth.
            "overlap": {"words": 3, "characters": None},
        },
    ),
    "draw": (
        ["embed", "score", "soft_cap", "apply"],
        {
            "score": {
                "terms": [
                    {"method": "alignment", "weight": 1.0},
                    {"method": "neg_clip_loss", "weight": 0.5},
                ]
            },
            "soft_cap": {"total_fraction": 1.0},
        },
    ),
    "control": (
        ["embed", "cluster", "prototypes", "random", "uniform", "apply"],
        {},
    ),
}


@pytest.fixture(scope="module")
def planted(
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    vector_recipe: Callable[..., Recipe],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], tuple[Recipe, Path]]:
    """Return of(plan) -> the recipe and the local engine's run of it."""
    pool = write_shards(tmp_path_factory.mktemp("pool"), planted_table(300))
    made: dict[str, tuple[Recipe, Path]] = {}

    def of(plan: str) -> tuple[Recipe, Path]:
        if plan not in made:
            steps, sections = PLANS[plan]
            out = tmp_path_factory.mktemp(plan) / "run"
            if "overlap" in steps:
                items = pq.read_table(sorted(pool.glob("*.parquet"))[0])[::10]
                pq.write_table(items.select(["text"]), out.parent / "items.parquet")
                against = {"against": [str(out.parent / "items.parquet")]}
                sections = {**sections, "overlap": {**sections["overlap"], **against}}
            recipe = vector_recipe(pool, out, steps, **sections)
            made[plan] = recipe, run_local(recipe, out)
        return made[plan]

    return of


@pytest.mark.slow
def test_pictures_without_a_model(
    picture_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    run_spark: Run,
    tmp_path: Path,
):
    """Bytes, sizes and hashes of pictures, and which of equal ones stays."""
    keeper = ["pixels desc", "bytes", "sharpness desc"]
    recipe = {
        "input": {"path": str(write_shards(tmp_path / "p", picture_table(60), 25))},
        "steps": ["exact", "image_quality", "perceptual_hash", "apply"],
        "exact": {"keeper": ["text desc"]},
        "image_quality": {"low_information": 0.16},
        "perceptual_hash": {"max_bits": 12, "keeper": keeper},
    }
    local = run_local(recipe, tmp_path / "local")
    assert_same(local, run_spark(recipe, 3))


@pytest.mark.parametrize(
    ("plan", "partitions", "driver_mb"),
    [
        # More parts than files; `prune` and `filter` at 3 parts: below, in two goes;
        # at 1 and 17: the demo.
        *(pytest.param("prune", n, 0, marks=pytest.mark.slow) for n in (7, None)),
        pytest.param("filter", 7, 0, marks=pytest.mark.slow),
        pytest.param("texts", 3, 0, marks=pytest.mark.slow),
        pytest.param("control", 7, 0, marks=pytest.mark.slow),
        pytest.param("draw", 3, 0, marks=pytest.mark.slow),
        *(
            pytest.param(plan, n, 64, marks=pytest.mark.slow)
            for plan, n in [("prune", None), ("filter", 1), ("texts", 3), ("draw", 5)]
        ),
        *(pytest.param("prune", n, 0, marks=pytest.mark.soak) for n in (1, 17)),
        *(pytest.param("filter", n, 0, marks=pytest.mark.soak) for n in (1, 17)),
        *(pytest.param("control", n, 0, marks=pytest.mark.soak) for n in (1, 3, 17)),
        *(pytest.param("control", n, 64, marks=pytest.mark.soak) for n in (1, 17)),
    ],
)
def test_ready_made_vectors(
    planted: Callable[[str], tuple[Recipe, Path]],
    run_spark: Run,
    plan: str,
    partitions: int | None,
    driver_mb: int,
):
    recipe, local = planted(plan)
    assert_same(local, run_spark(recipe, partitions, driver_mb=driver_mb))


@pytest.mark.slow
def test_marks_of_minhash_that_go_through_files(
    planted: Callable[[str], tuple[Recipe, Path]],
    run_spark: Run,
    monkeypatch: pytest.MonkeyPatch,
):
    recipe, local = planted("filter")
    for module in (minhash_marks, minhash_rows):
        monkeypatch.setattr(module, "PIECE_ROWS", 3)
    assert_same(local, run_spark(recipe, 3))


def test_a_run_goes_on_with_the_other_engine(
    planted: Callable[[str], tuple[Recipe, Path]], run_spark: Run, tmp_path: Path
):
    recipe, local = planted("prune")
    later = recipe["steps"][5:]
    half = {name: values for name, values in recipe.items() if name not in later}
    half["steps"] = recipe["steps"][:5]
    out = run_spark(half, 3, tmp_path / "run")
    whole = {**recipe, "output": {"path": str(out), "report": False}}
    assert winnow.run(whole).ran == ["complexity", "apply"]
    assert_same(local, out)


@pytest.mark.slow
def test_a_run_that_failed_on_spark_goes_on_there(
    planted: Callable[[str], tuple[Recipe, Path]],
    run_spark: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    from winnow.engines.spark.engine import SparkEngine

    recipe, local = planted("filter")
    written = SparkEngine.write

    def fails_at_minhash(self: Any, frame: Any, path: str, sort_by: Any) -> int:
        if "minhash" in Path(path).parts and path.endswith("ledger"):
            raise OSError("no space left on device")
        return written(self, frame, path, sort_by)

    with monkeypatch.context() as patch:
        patch.setattr(SparkEngine, "write", fails_at_minhash)
        with pytest.raises(OSError, match="no space"):
            run_spark(recipe, 3, tmp_path / "run")
    assert list((tmp_path / "run" / ".work" / "engine").iterdir()), "nothing was left"
    assert_same(local, run_spark(recipe, 3, tmp_path / "run"))


def test_spark_takes_over_what_a_run_elsewhere_has_done(
    planted: Callable[[str], tuple[Recipe, Path]], spark: Any, tmp_path: Path
):
    recipe, local = planted("filter")
    output = {"path": str(tmp_path / "run"), "report": False}
    engine = {"name": "spark", "partitions": 3}
    on_spark = {**recipe, "output": output, "engine": engine}
    assert winnow.run(on_spark, spark=spark, from_runs=[local]).ran == []
    assert_same(local, tmp_path / "run")


@pytest.mark.slow
def test_spark_embeds_the_new_samples_of_a_pool_alone(
    picture_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    vector_recipe: Callable[..., Recipe],
    tiny_vit: str,
    spark: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    from winnow.steps import known_vectors

    table = picture_table(24)
    steps, given = (
        ["embed", "score", "apply"],
        {
            "embed": {"image_column": None, "text_column": None},
            "model": {"name": tiny_vit, "precision": "float32"},
        },
    )
    pool = write_shards(tmp_path / "pool", table.slice(0, 12), 12)
    first = run_local(
        vector_recipe(pool, tmp_path / "first", steps, **given), tmp_path / "first"
    )
    write_shards(pool, table, 12)
    recipe = vector_recipe(pool, tmp_path / "grown", steps, **given)
    recipe["engine"] = {"name": "spark", "partitions": 2}
    taken: list[int] = []
    original = known_vectors._take

    def counted(context: Any, stored: Any, todo: Any, known: list[Any]) -> Any:
        left = original(context, stored, todo, known)
        taken.append(context.engine.count(known[-1]))
        return left

    monkeypatch.setattr(known_vectors, "_take", counted)
    grown = winnow.run(recipe, spark=spark, from_runs=[first])
    parts = pq.read_table(grown.path / "artifacts" / "embed" / "contents")
    assert len(parts) == 24
    local = vector_recipe(pool, tmp_path / "fresh", steps, **given)
    assert_same(run_local(local, tmp_path / "fresh"), grown.path)
    assert taken == [12]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    """Return the demo's recipe over 400 scenes and the local engine's run."""
    folder = tmp_path_factory.mktemp("demo")
    recipe = yaml.safe_load(prepare_demo(folder, 400, 0).read_text())
    return recipe, run_local(recipe, folder / "local")


@pytest.mark.slow
@pytest.mark.parametrize("partitions", [1, 3, 17])
def test_the_demo(demo: tuple[Recipe, Path], run_spark: Run, partitions: int):
    recipe, local = demo
    assert_same(local, run_spark(recipe, partitions))


@pytest.fixture(scope="module")
def clipart(
    shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Recipe, Path, Path]:
    """Return the shipped recipe over 2,000 rows of clip art, and the local run.

    And that run as it was when the rows were embedded.
    """
    folder = tmp_path_factory.mktemp("clipart")
    files = sorted((shared / "data" / "clipart").glob("*.parquet"))
    rows = pa.concat_tables([pq.ParquetFile(file).read() for file in files])
    (folder / "pool").mkdir()
    for number in range(4):
        part = rows.slice(number * 500, 500)
        pq.write_table(part, folder / "pool" / f"{number}.parquet", row_group_size=100)
    config = parse_any(
        {
            **yaml.safe_load(
                (Path(__file__).parents[2] / "conf" / "image_text.yaml").read_text()
            ),
            "input": {"path": str(folder / "pool")},
            "model": {"name": f"local-dir:{shared / 'models' / 'lite0'}"},
        }
    )
    recipe = config.as_recipe()
    until = recipe["steps"].index("embed") + 1
    # A section that no step takes is an error.
    begun = {k: v for k, v in recipe.items() if k not in recipe["steps"][until:]}
    half = run_local({**begun, "steps": recipe["steps"][:until]}, folder / "half")
    shutil.copytree(half, folder / "local")
    return recipe, run_local(recipe, folder / "local"), half


@pytest.mark.shared
@pytest.mark.parametrize(
    ("partitions", "embedded"),
    [
        pytest.param(3, False, id="3", marks=pytest.mark.slow),
        pytest.param(1, True, id="embedded-1", marks=pytest.mark.soak),
        pytest.param(17, True, id="embedded-17", marks=pytest.mark.slow),
        pytest.param(1, False, id="1", marks=pytest.mark.soak),
        pytest.param(17, False, id="17", marks=pytest.mark.soak),
    ],
)
def test_clip_art(
    clipart: tuple[Recipe, Path, Path],
    run_spark: Run,
    tmp_path: Path,
    partitions: int,
    embedded: bool,
):
    recipe, local, half = clipart
    if embedded:
        # Embedding takes most of the time: steps after it on their own.
        shutil.copytree(half, tmp_path / "run")
    assert_same(local, run_spark(recipe, partitions, tmp_path / "run"))
