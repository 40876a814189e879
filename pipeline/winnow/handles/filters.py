"""Filters from Python: train one, judge it, compare several."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from winnow.config.any_recipe import read_recipe
from winnow.config.filter_train import FilterTrainConfig
from winnow.config.settings import as_overrides
from winnow.core.errors import ConfigError
from winnow.handles.facts import Facts

if TYPE_CHECKING:
    from winnow.filters.judge.downstream import Proxy
    from winnow.filters.judge.evaluate import Evaluation
    from winnow.filters.judge.selections import Choosing
    from winnow.filters.train.classifier import ClassifierResult
    from winnow.filters.train.record import FilterResult

Settings = Mapping[str, Any]
PathLike = str | os.PathLike[str]

_log = logging.getLogger(__name__)


def train_filter(
    recipe: FilterTrainConfig | str | Path | Settings,
    set: Settings | None = None,
    *,
    tell: Callable[[str], None] | None = None,
) -> FilterResult | ClassifierResult:
    """Train a filter by a recipe; the same call after a crash goes on.

    recipe: as for `run`; `filter_train` and `filter_photos` are shipped.
    set: settings to change, as for `run`.
    tell: gets a line at each measurement. None: the log does.

    Returns a FilterResult, whose `name` is what a recipe's `model.name` takes, or, for
    `kind: classifier`, a ClassifierResult. Raises ConfigError, InputError, or
    TrainingError for a loss that is no longer finite.

    >>> trained = winnow.train_filter(filter_recipe)
    >>> trained.name
    'local-dir:filters/mine'
    """
    config = read_recipe(recipe, as_overrides(set))
    if not isinstance(config, FilterTrainConfig):
        raise ConfigError("train_filter takes a recipe with `flow: filter_train`")
    if config.kind == "classifier":
        from winnow.filters.train.classifier import train_classifier

        return train_classifier(config, tell or _log.info)
    from winnow.filters.train.run import train_filter

    return train_filter(config, tell or _log.info)


def evaluate_filter(
    model: str,
    data: str | Sequence[str],
    how: Evaluation | None = None,
    *,
    out: PathLike | None = None,
    tell: Callable[[str], None] | None = None,
) -> Facts:
    """Return what a filter tells apart on pairs that it has not seen.

    model: `local-dir:FOLDER`, a folder, `hf-hub:REPO`, or `ARCHITECTURE@TAG`.
    data: images with right captions, as `input.path` names them; several are domains
        that are stated side by side.
    how: columns, rows and what to compare with. None: Evaluation().
    out: a folder for `eval.json` and `report.html`. None: nothing is written.
    tell: gets a line as it goes on. None: the log does.

    Figures are areas under the curve (0.5 is chance), precision, recall at k, errors of
    calibration. Raises ConfigError for a model or column that is not there, InputError
    for data that cannot be used.

    >>> judged = winnow.evaluate_filter(model, "pairs")
    >>> 0 <= judged["auc_random"] <= 1
    True
    """
    from winnow.filters.judge.evaluate import evaluate
    from winnow.filters.judge.telling import tell_evaluation
    from winnow.filters.page.record import write_evaluation_record

    sets = [data] if isinstance(data, str) else list(data)
    result, _ = evaluate(model, sets, how, tell or _log.info)
    if out is not None:
        write_evaluation_record(Path(out), result)
    return Facts(result, tell_evaluation)


def compare_filters(
    models: Sequence[str],
    pool: str,
    how: Choosing,
    *,
    domains: Sequence[str] = (),
    downstream: Proxy | None = None,
    out: PathLike | None = None,
) -> Facts:
    """Return what filters keep of one pool at one budget, and what that trains.

    models: each as `evaluate_filter` takes it.
    pool: images with captions, as `input.path` names them.
    how: the share to keep, columns and rows.
    domains: held-out sets to state every filter's figures on.
    downstream: train a model on each selection and on a random one. None: train none.
    out: a folder for `compare.json`, `report.html` and `selected/NAME.txt`, the uids
        that each filter keeps. None: nothing is written.

    Raises ConfigError and InputError as `evaluate_filter` does.

    >>> compared = winnow.compare_filters([model], "pairs", winnow.Choosing(0.5))
    >>> compared["kept"]
    15
    """
    from winnow.filters.judge.compare import compare
    from winnow.filters.judge.telling import tell_comparison
    from winnow.filters.page.record import write_comparison_record

    result, selections = compare(
        models, pool, how, domains=domains, proxy=downstream, tell=_log.info
    )
    if out is not None:
        write_comparison_record(Path(out), result, selections)
    return Facts(result, tell_comparison)
