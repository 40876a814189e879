"""Losses are said aloud, and a pool that is mostly unusable stops its run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
from winnow.core.errors import InputError
from winnow.reports.losses import tell_losses

Texts = Callable[..., dict[str, Any]]


@pytest.fixture
def recipe(tmp_path: Path) -> Texts:
    """Return make(uids, texts): a recipe for a pool of texts, and its run's folder."""

    def make(uids: list[Any], texts: list[str], **sections: Any) -> dict[str, Any]:
        (tmp_path / "pool").mkdir(exist_ok=True)
        table = pa.table({"uid": uids, "text": texts})
        pq.write_table(table, tmp_path / "pool" / "a.parquet")
        return {
            "input": {"path": str(tmp_path / "pool"), "columns": {"image": None}},
            "output": {"path": str(tmp_path / "run"), "report": False},
            "steps": ["rules", "apply"],
            "rules": {"min_side": None, "max_aspect": None, "min_words": 3},
            **sections,
        }

    return make


def test_a_pool_that_is_mostly_unusable_stops_the_run_with_its_reasons(recipe: Texts):
    given = recipe(["a"] * 9 + ["b"], ["one two three"] * 10)
    with pytest.raises(InputError, match=r"8 of 10 rows .*8 duplicate_uid"):
        winnow.run(given)
    # The same command stops again, and goes on once more is allowed.
    with pytest.raises(InputError, match=r"max_quarantined"):
        winnow.run(given)
    given["input"]["max_quarantined"] = 0.8
    result = winnow.run(given)
    assert (result.kept, result.quarantined) == (2, 8)
    assert tell_losses(result.path) == ["8 rows are in quarantine: 8 duplicate_uid"]


def test_a_step_that_keeps_nothing_says_what_took_the_rows(recipe: Texts):
    result = winnow.run(recipe(list("abcd"), ["one"] * 3 + ["one " * 9]))
    assert tell_losses(result.path) == []
    texts = ["one"] * 60 + ["a b c d"]
    result = winnow.run(recipe([f"u{i}" for i in range(61)], texts) | {"seed": 1})
    (line,) = tell_losses(result.path)
    assert line.startswith("rules kept 1 of 61 rows; dropped: 60 ")


def test_shards_that_were_left_out_are_named(recipe: Texts, tmp_path: Path):
    given = recipe(["a", "b"], ["one two three"] * 2)
    (tmp_path / "pool" / "bad.parquet").write_bytes(b"no Parquet")
    given["input"]["on_bad_shard"] = "skip"
    result = winnow.run(given)
    (line,) = tell_losses(result.path)
    assert line.startswith("1 shard was left out as unreadable: ")
    assert line.endswith("bad.parquet")
