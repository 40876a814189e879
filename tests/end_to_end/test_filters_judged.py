"""What judging shows of the shared checkpoint on real clip art and photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from winnow.filters.judge.evaluate import Evaluation, evaluate

pytestmark = [pytest.mark.shared, pytest.mark.slow]


def uids(shared: Path, *names: str) -> frozenset[str]:
    files = [shared / "models" / "lite0" / f"clipart_{name}.txt" for name in names]
    return frozenset(uid for file in files for uid in file.read_text().split())


@pytest.fixture(scope="module")
def judged(shared: Path) -> Callable[..., Any]:
    def judge(*names: str) -> Any:
        how = Evaluation(only=uids(shared, *names))
        model = f"local-dir:{shared / 'models' / 'lite0'}"
        return evaluate(model, [str(shared / "data" / "clipart")], how)[0]

    return judge


def test_held_out_clipart_captions_are_told_apart(judged: Callable[..., Any]):
    figures = judged("heldout")
    assert figures["n"] == 905
    # The checkpoint's own note: .878 against shuffled captions.
    assert figures["auc_random"] == pytest.approx(0.875, abs=0.02)
    assert (
        0.5
        < figures["auc_swapped"]
        < figures["auc_same_cluster"]
        < figures["auc_random"]
    )
    assert figures["calibration"]["ece"] < 0.05


def test_boilerplate_is_found_by_group_and_mostly_ranks_below(
    judged: Callable[..., Any],
):
    figures = judged("heldout", "boilerplate")["caption_groups"]
    names = [group["caption"] for group in figures["groups"]]
    assert names[0] == "gramastar"
    assert any("part of the flat icon collection" in name for name in names)
    # The checkpoint's own note: .75.
    assert figures["informative_above_boilerplate"] == pytest.approx(0.75, abs=0.06)
    for group in figures["groups"]:
        assert (group["caption"] in figures["not_separated"]) == (
            group["informative_above"] < 0.65
        )


def test_photographs_that_were_trained_on_are_named_as_leaks(
    shared: Path, write_shards: Callable[..., Path], tmp_path: Path
):
    photos = pq.read_table(shared / "data" / "photos" / "00000.parquet")
    both = set(photos["uid"].to_pylist()[40:80])
    judged = write_shards(tmp_path / "judged", photos.slice(0, 80))
    train = write_shards(tmp_path / "train", photos.slice(40, 160))
    apart = write_shards(tmp_path / "apart", photos.slice(200, 120))
    how = Evaluation(train=(str(train), str(apart)))
    model = f"local-dir:{shared / 'models' / 'lite0'}"
    figures, none = evaluate(model, [str(judged)], how)[0]["leakage"]
    assert {item["uid"] for item in figures["items"]} == both
    for item in figures["items"]:
        assert item["train_by_vector"] == item["train_by_hash"] == item["uid"]
        assert item["bits"] == 0
    assert none["clean"]
    assert none["items"] == []
