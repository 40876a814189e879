"""What judging shows of the shared checkpoint on real clip art and photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.filters.evaluate import Evaluation, evaluate

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
    found = judged("heldout")
    assert found["n"] == 905
    # The checkpoint's own note: .878 against shuffled captions.
    assert found["auc_random"] == pytest.approx(0.875, abs=0.02)
    assert 0.5 < found["auc_swapped"] < found["auc_same_cluster"] < found["auc_random"]
    assert found["calibration"]["ece"] < 0.05


def test_boilerplate_is_found_by_group_and_mostly_ranks_below(
    judged: Callable[..., Any],
):
    found = judged("heldout", "boilerplate")["caption_groups"]
    names = [group["caption"] for group in found["groups"]]
    assert names[0] == "gramastar"
    assert any("part of the flat icon collection" in name for name in names)
    # The checkpoint's own note: .75.
    assert found["informative_above_boilerplate"] == pytest.approx(0.75, abs=0.06)
    for group in found["groups"]:
        assert (group["caption"] in found["not_separated"]) == (
            group["informative_above"] < 0.65
        )
