"""`winnow filter`: train a data filtering network, and find out what it is worth.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from winnow.cli.numbers import positive
from winnow.cli.output import json_argument, print_json, say, set_argument, show, silent

if TYPE_CHECKING:
    from winnow.filters.train.classifier import ClassifierResult

from winnow.cli import (
    filter_eval as cli_judge,
)

Commands = Any
Tell = Callable[[str], None]


def add_commands(commands: Commands) -> None:
    """Register `winnow filter` and its actions."""
    command = commands.add_parser(
        "filter", help="train a filter on your own trusted pairs, and judge it"
    )
    actions = command.add_subparsers(required=True, metavar="ACTION")

    train = actions.add_parser("train", help="train one, or go on where it stopped")
    recipe_arguments(train, "a YAML file, or `filter_train`")
    train.add_argument("--out", metavar="FOLDER", help="of the filter (output.path)")
    json_argument(train)
    train.set_defaults(command=_train)

    purity = actions.add_parser(
        "purity", help="what your trusted pool is worth: train with wrong captions"
    )
    recipe_arguments(purity, "a YAML file, or `filter_train`")
    purity.add_argument("--out", metavar="FOLDER", help="of all trainings")
    purity.add_argument(
        "--levels", default="1,.75,.5,.25", help="shares of right captions"
    )
    purity.add_argument(
        "--seeds", type=positive, default=3, help="trainings at each level"
    )
    json_argument(purity)
    purity.set_defaults(command=_purity)
    cli_judge.add_actions(actions)


def recipe_arguments(parser: argparse.ArgumentParser, what: str) -> None:
    """Add a recipe and `--set`."""
    parser.add_argument("recipe", metavar="RECIPE", help=what)
    set_argument(parser)


def _train(parsed: argparse.Namespace) -> None:
    from winnow.config.filter_train import load
    from winnow.filters.train.classifier import ClassifierResult
    from winnow.handles.filters import train_filter

    config = load(parsed.recipe, parsed.overrides, parsed.out)
    result = train_filter(config, tell=silent if parsed.json or parsed.quiet else say)
    if isinstance(result, ClassifierResult):
        _tell_classifier(result, parsed.json)
        return
    if parsed.json:
        print_json(
            {
                "model": result.name,
                "auc": result.auc,
                "steps": result.steps,
                "trained_on": result.trained_on,
                "held_out": result.held_out,
                "left_out": result.left_out,
            }
        )
        return
    show(
        f"held-out AUC {result.auc:.4f} after {result.steps:,} steps on "
        f"{result.trained_on:,} images; use it as model.name={result.name}"
    )


def _tell_classifier(result: ClassifierResult, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print_json({**asdict(result), "path": str(result.path)})
        return
    show(
        f"clean against raw: held-out AUC {result.auc:.4f}; right against wrong "
        f"captions {result.auc_random:.4f}; scores of the raw pool are in "
        f"{result.path / 'scores.parquet'}"
    )


def _purity(parsed: argparse.Namespace) -> None:
    from dataclasses import asdict

    from winnow.config.filter_train import load
    from winnow.filters.judge.purity import measure_purity, tell_purity

    config = load(parsed.recipe, parsed.overrides, parsed.out)
    levels = _numbers(parsed.levels, "--levels")
    tell = silent if parsed.json or parsed.quiet else say
    result = measure_purity(config, levels, parsed.seeds, tell)
    if parsed.json:
        print_json({**asdict(result), "path": str(result.path)})
    else:
        show(tell_purity(result))


def _numbers(text: str, option: str) -> list[float]:
    from winnow.core.errors import ConfigError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"{option} {text}: write numbers, as in 1,.5") from error
