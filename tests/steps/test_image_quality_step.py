"""Poor pictures: CleanVision's scores and issues, thresholds by name, what-ifs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from winnow import api
from winnow.algorithms.filter.image_quality import (
    ISSUES,
    Measures,
    quality_scores,
    size_bounds,
)
from winnow.config.image_steps import ImageQualityConfig
from winnow.flows.what_if import tried
from winnow.reports.explain import explain
from winnow.reports.run_view import RunView

from tests.steps.quality_pictures import pictures, png

GOLDEN = Path(__file__).parents[1] / "golden" / "image_quality.json"


@pytest.fixture(scope="module")
def cleanvision() -> dict[str, dict[str, Any]]:
    """Return what CleanVision says of each picture: scores and issues."""
    return json.loads(GOLDEN.read_text())["pictures"]


@pytest.fixture(scope="module")
def pool(
    write_shards: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    drawn = {name: png(image) for name, image in pictures().items()}
    uids = [*drawn, "broken", "missing"]
    images = [*drawn.values(), b"no picture", None]
    table = pa.table({"uid": uids, "image": pa.array(images, pa.binary())})
    return write_shards(tmp_path_factory.mktemp("pictures"), table, 5)


@pytest.fixture(scope="module")
def judged(
    pool: Path, winnow: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    given = {"path": str(pool), "max_quarantined": 1.0, "columns": {"text": None}}
    out = tmp_path_factory.mktemp("run") / "r"
    issues = {"issues": list(ISSUES)}
    return winnow(
        pool, out, ["image_quality", "apply"], input=given, image_quality=issues
    )


def test_scores_are_cleanvisions(judged: Any, cleanvision: dict[str, Any]):
    table = judged.artifact("image_quality", "measures").filter(
        pa.compute.field("valid")
    )
    measures = Measures(*(table[name].to_numpy() for name in Measures._fields))
    marker = next(m for m in judged.result.steps if m.step == "image_quality")
    bounds = size_bounds(*marker.facts["size_quartiles"], 3.0)
    scores = quality_scores(measures, bounds, ImageQualityConfig().blurry_flat)
    uids = table["uid"].to_pylist()
    assert sorted(uids) == sorted(cleanvision)
    for issue in ISSUES:
        theirs = [cleanvision[uid][f"{issue}_score"] for uid in uids]
        assert scores[issue].tolist() == pytest.approx(theirs, abs=1e-12), issue


def test_a_row_is_dropped_for_its_first_issue(judged: Any, cleanvision: dict[str, Any]):
    ledger = judged.ledger("image_quality")
    for uid, said in cleanvision.items():
        issues = [issue for issue in ISSUES if said[f"is_{issue}_issue"]]
        assert ledger[uid]["reason"] == (issues or ["no_issue"])[0]
        assert ledger[uid]["keep"] == (not issues)
        score = said[f"{issues[0]}_score"] if issues else None
        assert ledger[uid]["score"] == (score and pytest.approx(score))
    assert {row["uid"] for row in judged.quarantine()} == {"broken", "missing"}


def test_a_remedy_names_every_issue_and_keeps_the_row(judged: Any):
    view = RunView(judged.path)
    for uid, row in judged.ledger("image_quality").items():
        if row["keep"]:
            continue
        story = explain(view, uid)
        words = story["steps"][-1]["would_be_kept"]
        changes, left = [], list(ISSUES)
        for part in words.split(" and "):
            name, _, value = part.partition(" at ")
            if value:
                changes.append(f"{name}={value.split()[1]}")
            else:
                left.remove(part.split("'")[1])
        changes.append(f"image_quality.issues=[{','.join(left)}]")
        with tried(judged.path, changes, api.make_engine) as other:
            assert explain(RunView(other.path), uid)["fate"] == "kept", (uid, words)


def test_other_thresholds_open_no_picture_again(
    judged: Any, read_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    def never(*_: Any) -> None:
        raise AssertionError("a picture was opened")

    monkeypatch.setattr("winnow.steps.image_quality.decode_plain", never)
    with tried(judged.path, ["image_quality.dark=0.95"], api.make_engine) as other:
        ledger = read_run(other.path).ledger("image_quality")
    assert ledger["plain1"]["reason"] == "dark"
    assert ledger["plain0"]["keep"]
