"""The command: names, JSON keys and exit codes are a contract."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from winnow.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
STEPS = ["exact", "embed", "cluster", "semantic", "score", "apply"]


@pytest.fixture
def recipe(
    vector_recipe: Callable[..., dict], planted_pool: Path, tmp_path: Path
) -> Path:
    file = tmp_path / "recipe.yaml"
    values = vector_recipe(planted_pool, tmp_path / "unused", STEPS)
    file.write_text(yaml.safe_dump(values))
    return file


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return call(*arguments) -> (exit code, standard output, standard error)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


@pytest.fixture
def finished(
    command: Callable[..., tuple[int, str, str]], recipe: Path, tmp_path: Path
) -> Path:
    code, _, error = command("run", recipe, "--out", tmp_path / "run")
    assert code == 0, error
    return tmp_path / "run"


def test_run_tells_one_line_per_step_and_the_sum(
    command: Any, recipe: Path, tmp_path: Path
):
    code, out, err = command("run", recipe, "--out", tmp_path / "run")
    assert code == 0
    ended = [line.split()[0] for line in err.splitlines() if " in " in line]
    assert ended == ["index", *STEPS]
    assert "200 rows: " in out
    assert str(tmp_path / "run") in out
    code, _, err = command("run", recipe, "--out", tmp_path / "run")
    assert all(line.endswith("done before") for line in err.splitlines())


def test_run_as_json(command: Any, recipe: Path, tmp_path: Path):
    code, out, err = command("run", recipe, "--out", tmp_path / "run", "--json")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert set(told) == {"run", "rows", "kept", "dropped", "quarantined", "ran"}
    assert told["rows"] == told["kept"] + told["dropped"] + told["quarantined"] == 200
    assert told["ran"] == ["index", *STEPS]


def test_set_reaches_the_run(command: Any, recipe: Path, tmp_path: Path):
    settings = ["--set", "score.keep_fraction=0.5", "--set", "seed=3"]
    command("run", recipe, "--out", tmp_path / "run", *settings)
    lock = yaml.safe_load((tmp_path / "run" / "config.lock.yaml").read_text())
    assert (lock["score"]["keep_fraction"], lock["seed"]) == (0.5, 3)
    assert lock["output"]["path"] == str(tmp_path / "run")


def test_plan_runs_nothing(command: Any, recipe: Path, tmp_path: Path):
    before = sorted(tmp_path.rglob("*"))
    code, out, _ = command("plan", recipe, "--out", tmp_path / "run")
    assert code == 0
    assert all(step in out for step in STEPS)
    assert "200 rows in 3 shards" in out
    code, out, _ = command("plan", recipe, "--out", tmp_path / "run", "--json")
    told = json.loads(out)
    assert set(told) == {
        "input",
        "input_fingerprint",
        "doubts",
        "refused",
        "output",
        "steps",
        "seconds",
        "bytes",
    }
    assert set(told["steps"][0]) == {
        "step",
        "rows_at_most",
        "reads",
        "writes",
        "done",
        "taken_from",
        "seconds",
        "bytes",
    }
    assert [step["step"] for step in told["steps"]] == ["index", *STEPS]
    assert not any(step["done"] for step in told["steps"])
    assert sorted(tmp_path.rglob("*")) == before


def test_plan_knows_what_is_done_and_bounds_the_rows(
    command: Any, recipe: Path, finished: Path
):
    _, out, _ = command("steps", finished, "--json")
    entered = {row["step"]: row["rows_in"] for row in json.loads(out)}
    _, out, _ = command("plan", recipe, "--out", finished, "--json")
    told = json.loads(out)
    assert all(step["done"] for step in told["steps"])
    assert told["seconds"] == told["bytes"] == 0
    changed = ["--set", "score.keep_fraction=0.29"]
    _, out, _ = command("plan", recipe, "--out", finished, "--json", *changed)
    steps = json.loads(out)["steps"]
    assert [step["step"] for step in steps if not step["done"]] == ["score", "apply"]
    for step in steps[:-1]:
        assert step["rows_at_most"] == entered[step["step"]]
    _, out, _ = command("run", recipe, "--out", finished, "--json", *changed)
    kept = json.loads(out)["kept"]
    assert kept <= steps[-1]["rows_at_most"] <= kept + 1


def test_steps(command: Any, finished: Path):
    code, out, _ = command("steps", finished)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["step", "index", *STEPS]
    code, out, _ = command("steps", finished, "--json")
    rows = json.loads(out)
    assert set(rows[0]) == {
        "step",
        "rows_in",
        "kept",
        "dropped",
        "quarantined",
        "seconds",
        "peak_rss_mb",
    }


def test_explain_a_kept_and_a_dropped_row(
    command: Any, finished: Path, read_run: Callable[..., Any]
):
    run = read_run(finished)
    kept = run.output()["uid"][0].as_py()
    dropped, row = next(
        (uid, row) for uid, row in run.ledger("semantic").items() if not row["keep"]
    )
    code, out, _ = command("explain", finished, kept)
    assert code == 0
    assert out.startswith(f"{kept}: kept\n")
    code, out, _ = command("explain", finished, dropped)
    assert out.startswith(f"{dropped}: dropped at semantic\n")
    assert row["kept_twin"] in out
    code, out, _ = command("explain", finished, dropped, "--json")
    story = json.loads(out)
    assert set(story) == {"uid", "fate", "at_step", "source", "row", "steps"}
    assert {"step", "fate", "reason", "score", "threshold", "kept_twin"} <= set(
        story["steps"][-1]
    )


def test_infinite_scores_are_told_as_json_null(
    command: Any,
    vector_recipe: Callable[..., dict],
    planted_pool: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    (tmp_path / "scorer_of_infinity.py").write_text(
        "def score(batch): return [float('inf')] * len(batch)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    function = {"function": "scorer_of_infinity:score", "keep_count": 3}
    values = vector_recipe(planted_pool, tmp_path / "run", ["custom"], custom=function)
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(values))
    assert command("run", tmp_path / "r.yaml")[0] == 0
    uid = pq.read_table(tmp_path / "run" / "artifacts" / "index" / "samples")["uid"][0]
    code, out, _ = command("explain", tmp_path / "run", uid, "--json")
    assert code == 0
    assert json.loads(out)["steps"][-1]["score"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "usage"),
        (["prune"], 2, "there is no 'prune'"),
        (["run"], 2, "RECIPE"),
        (["run", "no_such_recipe"], 2, "no recipe 'no_such_recipe'"),
        (["run", "RECIPE", "--set", "sed=1"], 2, "did you mean 'seed'"),
        (["run", "RECIPE", "--set", "score.keep_fraction=7"], 2, "keep_fraction"),
        (["run", "RECIPE", "--set", "steps=[semantic]"], 2, "needs"),
        (["plan", "RECIPE", "--set", "steps=[semantic]"], 2, "needs"),
        (["run", "RECIPE", "--set", "input.path=/no/where"], 3, "no shard at"),
        (["plan", "RECIPE", "--set", "input.path=/no/where"], 3, "no shard at"),
        (["run", "RECIPE", "--set", "input.columns.uid=x"], 3, "no column 'x'"),
        (["steps", "/no/where"], 1, "holds no run"),
        (["explain", "/no/where", "x"], 1, "holds no run"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else None,
)
def test_exit_codes(
    command: Any, recipe: Path, tmp_path: Path, arguments: list, code: int, message: str
):
    given = [str(recipe) if word == "RECIPE" else word for word in arguments]
    if "run" in given:
        given += ["--out", str(tmp_path / "run")]
    status, out, err = command(*given)
    assert (status, out) == (code, "")
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_an_unknown_uid_is_bad_input(command: Any, finished: Path):
    code, out, err = command("explain", finished, "nobody", "--json")
    assert (code, out) == (3, "")
    assert "no row 'nobody'" in err


def test_a_foreign_folder_is_another_error(command: Any, recipe: Path, tmp_path: Path):
    code, _, err = command("run", recipe, "--out", tmp_path)
    assert code == 1
    assert "holds no run" in err


def test_init_copies_the_recipes_once(command: Any, tmp_path: Path):
    code, out, _ = command("init", tmp_path / "mine", "--json")
    assert code == 0
    assert {Path(p).name for p in json.loads(out)} >= {"image_text.yaml", "dfn.yaml"}
    assert all(Path(p).is_file() for p in json.loads(out))
    code, _, err = command("init", tmp_path / "mine")
    assert code == 2
    assert "exists" in err


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout


HEAVY = {
    "torch",
    "pyspark",
    "pyarrow",
    "polars",
    "numpy",
    "faiss",
    "open_clip",
    "numba",
    "pydantic",
    "yaml",
    "rich",
    "PIL",
    "jinja2",
}


HELP = "from winnow.cli.main import main\ntry: main({})\nexcept SystemExit: pass"


@pytest.mark.parametrize(
    "code",
    [
        "import winnow",
        HELP.format("['--help']"),
        HELP.format("['run', '--help']"),
    ],
    ids=["import", "help", "run help"],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str):
    told = python(f"{code}\nimport sys; print('LOADED', *sys.modules)")
    loaded = told.split("LOADED")[1].split()
    assert not HEAVY & {name.split(".")[0] for name in loaded}


@pytest.mark.parametrize("command_line", ["plan", "steps"])
def test_reading_commands_need_neither_torch_nor_faiss(
    recipe: Path, finished: Path, command_line: str
):
    target = recipe if command_line == "plan" else finished
    loaded = python(
        f"from winnow.cli.main import main; main([{command_line!r}, {str(target)!r}])\n"
        "import sys; print('LOADED', *sys.modules)"
    ).split("LOADED")[1]
    names = {name.split(".")[0] for name in loaded.split()}
    assert not {"torch", "faiss", "open_clip", "pyspark"} & names


def run_outside(
    site: Path, folder: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys, winnow.cli.main as c; "
        f"assert c.__file__.startswith({str(site)!r}); "
        "sys.exit(c.main())"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site)},
    )


def assert_works_outside(site: Path, tmp_path: Path) -> None:
    """The package below `site` finds its recipes from a folder of a user's own."""
    user = tmp_path / "user"
    user.mkdir()
    # Names that a user's own files have, and that are first on their path.
    for name in ("pipeline", "steps", "config", "core"):
        (user / f"{name}.py").write_text(f"raise ImportError('{name} is the user's')")
    pq.write_table(pa.table({"uid": ["a"], "text": ["b"]}), user / "pool.parquet")
    done = run_outside(site, user, "init", "recipes", "--json")
    assert done.returncode == 0, done.stderr
    setting = ("--set", "input.path=pool.parquet", "--set", "steps=[apply]", "--json")
    done = run_outside(site, user, "run", "image_text", "--out", "r", *setting)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kept"] == 1


def test_recipes_are_found_by_name_outside_the_repository(tmp_path: Path):
    # The layout of the wheel: conf/ inside the package (see pyproject.toml).
    site = tmp_path / "site"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "pipeline" / "winnow", site / "winnow", ignore=ignored)
    shutil.copytree(ROOT / "conf", site / "winnow" / "conf")
    assert_works_outside(site, tmp_path)


@pytest.mark.slow
def test_an_installed_wheel_works_outside_the_repository(tmp_path: Path):
    pytest.importorskip("hatchling")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index"),
            *("--no-build-isolation", "-w", str(tmp_path), str(ROOT)),
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("datawinnow-*.whl")
    shutil.unpack_archive(wheel, tmp_path / "site", "zip")
    assert_works_outside(tmp_path / "site", tmp_path)
