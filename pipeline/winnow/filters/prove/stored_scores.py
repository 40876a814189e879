"""Scores that a run has stored: the terms of a mixture, or those of several steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from winnow.config.filter_steps import ScoreConfig, ScoreTerm, WeightedTerm
from winnow.config.recipes import load
from winnow.config.run import RunConfig, kind_of
from winnow.core.errors import ConfigError, InputError, RunError, did_you_mean
from winnow.core.run_folder import LOCK_FILE
from winnow.reports.run_view import RunView

Floats = npt.NDArray[np.float64]

#: Fewer would be less than a batch or two of what learns from them.
LEAST_ROWS = 100


@dataclass(frozen=True)
class StoredScores:
    """Scores of the n rows that have all of them, in the order of their uids.

    step: of one mixture, or the last of several. values: (n, k), higher is better where
    a term's weight is positive. kept: rows that the step keeps. mixed: whether the run
    mixed these scores, by weights that it was given.
    """

    step: str
    section: ScoreConfig
    terms: tuple[WeightedTerm, ...]
    uids: list[str]
    values: Floats
    kept: frozenset[str]
    mixed: bool

    @property
    def names(self) -> list[str]:
        """What the scores are called: (k,)."""
        return [term.title for term in self.terms]


def stored_scores(run: Path, step: str | None) -> StoredScores:
    """Return the scores of a run's mixture, or of all its `score` steps.

    step: the one to read, where there are several. Raises RunError if the run is not
    finished, ConfigError for fewer than two scores or for steps that did not see the
    same rows, InputError for too few rows or a score that no row has.
    """
    view = RunView(run)
    if not view.finished:
        raise RunError(f"{run} is not finished; the same `winnow run` goes on")
    config: RunConfig = load(view.folder.file(LOCK_FILE), (), str(run))
    steps = _steps(run, config, step)
    sections = [_section(config, name) for name in steps]
    terms = _named([term for section in sections for term in _terms(section)])
    if len(terms) < 2:
        raise ConfigError(
            f"{run}: `{steps[0]}` has one score, {terms[0].title}; weights are of two "
            "or more: mix them as `score.terms`, or let a second `score` step rate the "
            "same rows"
        )
    if any(section.model != sections[0].model for section in sections):
        raise ConfigError(
            f"{run}: the score steps have vectors of several models, which one mixture "
            "cannot have; name a step with --step"
        )
    names = [term.title for term in terms]
    table = _rated(view, dict(zip(steps, sections, strict=True)), names)
    decided = view.ledger(steps[-1]).filter("keep").select("uid").collect()
    return StoredScores(
        steps[-1],
        sections[-1],
        terms,
        table["uid"].to_list(),
        table.select(names).to_numpy().astype(np.float64),
        frozenset(decided["uid"].to_list()),
        mixed=len(steps) == 1,
    )


def _steps(run: Path, config: RunConfig, step: str | None) -> list[str]:
    """Return the step that was asked for, or all that score."""
    steps = [name for name in config.steps if kind_of(name) == "score"]
    if not steps:
        raise ConfigError(f"{run} has no step `score`, so no scores to weigh")
    if step is None:
        return steps
    if step not in steps:
        hint = did_you_mean(step, steps)
        raise ConfigError(f"--step: {run} has no score step '{step}'; {hint}")
    return [step]


def _section(config: RunConfig, step: str) -> ScoreConfig:
    section: Any = config.sections[step]
    assert isinstance(section, ScoreConfig)
    return section


def _terms(section: ScoreConfig) -> Sequence[WeightedTerm]:
    """Return the terms of a mixture; of a score alone, itself."""
    if section.terms:
        return section.terms
    alone = {name: getattr(section, name) for name in ScoreTerm.model_fields}
    return [WeightedTerm.model_validate(alone)]


def _named(terms: Sequence[WeightedTerm]) -> tuple[WeightedTerm, ...]:
    """Return terms that go by different names, as those of one mixture have to."""
    titles = [term.title for term in terms]
    return tuple(
        term.model_copy(update={"name": f"{term.title}_{number}"})
        if titles.count(term.title) > 1
        else term
        for number, term in enumerate(terms, 1)
    )


def _rated(
    view: RunView, steps: dict[str, ScoreConfig], names: Sequence[str]
) -> pl.DataFrame:
    """Return uid and all scores of the rows that have them, in the order of uids."""
    table: pl.DataFrame | None = None
    left = list(names)
    for step, section in steps.items():
        columns = [term.title for term in section.terms] or ["score"]
        renamed = {column: left.pop(0) for column in columns}
        each = view.artifact(step, "scores").select("uid", *columns).rename(renamed)
        rated = each.collect()
        for name in renamed.values():
            if rated[name].null_count() == len(rated):
                raise InputError(
                    f"{view.folder.path}: no row has the score {name} of `{step}`, so "
                    "there is nothing to weigh"
                )
        table = rated if table is None else _joined(table, rated, step)
    assert table is not None
    whole = table.drop_nulls().sort("uid")
    if len(whole) < LEAST_ROWS:
        raise InputError(
            f"{view.folder.path}: {len(whole):,} rows have all scores; weights are "
            f"learned from {LEAST_ROWS} or more"
        )
    return whole


def _joined(table: pl.DataFrame, rated: pl.DataFrame, step: str) -> pl.DataFrame:
    """Add the scores of a later step, which has to have seen what was rated before."""
    table = table.drop_nulls()
    gone = len(table.join(rated, on="uid", how="anti"))
    if gone:
        raise ConfigError(
            f"`{step}` did not see {gone:,} rows that were rated before it, so its "
            "score cannot be weighed with theirs; have the steps before it keep all "
            "(keep_fraction: 1.0), mix the scores as `score.terms`, or name a step "
            "with --step"
        )
    return table.join(rated, on="uid", how="inner")
