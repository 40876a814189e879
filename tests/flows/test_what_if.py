"""`winnow what-if` decides exactly as a full run under the same setting would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import winnow
from winnow import api
from winnow.cli.main import main
from winnow.config.recipes import load
from winnow.config.step_kinds import APPLY, sections
from winnow.core.errors import ConfigError, RunError
from winnow.flows.what_if import tried, what_if
from winnow.reports.diff import diff

from tests.datacomp_metadata import settings, write_metadata

STEPS = ["exact", "rules", "embed", "decontaminate", "minhash", "cluster", "semantic"]
STEPS += ["custom", "score", "prototypes", "cluster", "complexity", "uniform"]
STEPS += ["random", "soft_cap", "apply"]

#: One setting, or more, of each kind of step; `cases` adds the file of overrides.
SETTINGS = [
    "exact.by=[caption]",
    "rules.min_words=3",
    "embed.image_column=tv",
    "decontaminate.max_distance=0.3",
    "minhash.threshold=0.6",
    "cluster.k=3",
    "semantic.epsilon=0.1",
    "custom.threshold=150",
    "score.keep_fraction=0.5",
    "prototypes.keep=easy",
    "complexity.temperature=0.02",
    "uniform.keep_fraction=0.6",
    "random.keep_fraction=0.5",
    "soft_cap.penalty=1.0",
]
OF_TEXTS = [
    "quality.min_words=3",
    "lines.action=drop",
    "substring.action=drop",
    "overlap.words=2",
    "where.condition=width > 100",
    "top.keep_fraction=0.5",
]
OF_PICTURES = [
    "image_quality.low_information=0.16",
    "perceptual_hash.max_bits=12",
]
OF_BALANCE = [
    "outliers.k=3",
    "balance.limit=9",
    "hierarchy.keep=easy",
    "order.by=farthest_first",
]
MORE = [
    "minhash.mode=components",
    "semantic.semantics=components",
    "semantic.order=easy",
    "score.method=neg_clip_loss",
    "cluster_2.k=2",
    "seed=7",
]
#: Each takes a whole run of its own, of the smallest pool there is.
OF_METADATA = ["synsets.synsets=SYNSETS", "target_clusters.target=TARGET"]
#: A step before the model's, one over vectors, one that ranks.
QUICK = ["exact.by=[caption]", "semantic.epsilon=0.1", "score.keep_fraction=0.5"]
CASES = [*QUICK, "overrides"]
CASES += [
    pytest.param(setting, marks=pytest.mark.slow)
    for setting in (*SETTINGS, *MORE)
    if setting not in QUICK
]


@pytest.fixture(scope="module")
def recipe(
    tmp_path_factory: pytest.TempPathFactory,
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    vector_recipe: Callable[..., dict[str, Any]],
) -> dict[str, Any]:
    """Return a recipe with every kind of step, over 300 rows."""
    folder = tmp_path_factory.mktemp("what-if")
    table = planted_table(200)
    pool = write_shards(folder / "pool", table)
    np.save(folder / "eval.npy", np.array(table["iv"].to_pylist()[:8], np.float32))
    (folder / "scorers.py").write_text(
        "def width(batch):\n    return batch['width'].to_numpy()\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        recipe: dict[str, Any] = vector_recipe(
            pool,
            folder / "run",
            STEPS,
            decontaminate={
                "against": [{"name": "eval", "path": str(folder / "eval.npy")}],
                "by": ["image_vectors"],
            },
            minhash={"unit": "char", "ngram": 3, "threshold": 0.9},
            custom={
                "function": "scorers:width",
                "columns": ["width"],
                "threshold": 40,
            },
            score={"keep_fraction": 0.9},
            prototypes={"keep_fraction": 0.9},
            cluster_2={"k": 4},
            complexity={"keep_fraction": 0.8},
            uniform={"keep_fraction": 0.9},
            random={"keep_fraction": 0.9},
            soft_cap={"total_fraction": 1.0, "temperature": 0.05},
        )
        winnow.run(recipe)
        yield recipe


def _full(recipe: dict[str, Any], setting: str, out: Path, read_run: Any) -> Any:
    base = load(
        Path(recipe["output"]["path"]) / "config.lock.yaml", [setting], str(out)
    )
    return read_run(out, winnow.run(base))


def test_every_kind_of_step_has_a_setting() -> None:
    every = (*SETTINGS, *OF_TEXTS, *OF_PICTURES, *OF_BALANCE, *OF_METADATA)
    named = {setting.split(".")[0] for setting in every}
    assert named == set(sections()) - {APPLY}


@pytest.fixture(scope="module")
def texts(recipe: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of the steps that judge texts alone."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "items.jsonl").write_text('{"text": "red blue cat"}\n')
    against = [{"name": "items", "path": str(folder / "items.jsonl")}]
    settings = {
        "quality": {"rules": ["gopher_quality"], "min_words": 1, "max_words": 9},
        "lines": {"min_chars": 4, "min_texts": 2},
        "substring": {"min_bytes": 12},
        "overlap": {"words": 3, "against": against},
        "where": {"condition": "width > 40"},
        "top": {"column": "width", "keep_fraction": 0.9},
    }
    given = {"input": recipe["input"], "steps": list(settings), **settings}
    winnow.run({**given, "output": {"path": str(folder / "run"), "report": False}})
    return folder / "run"


@pytest.fixture(scope="module")
def pictures(
    picture_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return a run of the steps that look at pictures without a model."""
    folder = tmp_path_factory.mktemp("pictures")
    steps = [setting.partition(".")[0] for setting in OF_PICTURES]
    pool = write_shards(folder / "pool", picture_table(40))
    given = {"input": {"path": str(pool)}, "steps": list(dict.fromkeys(steps))}
    winnow.run({**given, "output": {"path": str(folder / "run"), "report": False}})
    return folder / "run"


@pytest.fixture(scope="module")
def balanced(
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    vector_recipe: Callable[..., dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return a run of the steps that balance and rank vectors, and need budgets."""
    folder = tmp_path_factory.mktemp("balanced")
    pool = write_shards(folder / "pool", planted_table(120))
    steps = ["embed", "cluster", "outliers", "balance", "hierarchy", "order"]
    budgets = {name: {"keep_fraction": 0.9} for name in steps[2:]}
    budgets["hierarchy"]["levels"] = [3]
    winnow.run(vector_recipe(pool, folder / "run", steps, **budgets))
    return folder / "run"


@pytest.mark.parametrize("setting", [*OF_TEXTS, *OF_PICTURES, *OF_BALANCE])
def test_decisions_of_steps_without_a_model_are_those_of_a_full_run(
    setting: str, tmp_path: Path, read_run: Any, request: pytest.FixtureRequest
) -> None:
    runs = {"texts": OF_TEXTS, "pictures": OF_PICTURES, "balanced": OF_BALANCE}
    (of,) = (name for name, settings in runs.items() if setting in settings)
    texts = request.getfixturevalue(of)
    base = load(texts / "config.lock.yaml", [setting], str(tmp_path / "full"))
    full = read_run(tmp_path / "full", winnow.run(base))
    with tried(texts, [setting], api.make_engine) as other:
        assert setting.split(".", maxsplit=1)[0] in other.ran
        for step in set(base.steps) - {"embed", "cluster"}:
            assert read_run(other.path).ledger(step) == full.ledger(step), step


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of DataComp's metadata with `run`, both of its filters in one."""
    folder = write_metadata(tmp_path_factory.mktemp("metadata"))
    (folder / "dogs.txt").write_text("n02084071\n")
    targets = np.load(folder / "imagenet.npy")
    np.save(folder / "few.npy", targets[:4])
    given = {
        "input": {"path": str(folder / "metadata"), "columns": {"image": None}},
        "output": {"path": str(folder / "run"), "report": False},
        "steps": ["synsets", "embed", "target_clusters"],
        "embed": {"modalities": ["image"]},
        "target_clusters": {"nearest": "product"},
    }
    for key, value in settings(folder).items():
        section, setting = key.split(".")
        given.setdefault(section, {})[setting] = value
    winnow.run(given)
    return folder


@pytest.mark.parametrize("setting", OF_METADATA)
def test_decisions_by_lists_and_targets_are_those_of_a_full_run(
    metadata: Path, setting: str, tmp_path: Path, read_run: Any
) -> None:
    setting = setting.replace("SYNSETS", str(metadata / "dogs.txt"))
    setting = setting.replace("TARGET", str(metadata / "few.npy"))
    base = load(metadata / "run/config.lock.yaml", [setting], str(tmp_path / "full"))
    full = read_run(tmp_path / "full", winnow.run(base))
    with tried(metadata / "run", [setting], api.make_engine) as other:
        assert setting.split(".", maxsplit=1)[0] in other.ran
        assert diff(metadata / "run", other.path)["kept"]["b"] == full.result.kept
        for step in ("synsets", "target_clusters"):
            assert read_run(other.path).ledger(step) == full.ledger(step), step
    before = read_run(metadata / "run")
    changed = setting.split(".", maxsplit=1)[0]
    assert before.ledger(changed) != full.ledger(changed), "nothing changed"


@pytest.mark.parametrize("setting", CASES)
def test_decisions_are_those_of_a_full_run(
    recipe: dict[str, Any], setting: str, tmp_path: Path, read_run: Any
) -> None:
    run = read_run(Path(recipe["output"]["path"]))
    if setting == "overrides":
        setting = f"overrides={_overrides(run, tmp_path)}"
    full = _full(recipe, setting, tmp_path / "full", read_run)
    before = run.files()
    with tried(run.path, [setting], api.make_engine) as other:
        partial = read_run(other.path)
        marked = [m for m in full.result.steps if m.decides]
        assert len(marked) == 12 + setting.startswith("overrides")
        for marker in marked:
            ours, theirs = (r.ledger_table(marker.step) for r in (partial, full))
            assert ours.equals(theirs), marker.step
        told = diff(run.path, other.path)
    changed = setting.split(".")[0].split("=")[0]
    counts = {step["step"]: step for step in told["steps"]}
    for step in full.result.steps:
        if step.step != "apply":
            assert counts[step.step]["kept_b"] == step.kept
            assert counts[step.step]["dropped_b"] == step.dropped
    assert told["kept"]["b"] == full.result.kept
    if setting not in MORE:
        assert told["only_a"]["rows"] + told["only_b"]["rows"] > 0, "nothing changed"
    if changed in STEPS:
        # What comes before the change is taken over.
        first = [step.step for step in full.result.steps].index(changed)
        earlier = {step.step for step in full.result.steps[:first]}
        assert not earlier & set(other.ran)
        assert changed in other.ran
    assert run.files() == before
    assert list(run.path.parent.glob(".winnow-what-if-*")) == []


def _overrides(run: Any, folder: Path) -> Path:
    dropped = next(u for u, r in sorted(run.ledger("score").items()) if not r["keep"])
    kept = min(run.kept("soft_cap"))
    file = folder / "o.csv"
    file.write_text(f"uid,action,note\n{dropped},rescue,a\n{kept},drop,b\n")
    return file


def test_the_command_shows_counts_and_examples(
    recipe: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = recipe["output"]["path"]
    command = ["what-if", run, "--set", "score.keep_fraction=0.3", "--examples", "3"]
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["set"] == ["score.keep_fraction=0.3"]
    assert told["ran"][0] == "score"
    assert len(told["only_a"]["examples"]) == 3 < told["only_a"]["rows"]
    assert main(command) == 0
    text = capsys.readouterr().out
    (line,) = [t for t in text.splitlines() if t.startswith("score ")]
    step = next(step for step in told["steps"] if step["step"] == "score")
    now, then = step["kept_a"], step["kept_b"]
    assert line.split()[1:4] == [f"{now}", f"{then}", f"{then - now:+}"]
    assert "(decided again)" in line
    assert told["only_a"]["examples"][0]["uid"] in text


def test_nothing_is_embedded_unless_asked(
    tmp_path: Path, picture_table: Any, write_shards: Any, tiny_vit: str, winnow: Any
) -> None:
    pool = write_shards(tmp_path / "pool", picture_table(30))
    run = winnow(
        pool,
        tmp_path / "run",
        ["exact", "embed", "score"],
        embed={"image_column": None, "text_column": None},
        model={"name": tiny_vit},
    )
    told = what_if(run.path, ["score.keep_fraction=0.5"], api.make_engine)
    assert told["ran"] == ["score"]
    gone = sum(not row["keep"] for row in run.ledger("exact").values())
    assert gone
    # Without `exact`, a duplicate would need a vector, too.
    setting = ["steps=[embed,score]"]
    with pytest.raises(ConfigError, match=rf"{gone} rows of 30 have no stored vector"):
        what_if(run.path, setting, api.make_engine)
    told = what_if(run.path, setting, api.make_engine, embed=True)
    assert told["kept"]["b"] == 24


def test_an_unfinished_run_is_refused(recipe: dict[str, Any], tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(recipe["output"]["path"], tmp_path / "copy")
    (copy / "manifest.json").unlink()
    with pytest.raises(RunError, match="not finished"):
        what_if(copy, ["seed=1"], api.make_engine)


def test_two_runs_differ_as_their_kept_rows_do(
    recipe: dict[str, Any], tmp_path: Path, read_run: Any
) -> None:
    """`diff` against sets of uids."""
    run = read_run(Path(recipe["output"]["path"]))
    other = _full(recipe, "semantic.epsilon=0.2", tmp_path / "other", read_run)
    a, b = (set(r.output()["uid"].to_pylist()) for r in (run, other))
    told = diff(run.path, other.path, examples=1000)
    assert (told["kept"]["a"], told["kept"]["b"]) == (len(a), len(b))
    assert len(a - b) > 4
    assert told["kept"]["jaccard"] == len(a & b) / len(a | b)
    assert {row["uid"] for row in told["only_a"]["examples"]} == a - b
    assert {row["uid"] for row in told["only_b"]["examples"]} == b - a
    for row in told["only_a"]["examples"]:
        ledger = other.ledger(row["step"])[row["uid"]]
        assert (ledger["keep"], ledger["reason"]) == (False, row["reason"])
    cluster = {
        r["uid"]: r["cluster"] for r in run.artifact("cluster", "clusters").to_pylist()
    }
    for entry in told["clusters"]:
        members = {uid for uid in a | b if cluster.get(uid) == entry["cluster_id"]}
        assert entry["only_a"] == len((a - b) & members)
        assert entry["only_b"] == len((b - a) & members)
    assert sum(entry["only_a"] for entry in told["clusters"]) == len(a - b)
