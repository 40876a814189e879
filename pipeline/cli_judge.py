"""The commands `filter eval` and `filter compare`.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Commands = Any

_MODEL = "local-dir:FOLDER, a folder, hf-hub:REPO, or ARCHITECTURE@TAG"


def add_actions(actions: Commands, json_argument: Callable[..., None]) -> None:
    """Register the actions of this file below `filter`."""
    found = actions.add_parser("eval", help="held-out figures of a filter")
    found.add_argument("model", metavar="MODEL", help=_MODEL)
    found.add_argument(
        "data", metavar="DATA", nargs="+", help="images and captions; one domain each"
    )
    _data_arguments(found)
    found.add_argument(
        "--train",
        action="append",
        default=[],
        metavar="DATA",
        help="what the filter was trained on: no image of DATA may stand there",
    )
    found.add_argument("--max-distance", type=float, default=0.05, metavar="D")
    found.add_argument("--max-bits", type=int, default=6, metavar="BITS")
    found.add_argument(
        "--by",
        action="append",
        default=[],
        metavar="COLUMN",
        help="figures for each value of a column; may be repeated",
    )
    found.add_argument(
        "--k", type=int, help="precision among the k best; default: half of all pairs"
    )
    found.add_argument(
        "--caption-groups",
        type=int,
        default=20,
        metavar="N",
        help="captions that more than N images carry are boilerplate (20)",
    )
    found.add_argument("--out", metavar="FOLDER", help="eval.json and report.html")
    json_argument(found)
    found.set_defaults(command=_eval)


def _data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", default="image", metavar="COLUMN")
    parser.add_argument(
        "--text",
        metavar="COLUMN",
        help="captions, a list for several of an image; default: captions, or text",
    )
    parser.add_argument("--uid", default="uid", metavar="COLUMN")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="FILE",
        help="take only the uids of this file, one a line; may be repeated",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "float32", "bfloat16", "float16"),
    )


def _eval(parsed: argparse.Namespace) -> None:
    from pipeline.filters.evaluate import Evaluation, evaluate
    from pipeline.filters.evaluation_set import Columns
    from pipeline.filters.leakage import Distances
    from pipeline.filters.telling import tell_evaluation

    how = Evaluation(
        columns=Columns(parsed.image, parsed.text, parsed.uid, tuple(parsed.by)),
        only=_uids(parsed.only),
        k=parsed.k,
        train=tuple(parsed.train),
        distances=Distances(parsed.max_distance, parsed.max_bits),
        repeats=parsed.caption_groups,
        precision=parsed.precision,
    )
    result, _ = evaluate(parsed.model, parsed.data, how, _teller(parsed.json))
    if parsed.out:
        _write_json(Path(parsed.out) / "eval.json", result)
    print(_json(result) if parsed.json else tell_evaluation(result))


def _uids(files: list[str]) -> frozenset[str] | None:
    from pipeline.core.errors import InputError

    if not files:
        return None
    found: set[str] = set()
    for name in files:
        try:
            found.update(Path(name).read_text(encoding="utf-8").split())
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--only {name}: {error}") from error
    return frozenset(found)


def _teller(quiet: bool) -> Callable[[str], None]:
    return lambda line: None if quiet else print(line, file=sys.stderr)


def _write_json(target: Path, value: Any) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(_json(value) + "\n", encoding="utf-8")


def _json(value: Any) -> str:
    return json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    """Replace what JSON has no number for by null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
