"""Extras: the base runs tables, texts, ready vectors; the rest says what it lacks."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
import yaml
from winnow.cli.query_prompt import ask_until_done
from winnow.config.run import parse
from winnow.core import extras
from winnow.core.extras import EXTRAS, MissingExtraError, require
from winnow.flows.image_text import ordered_steps, require_models
from winnow.handles.rows import ArrowRows

from tests.hidden import Answer, answers_without

ROOT = Path(__file__).resolve().parents[2]
#: What only extras bring, and what those bring along. Pygments comes with rich, too.
NOT_IN_THE_BASE = {
    *{module for modules in EXTRAS.values() for module in modules} - {"pygments"},
    *("torchvision", "timm", "huggingface_hub", "py4j", "arro3", "anyio", "s3fs"),
    "datasketch",
}


def declared() -> dict[str, Any]:
    """Return the project's table of pyproject.toml."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return project["project"]


def named(requirements: list[str]) -> set[str]:
    """Return the names of distributions, or of this project's own extras."""
    names = (re.split("[!<>=]", requirement)[0] for requirement in requirements)
    return {name.lower().replace("_", "-") for name in names}


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_installs_what_its_commands_look_for(extra: str) -> None:
    optional = declared()["optional-dependencies"]
    installed = named(optional[extra])
    for other in EXTRAS:
        if f"datawinnow[{other}]" in installed:
            installed |= named(optional[other])
    distributions = packages_distributions()
    for module in EXTRAS[extra]:
        assert {d.lower().replace("_", "-") for d in distributions[module]} & installed


def test_all_extras_are_in_all_and_all_is_in_dev() -> None:
    optional = declared()["optional-dependencies"]
    (everything,) = optional["all"]
    assert set(everything.partition("[")[2].rstrip("]").split(",")) == set(EXTRAS)
    assert "datawinnow[all]" in optional["dev"]


def test_what_the_base_installs_is_no_extra() -> None:
    project = declared()
    optional = project["optional-dependencies"]
    base = named(project["dependencies"])
    assert not base & set().union(*(named(optional[extra]) for extra in EXTRAS))
    # Private parts of these two are used, so that a new release may break them.
    capped = [r for r in project["dependencies"] if r.startswith(("numba", "llvmlite"))]
    assert all("<" in requirement for requirement in capped)
    assert len(capped) == 2


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake")
    table = pa.table({"id": range(50), "name": [f"row {i}" for i in range(50)]})
    pq.write_table(table, folder / "all.parquet")
    pc.write_csv(table.slice(10, 20), folder / "some.csv")
    return folder


@pytest.fixture(scope="module")
def recipes(
    tmp_path_factory: pytest.TempPathFactory,
    vector_recipe: Callable[..., dict[str, Any]],
    planted_pool: Path,
) -> dict[str, Path]:
    """Return recipes over one pool: its texts, its ready vectors, a model's vectors."""
    folder = tmp_path_factory.mktemp("recipes")
    steps = {
        "texts": ["exact", "minhash", "apply"],
        "vectors": ["exact", "rules", "embed", "cluster", "semantic", "score", "apply"],
        "model": ["exact", "embed", "apply"],
    }
    files = {}
    for name, kinds in steps.items():
        recipe = vector_recipe(planted_pool, folder / f"{name}-run", kinds)
        recipe["output"]["report"] = True
        if name == "texts":
            recipe["exact"] = {"by": ["caption"]}
        if name == "model":
            recipe["embed"] = {}
        files[name] = folder / f"{name}.yaml"
        files[name].write_text(yaml.safe_dump(recipe))
        files[f"{name}-run"] = folder / f"{name}-run"
    return files


@pytest.mark.slow
def test_the_base_runs_tables_texts_and_ready_vectors(
    lake: Path, recipes: dict[str, Path], tmp_path: Path
) -> None:
    scan, index = tmp_path / "scan", tmp_path / "index"
    texts, vectors = recipes["texts-run"], recipes["vectors-run"]
    answers, imported = answers_without(
        NOT_IN_THE_BASE,
        [
            ("lake", "scan", lake, "--out", scan),
            ("lake", "plan", scan),
            ("lake", "edges", scan),
            ("explain", scan, "some.csv"),
            ("query", scan, "SELECT count(*) FROM tables"),
            ("run", recipes["texts"]),
            ("duplicates", texts),
            ("index", "build", texts, "--out", index),
            ("near", index, "--text", "red blue cat"),
            ("run", recipes["vectors"]),
            ("steps", vectors),
            ("query", vectors, "SELECT count(*) FROM samples"),
            ("what-if", vectors, "--set", "score.keep_fraction=0.5"),
            ("export", vectors, "--to", "parquet", "--out", tmp_path / "kept"),
            ("report", vectors, "--columns", "language"),
        ],
    )
    for answer in answers:
        assert answer.code == 0, answer.err
    assert not imported & NOT_IN_THE_BASE
    for run in (scan, texts, vectors):
        page = (run / "report.html").read_text()
        assert "<svg" in page
        assert "datawinnow[" not in page


@pytest.fixture(scope="module")
def refused(
    lake: Path, recipes: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Answer]:
    """Return the answers of commands that need an extra, by what needs it."""
    import deltalake

    folder = tmp_path_factory.mktemp("refused")
    deltalake.write_deltalake(folder / "lake" / "delta", pa.table({"id": [1, 2]}))
    model, vectors = recipes["model"], recipes["vectors"]
    spark = ("--out", folder / "run", "--engine", "spark")
    commands = {
        "model": ("run", model, "--out", folder / "run"),
        "demo": ("demo", "--out", folder / "demo"),
        "engine": ("run", vectors, *spark),
        "submit": ("submit", vectors, "--master", "local[1]"),
        "ui": ("ui", lake),
        "train": ("filter", "train", "filter_train", "--out", folder / "filter"),
        "eval": ("filter", "eval", "ViT-B-32@openai", lake),
        "delta": ("lake", "scan", folder / "lake", "--out", folder / "scan"),
    }
    answers, _ = answers_without(NOT_IN_THE_BASE, list(commands.values()))
    assert not (folder / "run" / "artifacts" / "exact").exists()
    return dict(zip(commands, answers, strict=True))


@pytest.mark.parametrize(
    ("command", "extra", "lacking"),
    [
        ("model", "images", "torch and open_clip"),
        ("demo", "images", "torch"),
        ("engine", "spark", "pyspark and pandas"),
        ("submit", "spark", "pyspark"),
        ("ui", "ui", "starlette and uvicorn"),
        ("train", "filters", "torch and open_clip and safetensors"),
        ("eval", "images", "torch"),
        ("delta", "delta", "deltalake"),
    ],
)
def test_a_command_says_in_one_line_which_extra_it_lacks(
    refused: dict[str, Answer], command: str, extra: str, lacking: str
) -> None:
    answer = refused[command]
    assert (answer.code, answer.out) == (2, "")
    line = answer.err.splitlines()[-1]
    assert line.startswith("winnow: ")
    assert lacking in line
    assert line.endswith(f"pip install 'datawinnow[{extra}]'")
    assert "Traceback" not in answer.err


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    monkeypatch.setattr(extras, "_is_installed", lambda name: name not in modules)


def test_the_prompt_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "prompt_toolkit")
    database: Any = None
    with pytest.raises(MissingExtraError, match=r"SQL as an argument.*\[ui\]"):
        ask_until_done(database, print, print)


def test_vectors_that_are_there_need_no_model(
    monkeypatch: pytest.MonkeyPatch, recipes: dict[str, Path]
) -> None:
    without(monkeypatch, "torch")
    config = parse(yaml.safe_load(recipes["model"].read_text()))
    planned = ordered_steps(config)
    require_models(config, [step for step in planned if step.kind != "embed"])
    with pytest.raises(MissingExtraError, match=r"embed by model .*\[images\]"):
        require_models(config, planned)


@pytest.mark.parametrize("package", ["pandas", "datasets", "torch"])
def test_what_no_extra_brings_is_named_by_itself(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    without(monkeypatch, package)
    with pytest.raises(MissingExtraError, match=f": pip install {package}$"):
        extras.require_package(package, "this")


def test_rows_without_pandas_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "pandas")
    with pytest.raises(MissingExtraError, match=r"ArrowRows\.pandas needs pandas"):
        ArrowRows.of(pa.table({"uid": ["a"]})).pandas()


def test_what_is_installed_is_not_asked_for() -> None:
    for extra in EXTRAS:
        require(extra, "the suite")


def test_only_imports_that_an_extra_brings_are_explained() -> None:
    missing = extras.explained(ModuleNotFoundError(name="starlette"))
    assert missing is not None
    assert "datawinnow[ui]" in str(missing)
    # A broken torch, or a user's own module, is another matter.
    assert extras.explained(ModuleNotFoundError(name="torch._C")) is None
    assert extras.explained(ModuleNotFoundError(name="mine")) is None
