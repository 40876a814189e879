"""The files beside an evaluation and a comparison: figures as JSON, a page, uids."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from winnow.filters.judge.compare import gallery_images, write_selections
from winnow.filters.judge.selections import Selections
from winnow.filters.page.comparison import write_comparison
from winnow.filters.page.pages import write_evaluation


def write_evaluation_record(folder: Path, result: dict[str, Any]) -> None:
    """Write `eval.json` and `report.html` of an evaluation."""
    write_json(folder / "eval.json", result)
    write_evaluation(folder, result)


def write_comparison_record(
    folder: Path, result: dict[str, Any], selections: Selections
) -> None:
    """Write `compare.json`, `report.html`, and `selected/NAME.txt` of each filter."""
    write_json(folder / "compare.json", result)
    write_selections(selections, folder / "selected")
    write_comparison(folder, result, gallery_images(result, selections))


def write_json(file: Path, value: Any) -> None:
    """Write plain values as JSON; what it has no number for is null."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(finite(value), indent=1, ensure_ascii=False, allow_nan=False)
    file.write_text(text + "\n", encoding="utf-8")


def finite(value: Any) -> Any:
    """Replace what JSON has no number for by null."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
