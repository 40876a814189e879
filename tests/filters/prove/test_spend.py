"""`winnow budget`: the share to keep for the samples that a training will see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from winnow.algorithms.filter.repetition import UtilityLaw
from winnow.cli.main import main
from winnow.core.errors import ConfigError, InputError
from winnow.filters.prove import spend as spending_module
from winnow.filters.prove.prove import Proving
from winnow.filters.prove.spend import PASSES, Spending
from winnow.filters.prove.telling import tell_spending
from winnow.handles.proof import budget

from tests.filters.prove.test_prove import COLUMNS, pairs

HOW = Proving(seeds=2)
ROWS = 1300


@pytest.fixture(scope="module")
def ranked(
    tmp_path_factory: pytest.TempPathFactory, winnow: Any, write_shards: Any
) -> Path:
    """Return a folder: `pool`, half of it wrong, `held`, `run`, which ranks it."""
    folder = tmp_path_factory.mktemp("ranked")
    write_shards(folder / "pool", pairs(ROWS, 1, wrong=0.5), shard_rows=ROWS)
    write_shards(folder / "held", pairs(150, 2))
    winnow(folder / "pool", folder / "run", ["embed", "score", "apply"],
           score={"keep_fraction": 0.3}, **COLUMNS)  # fmt: skip
    return folder


@pytest.mark.slow
def test_the_better_half_is_recommended_from_what_its_rows_teach(
    ranked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    given = ["budget", str(ranked / "run"), "--held-out", str(ranked / "held")]
    given += ["--samples-seen", "1000", "100000", "--seeds", "2"]
    assert main([*given, "--out", str(tmp_path / "out"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["step"], result["rows"], result["trained_rows"]) == (
        "score", ROWS, ROWS // 2
    )  # fmt: skip
    good, wrong = (bucket["errors"] for bucket in result["buckets"])
    assert len(good) == len(PASSES)
    assert max(good[2:]) < min(wrong)
    first, last = result["recommended"]
    assert (first["keep_fraction"], first["samples_seen"]) == (0.5, 1000)
    assert first["low"] <= first["keep_fraction"] <= first["high"]
    assert not first["beyond_measured"]
    assert last["beyond_measured"]
    # The share is that of the law which is told.
    utilities, lives = (
        np.array([bucket[key]["value"] for bucket in result["buckets"]])
        for key in ("utility", "half_life")
    )
    law = UtilityLaw(ROWS / 2, result["scale"], result["floor"], utilities, lives)
    for row in result["recommended"]:
        assert row["keep_fraction"] == law.best(row["samples_seen"]) / 2
        assert list(row["errors"].values()) == pytest.approx(
            law.of_best(row["samples_seen"]).tolist()
        )
    stored = json.loads((tmp_path / "out" / "budget.json").read_text())
    assert stored == result
    told = tell_spending(result)
    assert "0% to 50%" in told
    assert "1,000 samples seen: keep_fraction 0.5 [0.5, " in told
    assert "100,000 samples seen" in told
    assert told.endswith("passes; beyond what was measured")


@pytest.mark.parametrize(
    ("spending", "says"),
    [
        (Spending([], how=HOW), "--samples-seen: give one"),
        (Spending([0], how=HOW), "--samples-seen: give one"),
        (Spending([100], 1, HOW), "--buckets is 1"),
        (Spending([100], 11, HOW), "--buckets is 11"),
        (Spending([2_000 * ROWS], how=HOW), "more than 1000 passes"),
        (Spending([100], how=Proving(seeds=1)), "--seeds is 1"),
    ],
)
def test_what_cannot_be_is_refused(ranked: Path, spending: Spending, says: str):
    with pytest.raises(ConfigError, match=says):
        budget(ranked / "run", ranked / "held", spending)


def test_buckets_that_are_too_small_are_refused(ranked: Path):
    with pytest.raises(InputError, match="1,300 rows are too few for 3 buckets"):
        budget(ranked / "run", ranked / "held", Spending([100], 3, HOW))


def test_a_step_that_does_not_rank_is_refused(
    ranked: Path, monkeypatch: pytest.MonkeyPatch
):
    budgets = iter([{"a": 1, "b": 1}, {"b": 1, "c": 1, "d": 1}])

    @contextmanager
    def tried(*_: Any) -> Iterator[Any]:
        yield SimpleNamespace(path=ranked)

    monkeypatch.setattr(spending_module, "tried", tried)
    monkeypatch.setattr(spending_module, "kept_draws", lambda _: next(budgets))
    with pytest.raises(ConfigError, match="lets go 1 that it keeps with fewer"):
        budget(ranked / "run", ranked / "held", Spending([100], how=HOW))
