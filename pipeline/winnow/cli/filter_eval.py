"""The commands `filter eval` and `filter compare`.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from winnow.cli.numbers import finite, natural, positive
from winnow.cli.output import json_argument, print_json, say, set_argument, show, silent

Commands = Any

_MODEL = "local-dir:FOLDER, a folder, hf-hub:REPO, or ARCHITECTURE@TAG"


def add_actions(actions: Commands) -> None:
    """Register the actions of this file below `filter`."""
    judge = actions.add_parser("eval", help="held-out figures of a filter")
    judge.add_argument("model", metavar="MODEL", help=_MODEL)
    judge.add_argument(
        "data", metavar="DATA", nargs="+", help="images and captions; one domain each"
    )
    _data_arguments(judge)
    _leak_arguments(judge)
    judge.add_argument(
        "--by",
        action="append",
        default=[],
        metavar="COLUMN",
        help="figures for each value of a column; may be repeated",
    )
    judge.add_argument(
        "--k",
        type=positive,
        help="precision among the k best; default: half of all pairs",
    )
    judge.add_argument(
        "--caption-groups",
        type=natural,
        default=20,
        metavar="N",
        help="captions that more than N images carry are boilerplate (20)",
    )
    judge.add_argument("--out", metavar="FOLDER", help="eval.json and report.html")
    json_argument(judge)
    judge.set_defaults(command=_eval)

    _compare_arguments(actions)


def _leak_arguments(judge: argparse.ArgumentParser) -> None:
    judge.add_argument(
        "--train",
        action="append",
        default=[],
        metavar="DATA",
        help="what the filter was trained on: no image of DATA may stand there",
    )
    judge.add_argument(
        "--max-distance",
        type=finite,
        default=0.05,
        metavar="D",
        help="images whose cosines are nearer than 1 − D are one to --train (0.05)",
    )
    judge.add_argument(
        "--max-bits",
        type=natural,
        default=6,
        metavar="BITS",
        help="and those whose perceptual hashes differ in at most so many bits (6)",
    )


def _compare_arguments(actions: Commands) -> None:
    parser = actions.add_parser(
        "compare", help="what filters keep of one pool, and what that trains"
    )
    parser.add_argument("models", metavar="MODEL", nargs="+", help=_MODEL)
    parser.add_argument("--out", metavar="FOLDER", help="compare.json and report.html")
    parser.add_argument(
        "--pool",
        required=True,
        metavar="POOL",
        help="images and captions that every filter scores and chooses from",
    )
    parser.add_argument(
        "--budget", type=finite, required=True, metavar="F", help="the share to keep"
    )
    _data_arguments(parser)
    parser.add_argument(
        "--eval",
        action="append",
        default=[],
        metavar="DATA",
        help="a held-out domain to state every filter's figures on; may be repeated",
    )
    parser.add_argument(
        "--downstream",
        metavar="HELD_OUT",
        help="train a model on each selection and on a random one; score it on this",
    )
    parser.add_argument(
        "--recipe",
        default="filter_train",
        help="of the model that --downstream trains: as for `winnow filter train`",
    )
    set_argument(parser, "SECTION.KEY=VALUE", "a setting of --recipe")
    parser.add_argument(
        "--seeds", type=positive, default=3, help="trainings of each (3)"
    )
    parser.add_argument("--seed", type=natural, default=0, help="of the random one (0)")
    json_argument(parser)
    parser.set_defaults(command=_compare)


def _data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--image", default="image", metavar="COLUMN", help="column of images (image)"
    )
    parser.add_argument(
        "--text",
        metavar="COLUMN",
        help="captions, a list for several of an image; default: captions, or text",
    )
    parser.add_argument(
        "--uid", default="uid", metavar="COLUMN", help="column of names (uid)"
    )
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
        help="numbers that models compute in (auto: what the device is fast in)",
    )


def _eval(parsed: argparse.Namespace) -> None:
    from winnow.core.outputs import require_folder
    from winnow.filters.judge.evaluate import Evaluation
    from winnow.filters.judge.evaluation_set import EvaluationColumns
    from winnow.filters.judge.leakage import Distances
    from winnow.handles.filters import evaluate_filter

    if parsed.out:
        require_folder(parsed.out, "--out")
    how = Evaluation(
        columns=EvaluationColumns(
            parsed.image, parsed.text, parsed.uid, tuple(parsed.by)
        ),
        only=_uids(parsed.only),
        k=parsed.k,
        train=tuple(parsed.train),
        distances=Distances(parsed.max_distance, parsed.max_bits),
        repeats=parsed.caption_groups,
        precision=parsed.precision,
    )
    result = evaluate_filter(
        parsed.model,
        parsed.data,
        how,
        out=parsed.out,
        tell=silent if parsed.json or parsed.quiet else say,
    )
    print_json(result) if parsed.json else show(result)


def _compare(parsed: argparse.Namespace) -> None:
    from winnow.core.outputs import require_folder
    from winnow.filters.judge.compare import compare
    from winnow.filters.judge.evaluation_set import EvaluationColumns
    from winnow.filters.judge.selections import Choosing
    from winnow.filters.judge.telling import tell_comparison
    from winnow.filters.page.record import write_comparison_record

    if parsed.out:
        require_folder(parsed.out, "--out")
    how = Choosing(
        parsed.budget,
        EvaluationColumns(parsed.image, parsed.text, parsed.uid),
        _uids(parsed.only),
        parsed.precision,
        parsed.seed,
    )
    result, selections = compare(
        parsed.models,
        parsed.pool,
        how,
        domains=parsed.eval,
        proxy=_proxy(parsed),
        tell=silent if parsed.json or parsed.quiet else say,
    )
    if parsed.out:
        write_comparison_record(Path(parsed.out), result, selections)
    print_json(result) if parsed.json else show(tell_comparison(result))


def _proxy(parsed: argparse.Namespace) -> Any:
    from winnow.config.filter_train import load
    from winnow.core.errors import ConfigError
    from winnow.filters.judge.downstream import Proxy

    if parsed.downstream is None:
        return None
    if not parsed.out:
        raise ConfigError("--downstream trains models: name their folder with --out")
    if parsed.seeds < 1:
        raise ConfigError(f"--seeds is {parsed.seeds}; give 1 or more, better 3")
    recipe = load(parsed.recipe, parsed.overrides)
    return Proxy(recipe, parsed.downstream, Path(parsed.out) / "trained", parsed.seeds)


def _uids(files: list[str]) -> frozenset[str] | None:
    from winnow.core.errors import InputError
    from winnow.core.trained_files import require_file_as_trained

    if not files:
        return None
    uids: set[str] = set()
    for name in files:
        require_file_as_trained(Path(name))
        try:
            uids.update(Path(name).read_text(encoding="utf-8").split())
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--only {name}: {error}") from error
    return frozenset(uids)
