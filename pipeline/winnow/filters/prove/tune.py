"""`winnow tune`: settings chosen by what their selections train, at one budget.

Candidates are what-ifs of one run, so that nothing is embedded again. The half of the
held-out rows that chooses among them never judges the choice.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.algorithms.prune.budget import exact_multiple
from winnow.config.lock_file import load_lock
from winnow.config.recipes import dump, load
from winnow.config.run import RunConfig
from winnow.config.section import Budget
from winnow.core.errors import ConfigError, InputError
from winnow.core.hashing import keys
from winnow.core.other_kind import is_run
from winnow.core.run_folder import RunFolder
from winnow.filters.prove.arms import (
    METHOD,
    TrainedArm,
    difference,
    train_arm,
)
from winnow.filters.prove.prove import (
    ProofData,
    Proving,
    Workshop,
    arms_of,
    proof_data,
    proxy_of,
)
from winnow.filters.prove.proxies import SmallModel
from winnow.filters.prove.stored_rows import HERE, kept_draws
from winnow.filters.prove.verdict import compared
from winnow.flows.runner import run as run_recipe
from winnow.flows.what_if import tried
from winnow.numeric.threads import one_blas_thread

Ids = npt.NDArray[np.int64]
Result = dict[str, Any]

_MOST = 64


@dataclass(frozen=True)
class Tuning:
    """What `tune` tries, and at which budget.

    budget: share of the pool that every candidate keeps, above 0 and below 1.
    over: values to try by setting, as in `{"semantic.epsilon": [0.03, 0.05]}`; all
        combinations are candidates.
    how: what is trained, and how often the choice is judged. None: Proving().
    from_runs: folders of runs to take over from.

    >>> winnow.Tuning(0.3, {"semantic.epsilon": [0.03, 0.05]}).budget
    0.3
    """

    budget: float
    over: Mapping[str, Sequence[object]]
    how: Proving | None = None
    from_runs: Sequence[Path] = ()

    @property
    def candidates(self) -> list[list[str]]:
        """Each candidate's settings, as `KEY=VALUE`; the recipe as it is comes first.

        Raises ConfigError for none, or for more than 64.
        """
        if not 0 < self.budget < 1:
            raise ConfigError(
                f"--budget is {self.budget:g}; give a share above 0 and below 1"
            )
        lists = [[f"{key}={v}" for v in values] for key, values in self.over.items()]
        count = int(np.prod([len(values) for values in lists])) if lists else 0
        if not 0 < count <= _MOST:
            raise ConfigError(
                f"--over: {count} candidates; give 1 to {_MOST}, as in "
                "--over semantic.epsilon=.03,.05"
            )
        return [[], *(list(settings) for settings in itertools.product(*lists))]


@dataclass
class TunedCandidate:
    """Settings, the rows that they keep, and what these have trained so far."""

    settings: list[str]
    rows: Ids
    figures: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float:
        """The main figure, over the trainings so far."""
        return float(np.mean(self.figures))


def tune(
    recipe: str | Path, held_out: str, tuning: Tuning, workshop: Workshop
) -> Result:
    """Return the candidate that trains best, judged on rows that did not choose it.

    recipe: a recipe, which is run first, or the folder of a run of one. What is
    recommended is written to `recipe.yaml` in `workshop.out`. Raises ConfigError if
    nothing can be tried, and what `prove` and `what_if` raise.
    """
    candidates, how = tuning.candidates, tuning.how or Proving()
    out = _require(how, workshop)
    run = _base(recipe, tuning, workshop, out)
    data = proof_data(run, held_out, how.label, workshop)
    chooses, judges = halves(data)
    proxy = proxy_of(run, chooses, how)
    count = exact_multiple(len(data.pool), tuning.budget)
    step = budget_step(run)
    kept_by, left_out = _tried(run, candidates, step, count, workshop)
    number = {data.pool.uids[row]: row for row in proxy.usable.tolist()}
    field_of = [
        TunedCandidate(
            candidates[i], np.array([number[u] for u in kept if u in number])
        )
        for i, kept in kept_by.items()
    ]
    steps = proxy.steps(count, how.epochs)
    contest = _contest(proxy, field_of, steps)
    chosen = next(c for c in field_of if c.settings == contest["chosen"])
    judge = proxy_of(run, judges, how)
    arms = arms_of(judge, chosen.rows, count, data.pool, steps, how.seeds)
    _recommend(run, [*chosen.settings, *_at_budget(step, count)], out)
    return {
        "recipe": str(recipe),
        "held_out": held_out,
        "chose_on": len(chooses.held_out),
        "judged_on": len(judges.held_out),
        "budget": count,
        "metric": proxy.main,
        "proxy": proxy.about,
        "seeds": how.seeds,
        "method": METHOD,
        "left_out": left_out,
        **contest,
        **_against_given(arms[0], field_of[0], judge, steps, how.seeds),
        **compared("the recommended recipe", arms, proxy.main, count),
    }


def _require(how: Proving, workshop: Workshop) -> Path:
    """Return the folder to work in; raises ConfigError for what cannot be."""
    how.require()
    if how.recipe is not None:
        raise ConfigError("tune trains many small models: leave --recipe out")
    if workshop.out is None:
        raise ConfigError("tune runs the recipe: name a folder with --out")
    return workshop.out


def _recommend(run: Path, settings: list[str], out: Path) -> None:
    """Write a run's recipe under other settings as OUT/recipe.yaml."""
    recommended = load_lock(RunFolder(run), settings, out / "run")
    (out / "recipe.yaml").write_text(dump(recommended), encoding="utf-8")


def _base(recipe: str | Path, tuning: Tuning, workshop: Workshop, out: Path) -> Path:
    """Return the run that what-ifs are of."""
    if is_run(Path(recipe)):
        return Path(recipe)
    config = load(recipe, (), str(out / "base"))
    result = run_recipe(
        config,
        workshop.make_engine,
        workshop.progress,
        sources=tuning.from_runs,
        replace_other=True,
    )
    return result.path


def budget_step(run: Path) -> str:
    """Return the last step with a budget; raises ConfigError if there is none."""
    config: RunConfig = load_lock(RunFolder(run), (), run)
    steps = [s for s in config.steps if isinstance(config.sections[s], Budget)]
    if not steps:
        raise ConfigError(
            f"{run} has no step with a budget, such as `score` or `complexity`, that "
            "could keep as many rows of every candidate"
        )
    return steps[-1]


def halves(data: ProofData) -> tuple[ProofData, ProofData]:
    """Return the data with one half of the held-out rows, and with the other."""
    order = np.argsort(keys(data.held_out.uids, "tuning half"), kind="stable")
    middle = len(order) // 2
    if middle < 2:
        raise InputError(
            f"{len(order)} held-out rows are too few: half of them choose, half judge"
        )
    one, other = np.sort(order[:middle]), np.sort(order[middle:])
    return (
        replace(data, held_out=data.held_out.take(one)),
        replace(data, held_out=data.held_out.take(other)),
    )


def _tried(
    run: Path,
    candidates: Sequence[list[str]],
    step: str,
    count: int,
    workshop: Workshop,
) -> tuple[dict[int, list[str]], list[Result]]:
    """Return the uids that each candidate keeps, by its number, and those left out.

    A candidate of which fewer than `count` rows reach the step with the budget, or of
    which rows would have to be embedded, is left out. Raises ConfigError if all are.
    """
    kept_by: dict[int, list[str]] = {}
    left_out: list[Result] = []
    for number, settings in enumerate(candidates):
        workshop.tell(f"what if {' '.join(settings) or 'the recipe as it is'}")
        asked = [*settings, *_at_budget(step, count)]
        # What is wrong with a setting itself is an error, not a candidate left out.
        load_lock(RunFolder(run), asked, run)
        try:
            with tried(run, [*asked, HERE], workshop.make_engine) as other:
                kept_by[number] = sorted(kept_draws(other.path))
        except ConfigError as error:
            left_out.append({"set": settings, "why": str(error)})
    if not kept_by:
        raise ConfigError(
            f"no candidate can be tried at {count:,} rows; the first: "
            f"{left_out[0]['why']}"
        )
    return kept_by, left_out


def _at_budget(step: str, count: int) -> list[str]:
    return [f"{step}.keep_fraction=null", f"{step}.keep_count={count}"]


def _contest(
    proxy: SmallModel, field_of: Sequence[TunedCandidate], steps: int
) -> Result:
    """Let candidates train against each other; return the choice and all of them."""
    chosen = halve(field_of, proxy, steps)[-1][0]
    ranked = sorted(field_of, key=lambda c: (-len(c.figures), -c.mean))
    return {
        "candidates": [
            {"set": c.settings, proxy.main: c.mean, "trainings": len(c.figures)}
            for c in ranked
        ],
        "chosen": chosen.settings,
    }


def halve(
    candidates: Sequence[TunedCandidate], proxy: SmallModel, steps: int
) -> list[list[TunedCandidate]]:
    """Return the candidates of each round, the best first; the last holds one.

    Successive halving (Jamieson & Talwalkar 2016): each round trains what is left
    twice as often as the one before, and the worse half goes. Ties go to the first.
    """
    rounds = [list(candidates)]
    trainings = 1
    while len(rounds[-1]) > 1:
        with one_blas_thread():
            for candidate in rounds[-1]:
                for seed in range(len(candidate.figures), trainings):
                    figures = proxy.train(candidate.rows, steps, seed)
                    candidate.figures.append(float(figures[proxy.main].mean()))
        ranked = sorted(rounds[-1], key=lambda c: -c.mean)
        rounds.append(ranked[: (len(ranked) + 1) // 2])
        trainings *= 2
    if not rounds[-1][0].figures:
        rounds[-1][0].figures.append(float("nan"))
    return rounds


def _against_given(
    chosen: TrainedArm, first: TunedCandidate, judge: SmallModel, steps: int, seeds: int
) -> Result:
    """Return by how much the choice is better than the recipe as it was.

    first: the first candidate; nothing is said unless it is that recipe.
    """
    if first.settings:
        return {}
    train = partial(_on, judge, first.rows, steps)
    given = train_arm("as given", len(first.rows), train, seeds)
    return {"against_given": difference(chosen, given, drawn=False)}


def _on(proxy: SmallModel, rows: Ids, steps: int, seed: int) -> Any:
    return proxy.train(rows, steps, seed)
