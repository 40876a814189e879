"""A step, an exporter and a score of another package, used as Winnow's own are."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
from winnow import api
from winnow.cli.main import main
from winnow.config.recipes import load
from winnow.config.run import parse
from winnow.config.step_kinds import SCORES, STEPS
from winnow.core import extensions
from winnow.core.errors import ConfigError
from winnow.core.extensions import packages_in
from winnow.flows.plan import plan
from winnow.flows.what_if import what_if
from winnow.formats.shard_discovery import find_pool
from winnow.reports.explain import explain, sentences
from winnow.reports.export.export import export
from winnow.reports.run_view import RunView

from tests.extensions.distribution import install
from tests.parity.comparison import assert_same

SCORE = {"method": "tilted", "options": {"by": 2.0}, "keep_fraction": 0.5}
PLAN = ["letters", "embed", "score", "apply"]


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Install the distribution for the tests of this file."""
    site = install(tmp_path_factory.mktemp("site"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        yield site
    for name in [n for n in sys.modules if n.split(".")[0] == "letters"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def pool(
    outside: Path,
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    return write_shards(tmp_path_factory.mktemp("pool"), planted_table(120))


@pytest.fixture(scope="module")
def recipe(
    pool: Path,
    vector_recipe: Callable[..., dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("letters") / "run"
    made: dict[str, Any] = vector_recipe(pool, out, PLAN, letters={}, score=SCORE)
    return made


@pytest.fixture(scope="module")
def run(recipe: dict[str, Any], read_run: Callable[..., Any]) -> Any:
    return read_run(Path(recipe["output"]["path"]), winnow.run(recipe))


def long_enough(pool: Path, least: int) -> set[str]:
    table = pa.concat_tables(pq.read_table(file) for file in sorted(pool.iterdir()))
    rows = zip(table["uid"].to_pylist(), table["text"].to_pylist(), strict=True)
    return {uid for uid, text in rows if len(text) >= least}


def test_its_step_decides_and_its_score_ranks(run: Any, pool: Path):
    assert run.kept("letters") == long_enough(pool, 12)
    vectors = run.artifact("embed", "vectors").to_pylist()
    first = {v["uid"]: np.float64(v["image_vector"][0]) + 2.0 for v in vectors}
    ranked = sorted(first, key=lambda uid: (-first[uid], uid))
    assert run.kept("score") == set(ranked[: len(ranked) // 2])
    assert run.artifact("letters", "letters").num_rows == 120


def test_it_is_planned(recipe: dict[str, Any], tmp_path: Path):
    entries = plan(parse({**recipe, "output": {"path": str(tmp_path)}}))["steps"]
    (letters,) = [entry for entry in entries if entry["step"] == "letters"]
    assert letters["seconds"] == 1.2
    assert letters["reads"] == ["input.text"]


def test_it_is_explained_with_its_rank_and_its_remedy(run: Any):
    view = RunView(run.path)
    dropped = next(u for u, row in run.ledger("letters").items() if not row["keep"])
    story = explain(view, dropped)
    letters = int(run.ledger("letters")[dropped]["score"])
    (entry,) = [e for e in story["steps"] if e["step"] == "letters"]
    assert entry["would_be_kept"] == f"letters.least at most {letters}"
    assert "rows score higher" in dict(sentences(story))["letters"]


def test_the_page_calls_its_score_by_its_name(run: Any, tmp_path: Path):
    page = api.write_report(run.path, tmp_path / "page.html").read_text()
    assert "letters of the caption" in page


def test_another_setting_of_it_is_tried(run: Any, pool: Path):
    changes = what_if(run.path, ["letters.least=20"], api.make_engine)
    assert changes["ran"][0] == "letters"
    kept = next(s["kept_b"] for s in changes["steps"] if s["step"] == "letters")
    assert kept == len(long_enough(pool, 20))


def test_its_exporter_writes(run: Any, tmp_path: Path, capsys: Any):
    out = tmp_path / "kept.lines"
    words = ["export", str(run.path), "--to", "lines", "--out", str(out), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert out.read_text().split() == sorted(run.kept("score"))
    assert told["rows"] == len(run.kept("score"))
    with pytest.raises(ConfigError, match="has no columns"):
        export(run.path, "lines", tmp_path / "x", with_scores=True)


def test_the_lock_file_holds_its_section(run: Any):
    lock = load(run.path / "config.lock.yaml")
    assert winnow.run(lock).ran == []


def test_its_settings_are_checked_as_ours_are(recipe: dict[str, Any]):
    with pytest.raises(ConfigError, match=r"unknown key 'letters\.leest'.*'least'"):
        parse({**recipe, "letters": {"leest": 3}})
    with pytest.raises(ConfigError, match=r"unknown step 'leters'.*'letters'"):
        parse({**recipe, "steps": ["leters"]})
    with pytest.raises(ConfigError, match=r"unknown score 'tilled'.*'tilted'"):
        parse({**recipe, "score": {**SCORE, "method": "tilled"}})
    with pytest.raises(ConfigError, match="options"):
        parse({**recipe, "score": {**SCORE, "options": {"buy": 1}}})


def test_who_lacks_an_artifact_of_its_is_told_where_to_get_it(
    outside: Path, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    from winnow.flows.image_text import ordered_steps
    from winnow.steps import exact
    from winnow.steps.contract import Contract

    needy = Contract(needs=frozenset({"letters"}))
    monkeypatch.setattr(exact, "contract", lambda config: needy)
    with pytest.raises(ConfigError, match=r"needs letters.*add letters before it"):
        ordered_steps(parse({"input": recipe["input"], "steps": ["exact"]}))


def test_packages_in_each_others_way_are_named(
    outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    about = tmp_path / "others-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: others\nVersion: 1.0\n"
    )
    (about / "entry_points.txt").write_text(
        "[winnow.steps]\nletters = others:STEP\nbroken = others:STEP\n"
        "embed = others:STEP\nwrong = json:dumps\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=r"of letters .* and of others"):
        STEPS.get("letters")
    with pytest.raises(ConfigError, match="'broken' of others cannot be imported"):
        STEPS.get("broken")
    with pytest.raises(ConfigError, match="has to be a Step called 'wrong'"):
        STEPS.get("wrong")
    embed = STEPS.get("embed")
    assert embed is not None
    assert embed.module == "winnow.steps.embed"
    assert SCORES.get("nothing") is None


def test_a_package_that_is_installed_later_is_seen_and_nothing_read_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    read = []

    def reading(**params: Any) -> Any:
        read.append(params)
        return entry_points(**params)

    monkeypatch.setattr(extensions, "entry_points", reading)
    monkeypatch.syspath_prepend(str(tmp_path))
    for _ in range(3):
        assert "later" not in STEPS.names()
        assert "later" not in SCORES
    assert len(read) == 1
    about = tmp_path / "later-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: later\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[winnow.steps]\nlater = later:STEP\n")
    os.utime(tmp_path, ns=(0, 10**9))  # a clock may be coarser than this test
    assert "later" in STEPS.names()
    assert packages_in("winnow.steps") >= {"later"}
    assert len(read) == 2


@pytest.mark.slow
def test_spark_runs_them_too(
    run: Any, recipe: dict[str, Any], spark: Any, tmp_path: Path
):
    output = {"path": str(tmp_path / "run"), "report": False}
    engine = {"name": "spark", "partitions": 3}
    winnow.run({**recipe, "output": output, "engine": engine}, spark=spark)
    assert_same(run.path, tmp_path / "run")


def test_a_format_of_another_package_is_known_by_its_ending_and_its_name(
    outside: Path, tmp_path: Path
):
    lines = [{"uid": "a", "text": "one two"}, {"uid": "b", "text": "one two"}]
    text = "\n".join(map(json.dumps, lines)) + "\n"
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "0.letters").write_text(text)
    assert find_pool(str(tmp_path / "pool")).kind.title == "letters"
    (tmp_path / "other").write_text(text)
    recipe = {
        "input": {"path": str(tmp_path / "other"), "format": "letters"},
        "steps": ["exact", "apply"],
        "exact": {"by": ["caption"]},
        "output": {"path": str(tmp_path / "r"), "report": False},
    }
    result = winnow.run(recipe)
    assert result.kept == 1
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert manifest["input"]["format"] == "letters"
    assert "letters" in parse(recipe).packages
