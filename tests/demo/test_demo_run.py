"""`winnow demo` end to end, at a size that takes seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from winnow.cli import main as cli

# Classes that a step of the demo's recipe is there to catch, whole.
CERTAIN = {
    "exact_copy": "exact",
    "short_caption": "rules",
    "tiny_image": "rules",
    "extreme_aspect": "rules",
    "truncated_file": "embed",
    "random_bytes": "rules",
    "empty_file": "rules",
}


@pytest.mark.slow
def test_demo_catches_what_was_planted_and_leaves_a_run(tmp_path: Path, capsys) -> None:
    assert cli.main(["demo", "--out", str(tmp_path), "--rows", "400", "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)

    assert verdict["kept"] + verdict["dropped"] + verdict["quarantined"] == 400
    classes = {row["defect"]: row for row in verdict["defects"]}
    for defect, step in CERTAIN.items():
        assert classes[defect]["recall"] == 1.0, defect
        assert classes[defect]["by"] == step, defect
    assert verdict["recall"] >= 0.95
    assert verdict["good_lost"] <= 0.03 * verdict["good"]

    assert cli.main(["steps", verdict["run"], "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)
    assert steps[0]["rows_in"] == 400
    assert steps[-1]["kept"] == verdict["kept"]
