"""Why a row was kept, dropped or quarantined, and what would have kept it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from winnow.core.errors import InputError, RunError
from winnow.reports.explain import explain, tell
from winnow.reports.run_view import RunView
from winnow.reports.survivors import survivors
from winnow.reports.survivors import tell as tell_survivors

Winnow = Callable[..., Any]
Write = Callable[..., Path]

STEPS = [
    "exact",
    "rules",
    "embed",
    "cluster",
    "semantic",
    "score",
    "cluster",
    "prototypes",
    "complexity",
    "uniform",
    "random",
    "apply",
]
SETTINGS: dict[str, Any] = {
    "exact": {"by": ["image_bytes", "caption"]},
    "semantic": {"epsilon": 0.03},
    "score": {"keep_fraction": 0.9},
    "prototypes": {"keep_fraction": 0.8},
    "complexity": {"keep_fraction": 0.8},
    "uniform": {"keep_fraction": 0.8},
    "random": {"keep_fraction": 0.8},
}


@pytest.fixture(scope="module")
def pool(
    tmp_path_factory: pytest.TempPathFactory,
    planted_table: Callable[..., pa.Table],
    write_shards: Write,
) -> Path:
    rows = planted_table(400).to_pylist()
    rows[2]["uid"] = None
    rows[11] |= {"iv": None, "text": "a caption of its own", "image": b"own"}
    table = pa.Table.from_pylist(rows, planted_table(400).schema)
    return write_shards(tmp_path_factory.mktemp("pool"), table, 150)


@pytest.fixture(scope="module")
def run(winnow: Winnow, pool: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("explained") / "run"
    return winnow(pool, out, STEPS, **SETTINGS)


def fates(run: Any) -> dict[str, tuple[str, str | None]]:
    """Every named row's fate and last step, from ledger and quarantine alone."""
    ended: dict[str, tuple[str, str | None]] = {
        row["uid"]: ("kept", None)
        for row in run.artifact("index", "samples").to_pylist()
    }
    for marker in run.result.steps:
        if marker.decides:
            for uid, row in run.ledger(marker.step).items():
                if not row["keep"]:
                    ended[uid] = ("dropped", marker.step)
    for row in run.quarantine():
        if row["step"] != "index":
            ended[row["uid"]] = ("quarantined", row["step"])
    return ended


def test_every_row_is_explained_by_the_step_that_ended_it(run: Any):
    view = RunView(run.path)
    expected = fates(run)
    assert {step for _, step in expected.values()} > {"semantic", "embed", None}
    for uid in list(expected)[::7]:
        story = explain(view, uid)
        assert (story["fate"], story["at_step"]) == expected[uid]
        assert len(story["steps"]) <= len(STEPS) + 1
        assert tell(story).startswith(f"{uid}: {story['fate']}")


def test_the_place_in_the_input_is_right(run: Any, pool: Path):
    import pyarrow.parquet as pq

    for row in run.output().to_pylist()[:3]:
        story = explain(RunView(run.path), row["uid"])
        source = pq.ParquetFile(pool / story["source"]).read()
        assert source.slice(story["row"], 1).to_pylist() == [row]


def test_a_quarantined_row_says_why(run: Any):
    (row,) = [r for r in run.quarantine() if r["step"] == "embed"]
    story = explain(RunView(run.path), row["uid"])
    assert (story["fate"], story["at_step"]) == ("quarantined", "embed")
    assert story["steps"][-1]["reason"] == "vector_missing"
    assert "vector_missing" in tell(story)


def test_a_row_without_a_name_is_explained_by_its_place(run: Any):
    (row,) = [r for r in run.quarantine() if r["step"] == "index"]
    story = explain(RunView(run.path), row["uid"])
    assert (story["fate"], story["at_step"]) == ("quarantined", "index")
    assert (story["source"], story["row"]) == ("00000.parquet", 2)


def test_a_duplicate_shows_its_twin_and_what_became_of_it(run: Any):
    expected = fates(run)
    told = set()
    for uid, row in run.ledger("semantic").items():
        if row["keep"]:
            continue
        chapter = explain(RunView(run.path), uid)["steps"][-1]
        assert chapter["kept_twin"] == row["kept_twin"]
        fate, step = expected[row["kept_twin"]]
        if fate == "kept":
            assert chapter["twin_fate"] == "kept"
        else:
            assert chapter["twin_fate"].startswith(f"{fate} at {step}")
        told.add(fate)
    assert told == {"kept", "dropped"}


def test_an_unknown_uid_is_an_input_error(run: Any):
    with pytest.raises(InputError, match="no row 'nobody'"):
        explain(RunView(run.path), "nobody")


def test_a_folder_without_a_run(tmp_path: Path):
    with pytest.raises(RunError, match="holds no run"):
        RunView(tmp_path)


def numbers(text: str) -> dict[str, float]:
    return {k: float(v) for k, v in re.findall(r"(\w+) at \w+ ([-\d.e]+)", text)}


def dropped(run: Any, step: str) -> list[str]:
    return sorted(u for u, row in run.ledger(step).items() if not row["keep"])


def remedy(run: Any, uid: str) -> str:
    text = explain(RunView(run.path), uid)["steps"][-1]["would_be_kept"]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("semantics", ["greedy", "reference"])
def test_the_epsilon_that_is_named_keeps_the_row(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, semantics: str
):
    steps = ["embed", "cluster", "semantic"]
    how = {"epsilon": 0.1, "semantics": semantics}
    run = winnow(planted_pool, tmp_path / "r", steps, semantic=how)
    sampled = dropped(run, "semantic")[:: 6 if semantics == "greedy" else 12]
    remedies = {uid: remedy(run, uid) for uid in sampled}
    for uid, text in remedies.items():
        epsilon = numbers(text)["epsilon"]
        assert epsilon < 0.1

        def kept(epsilon: float, uid: str) -> bool:
            settings = {**how, "epsilon": epsilon}
            other = winnow(planted_pool, tmp_path / "o", steps, semantic=settings)
            return bool(other.ledger("semantic")[uid]["keep"])

        assert kept(epsilon, uid), text
        if semantics == "reference":
            # It is told to six places. `greedy` may keep the row again further up,
            # where what it is most like has itself gone.
            assert not kept(epsilon + 2e-6, uid), text


@pytest.mark.parametrize("kind", ["min_words", "max_words", "min_chars", "max_chars"])
def test_the_bound_that_is_named_keeps_the_row(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, kind: str
):
    rules: dict[str, Any] = {"min_words": None, "min_chars": None}
    rules[kind] = {"words": 3, "chars": 12}[kind.split("_")[1]]
    run = winnow(planted_pool, tmp_path / "r", ["rules"], rules=rules)
    uid = dropped(run, "rules")[0]
    bound = int(numbers(remedy(run, uid))[kind])
    tighter = bound + 1 if kind.startswith("min") else bound - 1
    kept = {}
    for value in (bound, tighter):
        how = {**rules, kind: value}
        other = winnow(planted_pool, tmp_path / "other", ["rules"], rules=how)
        kept[value] = other.ledger("rules")[uid]["keep"]
    assert kept == {bound: True, tighter: False}


@pytest.mark.parametrize(
    ("step", "settings"),
    [
        ("score", {"keep_fraction": 0.3}),
        ("score", {"keep_count": 0, "keep_fraction": None}),
        ("random", {"keep_fraction": 0.3}),
        ("prototypes", {"keep": "hard", "balance": {"share": 0.0}}),
        ("prototypes", {"keep": "easy", "balance": {"share": 0.5}}),
        ("prototypes", {"keep": "hard", "balance": {"share": 0.5, "of": "equal"}}),
        ("prototypes", {"keep": "easy", "balance": {"share": 1.0, "of": "equal"}}),
        ("complexity", {"keep": "hard", "balance": {"share": 0.5, "of": "size"}}),
        ("complexity", {"keep": "random", "temperature": 0.3}),
        ("uniform", {}),
        ("uniform", {"equal": "share"}),
    ],
    ids=str,
)
def test_the_budget_that_is_named_keeps_the_row(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, step: str, settings: dict
):
    steps = ["embed", "cluster", step]
    settings = {"keep_fraction": 0.3, **settings}
    run = winnow(planted_pool, tmp_path / "r", steps, **{step: settings})
    for uid in dropped(run, step)[::50]:
        match = re.search(r"a budget of (\d+) rows", remedy(run, uid))
        assert match, remedy(run, uid)
        count = int(match[1])
        kept = {}
        for budget in (count, count - 1):
            how = {**settings, "keep_fraction": None, "keep_count": budget}
            other = winnow(planted_pool, tmp_path / "other", steps, **{step: how})
            kept[budget] = other.ledger(step)[uid]["keep"]
        assert kept == {count: True, count - 1: False}


def test_the_threshold_that_is_named_keeps_the_row(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    how: dict[str, Any] = {"keep_fraction": None, "threshold": 0.9}
    run = winnow(planted_pool, tmp_path / "r", ["embed", "score"], score=how)
    for uid in dropped(run, "score")[::60]:
        told = numbers(remedy(run, uid))["threshold"]
        for threshold, keep in ((told, True), (told + 2e-6, False)):
            how["threshold"] = threshold
            other = winnow(planted_pool, tmp_path / "o", ["embed", "score"], score=how)
            assert other.ledger("score")[uid]["keep"] is keep


def test_the_only_criterion_is_not_told_to_be_taken_out(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    run = winnow(planted_pool, tmp_path / "r", ["exact"])
    assert remedy(run, dropped(run, "exact")[0]) == "exact taken out of steps"
    both = {"by": ["image_bytes", "caption"]}
    run = winnow(planted_pool, tmp_path / "r", ["exact"], exact=both)
    ledger = run.ledger("exact")
    uid = next(u for u in dropped(run, "exact") if "caption" in ledger[u]["reason"])
    assert remedy(run, uid) == "'caption' taken out of exact.by"


def test_the_draws_that_are_named_reach_the_row(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    steps, everyone = ["embed", "score", "soft_cap"], {"keep_fraction": 1.0}
    how: dict[str, Any] = {"total": 40}
    run = winnow(planted_pool, tmp_path / "r", steps, score=everyone, soft_cap=how)
    uid = dropped(run, "soft_cap")[0]
    match = re.search(r"penalty=(\S+) and soft_cap.total=(\d+)", remedy(run, uid))
    assert match
    how = {"penalty": float(match[1].replace(".inf", "inf")), "total": int(match[2])}
    other = winnow(planted_pool, tmp_path / "o", steps, score=everyone, soft_cap=how)
    assert other.ledger("soft_cap")[uid]["keep"]


@pytest.mark.parametrize("step", ["complexity", "uniform"])
def test_a_quota_names_the_rows_place_in_its_cluster(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, step: str
):
    steps = ["embed", "cluster", step]
    run = winnow(planted_pool, tmp_path / "r", steps)
    clusters = {
        row["uid"]: row["cluster"]
        for row in run.artifact("cluster", "clusters").to_pylist()
    }
    kept = run.kept(step)
    for uid in dropped(run, step)[::25]:
        match = re.search(r"it is number (\d+) of the (\d+)", remedy(run, uid))
        assert match
        rank, size = int(match[1]), int(match[2])
        mates = [u for u, cluster in clusters.items() if cluster == clusters[uid]]
        assert size == len(mates)
        assert rank > len(kept.intersection(mates))


def test_explaining_an_unfinished_run_does_not_call_a_row_kept(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    run = winnow(planted_pool, tmp_path / "r", ["random", "apply"])
    uid = run.output()["uid"][0].as_py()
    assert explain(RunView(run.path), uid)["fate"] == "kept"
    (run.path / "manifest.json").unlink()  # it is written last
    story = explain(RunView(run.path), uid)
    assert story["fate"] == "undecided"
    assert "undecided" in tell(story)


def test_survivors_step_by_step(run: Any):
    rows = survivors(RunView(run.path))
    assert [row["step"] for row in rows] == [m.step for m in run.result.steps]
    assert rows[0]["rows_in"] == 400
    assert rows[-1]["kept"] == run.result.kept
    lines = tell_survivors(rows).splitlines()
    assert len(lines) == len(rows) + 1
    assert len({len(line) for line in lines}) == 1
