"""Proof from Python: what runs' kept rows train, beside chance and the whole pool."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from winnow.handles.engine import make_engine
from winnow.handles.facts import Facts
from winnow.stores.copies import local_run

if TYPE_CHECKING:
    from winnow.core.progress import Progress
    from winnow.filters.prove.prove import Proving
    from winnow.filters.prove.spend import Spending
    from winnow.filters.prove.tune import Tuning
    from winnow.filters.prove.weigh import Weighing

PathLike = str | os.PathLike[str]

_log = logging.getLogger(__name__)


def prove(
    runs: PathLike | Sequence[PathLike],
    held_out: PathLike,
    how: Proving | None = None,
    *,
    out: PathLike | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> Facts:
    """Return whether what runs keep trains a small model better than random rows do.

    runs: folders or URLs of finished runs of one pool.
    held_out: data that no run saw, with the pool's columns, as `input.path` names it;
        or the folder of a run of it. Rows that stand in the pool, too, are left out.
    how: what is trained, and how often. None: Proving().
    out: a folder for `prove.json`, `report.html` and the vectors that were made. None:
        nothing is kept.
    progress: told of what has to be embedded, as for `run`.
    tell: gets a line as it goes on. None: the log does.

    The same model is trained on the kept rows, on as many random ones, which are
    others with each seed, and on the whole pool, for the same number of steps. Figures
    are means over held-out rows: `auc_random` and recall at k of pairs, `accuracy` of
    labels. Differences have intervals of 95 % over seeds and rows (Owen 2007); a
    `verdict` is of the AUC, or the accuracy, alone. Raises ConfigError, InputError or
    RunError if nothing can be learned or judged.

    >>> proof = winnow.prove("runs/first", "held_out", winnow.Proving(seeds=2))
    >>> [arm["trained_on"] for arm in proof["runs"][0]["arms"]]
    ['kept', 'random', 'whole pool']
    """
    from winnow.filters.page.proof import write_proof_record
    from winnow.filters.prove.prove import Proving, Workshop
    from winnow.filters.prove.prove import prove as prove_runs
    from winnow.filters.prove.telling import tell_proof

    given = [runs] if isinstance(runs, str | os.PathLike) else list(runs)
    result = prove_runs(
        [local_run(run) for run in given],
        os.fspath(held_out),
        how or Proving(),
        Workshop(
            make_engine,
            None if out is None else Path(out),
            progress,
            tell or _log.info,
        ),
    )
    if out is not None:
        write_proof_record(Path(out), result)
    return Facts(result, tell_proof)


def tune(
    recipe: PathLike,
    held_out: PathLike,
    tuning: Tuning,
    *,
    out: PathLike,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> Facts:
    """Return the settings whose selection trains a small model best, at one budget.

    recipe: a YAML file or the name of a shipped recipe, which is run first, or the
        folder of a finished run.
    held_out: as for `prove`. One half of it, by uid hash, chooses; the other judges.
    tuning: the budget, and the values to try.
    out: folder of the run, of `tune.json`, and of the recommended `recipe.yaml`.
    progress: as for `prove`.
    tell: as for `prove`.

    Candidates are what-ifs: nothing is embedded again. Successive halving (Jamieson &
    Talwalkar 2016) trains those that are left ever more often. `against_random` and
    `against_given` have the intervals of `prove`, on rows that did not choose. Raises
    what `prove` and `Run.what_if` raise.

    >>> tuned = winnow.tune("runs/first", "held_out", out="tuned", tuning=winnow.Tuning(
    ...     0.2, {"semantic.epsilon": [0.02, 0.3]}, winnow.Proving(seeds=2)))
    >>> len(tuned["candidates"]) + len(tuned["left_out"])
    3
    """
    from winnow.filters.page.record import write_json
    from winnow.filters.prove.prove import Workshop
    from winnow.filters.prove.telling import tell_tuning
    from winnow.filters.prove.tune import tune as tune_recipe

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    workshop = Workshop(make_engine, folder, progress, tell or _log.info)
    result = tune_recipe(os.fspath(recipe), os.fspath(held_out), tuning, workshop)
    write_json(folder / "tune.json", result)
    return Facts(result, tell_tuning)


def budget(
    run: PathLike,
    held_out: PathLike,
    spending: Spending,
    *,
    out: PathLike | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> Facts:
    """Return the share to keep for a number of samples that a training will see.

    run: folder or URL of a finished run whose last step with a budget ranks rows, as
        `score` does.
    held_out: as for `prove`.
    spending: the numbers of samples seen, and how rows are measured.
    out: a folder for `budget.json` and the vectors that were made. None: nothing is
        kept.
    progress: as for `prove`.
    tell: as for `prove`.

    A small share of good rows comes often in a long training, and teaches less each
    time. The rows that reach the step are divided by rank; the proxy of `prove` is
    trained on each part for a quarter of a pass to 16, and the law of Goyal et al. 2024
    (arXiv 2404.07177) fitted: a `utility` and a `half_life` in passes for each part.
    `recommended` has, for each number of samples, the `keep_fraction` of the least
    error that the law foretells, and the bounds of 95 % of fits on seeds and held-out
    rows drawn with repetition. Raises InputError for fewer than 640 rows in a part, and
    what `prove` and `Run.what_if` raise.

    >>> winnow.budget("runs/first", "held_out", winnow.Spending([100_000]))
    Traceback (most recent call last):
    winnow.core.errors.InputError: ... rows are too few for 2 buckets: ...
    """
    from winnow.filters.page.record import write_json
    from winnow.filters.prove.prove import Workshop
    from winnow.filters.prove.spend import spend
    from winnow.filters.prove.telling import tell_spending

    folder = None if out is None else Path(out)
    workshop = Workshop(make_engine, folder, progress, tell or _log.info)
    result = spend(local_run(run), os.fspath(held_out), spending, workshop)
    if folder is not None:
        write_json(folder / "budget.json", result)
    return Facts(result, tell_spending)


def weigh(
    run: PathLike,
    held_out: PathLike,
    weighing: Weighing | None = None,
    *,
    out: PathLike | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> Facts:
    """Return weights of a run's scores, learned by what their mixture trains.

    run: folder or URL of a finished run with vectors of images and captions whose step
        `score` mixes two terms or more, or with several `score` steps of the same rows.
    held_out: as for `prove`; its pairs are trusted. One half of them, by uid hash,
        teaches the weights; the other judges.
    weighing: the step, and how often weights are learned. None: Weighing().
    out: a folder for `weigh.json` and the vectors that were made. None: nothing is
        kept.
    progress: as for `prove`.
    tell: as for `prove`.

    Rows are weighed by the softmax of a mixture of their scores, which follows the
    gradient of the held-out loss through the training of two heads (Shechter & Carmon
    2025, arXiv 2503.08805, in small). `terms` has each score's mean `weight` and its
    `spread`, the standard deviation over seeds; they are of scores scaled by
    `normalise: standard`, as `recipe`, ready to paste, says. `against` compares what
    the mixture keeps, at the budget of the run, with what each score alone keeps, and
    the given weights; `verdict` is about the best score alone. Raises ConfigError for
    fewer than two scores, InputError for fewer than 100 rows or a score that no row
    has, and what `prove` raises.

    >>> winnow.weigh("runs/first", "held_out")
    Traceback (most recent call last):
    winnow.core.errors.ConfigError: runs/first: `score` has one score, alignment; ...
    """
    from winnow.filters.page.record import write_json
    from winnow.filters.prove.prove import Workshop
    from winnow.filters.prove.telling import tell_weighing
    from winnow.filters.prove.weigh import Weighing
    from winnow.filters.prove.weigh import weigh as weigh_scores

    folder = None if out is None else Path(out)
    workshop = Workshop(make_engine, folder, progress, tell or _log.info)
    asked = weighing or Weighing()
    result = weigh_scores(local_run(run), os.fspath(held_out), asked, workshop)
    if folder is not None:
        write_json(folder / "weigh.json", result)
    return Facts(result, tell_weighing)
