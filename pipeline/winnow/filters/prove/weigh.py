"""`winnow weigh`: weights of scores, learned by what the mixture trains.

Half of the held-out pairs teaches the weights, by the gradient of their loss through
the training of two heads (Shechter & Carmon 2025, in small); the other half judges the
mixture beside each score alone, and beside the weights that the run was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.algorithms.filter.mixture import mix, standard_scaling_of
from winnow.algorithms.filter.proxy_heads import unit
from winnow.algorithms.filter.score_weights import learn_weights
from winnow.config.filter_steps import WeightedTerm
from winnow.core.errors import ConfigError, InputError
from winnow.filters.prove.arms import METHOD, TrainedArm, difference, train_arm
from winnow.filters.prove.prove import (
    ProofData,
    Proving,
    Workshop,
    proof_data,
    proxy_of,
)
from winnow.filters.prove.proxies import SmallModel
from winnow.filters.prove.stored_rows import ProofRows
from winnow.filters.prove.stored_scores import StoredScores, stored_scores
from winnow.filters.prove.tune import halves
from winnow.filters.prove.verdict import words_of
from winnow.numeric.threads import one_blas_thread

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Result = dict[str, Any]

#: Decimals of a weight; what is judged is what the recipe says.
_DECIMALS = 3
LEARNED, GIVEN = "learned weights", "given weights"


@dataclass(frozen=True)
class Weighing:
    """Which scores `weigh` weighs, and how often it learns and judges.

    seeds: how often weights are learned, and each selection is trained, from 2.
    step: the `score` step whose terms are weighed. None: all scores of the run.

    >>> winnow.Weighing(step="score").seeds
    5
    """

    seeds: int = 5
    step: str | None = None


def weigh(run: Path, held_out: str, weighing: Weighing, workshop: Workshop) -> Result:
    """Return learned weights of a run's scores, and how their mixture trains.

    Raises ConfigError, InputError or RunError if there is nothing to weigh, as
    `stored_scores` has it, or nothing to learn from or to judge, as `prove`.
    """
    seeds = weighing.seeds
    how = Proving(seeds=seeds)
    how.require()
    scores = stored_scores(run, weighing.step)
    budget = _budget(run, scores)
    data = proof_data(run, held_out, None, workshop)
    rows = _pool_rows(run, scores, data.pool)
    chooses, judges = halves(data)
    workshop.tell(f"{run}: weights of {', '.join(scores.names)}, {seeds} times")
    learned = _learned(scores, rows, chooses, seeds)
    weights = (np.round(learned.mean(axis=0), _DECIMALS) + 0.0).tolist()
    chosen = _selections(scores, weights, budget)
    proxy = proxy_of(run, judges, how)
    workshop.tell(f"{run}: {seeds} trainings each of {', '.join(chosen)}")
    steps = proxy.steps(budget, how.epochs)
    arms = [
        _arm(name, rows[kept], proxy, steps, seeds) for name, kept in chosen.items()
    ]
    return {
        "run": str(run),
        "step": scores.step,
        "held_out": held_out,
        "held_out_rows": len(data.held_out),
        "leaks": {"rows": len(data.leaks), "examples": data.leaks[:5]},
        "near_copies": data.near,
        "learned_on": len(chooses.held_out),
        "judged_on": len(judges.held_out),
        "rows": len(rows),
        "budget": budget,
        "metric": proxy.main,
        "proxy": proxy.about,
        "seeds": seeds,
        "steps": steps,
        "method": METHOD,
        "terms": _told_terms(scores, weights, learned),
        "recipe": _recipe(scores, weights),
        "arms": [arm.summary() for arm in arms],
        "against": _against(arms, chosen, budget),
        **_verdict(arms, _alone_names(scores), proxy.main),
    }


def _budget(run: Path, scores: StoredScores) -> int:
    """Return how many of the rows that have all scores the run keeps.

    Raises ConfigError unless some of them go.
    """
    budget = sum(uid in scores.kept for uid in scores.uids)
    if not 0 < budget < len(scores.uids):
        raise ConfigError(
            f"{run}: `{scores.step}` keeps {budget:,} of {len(scores.uids):,} rows, so "
            "that weights change nothing; give it a budget, as keep_fraction: 0.5"
        )
    return budget


def _pool_rows(run: Path, scores: StoredScores, pool: ProofRows) -> Ids:
    """Return the pool's row of each row with scores: (n,)."""
    if pool.images is None or pool.texts is None:
        raise ConfigError(
            f"{run} has vectors of one kind; weights are learned from pairs of images "
            "and captions"
        )
    number = {uid: row for row, uid in enumerate(pool.uids)}
    rows = [number[uid] for uid in scores.uids if uid in number]
    if len(rows) < len(scores.uids):
        raise InputError(
            f"{run}: {len(scores.uids) - len(rows):,} rows with scores have no vectors "
            "of `embed` to learn from"
        )
    return np.array(rows, np.int64)


def _learned(scores: StoredScores, rows: Ids, data: ProofData, seeds: int) -> Floats:
    """Return each seed's weights of standardised scores: (seeds, k)."""
    columns = scores.values.T
    scaled = np.column_stack([standard_scaling_of(c)(c) for c in columns])
    pool = _unit_pairs(data.pool.take(rows))
    target = _unit_pairs(data.held_out)
    with one_blas_thread():
        return np.stack(
            [learn_weights(scaled, pool, target, seed=seed) for seed in range(seeds)]
        )


def _unit_pairs(
    rows: ProofRows,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    images, texts = rows.pairs
    return unit(images)[0], unit(texts)[0]


def _selections(
    scores: StoredScores, weights: Sequence[float], budget: int
) -> dict[str, Ids]:
    """Return the rows that the mixture keeps, the run, and each score alone."""
    columns = list(scores.values.T)
    scalings = [standard_scaling_of(column) for column in columns]
    chosen = {LEARNED: _best(mix(columns, weights, scalings), budget)}
    if scores.mixed:
        kept = [row for row, uid in enumerate(scores.uids) if uid in scores.kept]
        chosen[GIVEN] = np.array(kept, np.int64)
    for name, term, column in zip(
        _alone_names(scores), scores.terms, columns, strict=True
    ):
        chosen[name] = _best(-column if term.weight < 0 else column, budget)
    return chosen


def _alone_names(scores: StoredScores) -> list[str]:
    """Return what each score alone is called; with a negative weight, its least."""
    return [
        f"least {term.title} alone" if term.weight < 0 else f"{term.title} alone"
        for term in scores.terms
    ]


def _best(values: Floats, count: int) -> Ids:
    """Return the rows of the largest values, ties by uid, as the step `score` does."""
    order = np.argsort(-values, kind="stable")[:count]
    return np.asarray(np.sort(order), np.int64)


def _arm(name: str, rows: Ids, proxy: SmallModel, steps: int, seeds: int) -> TrainedArm:
    """Train on what one way to choose keeps, with every seed."""
    return train_arm(name, len(rows), partial(proxy.train, rows, steps), seeds)


def _told_terms(
    scores: StoredScores, weights: Sequence[float], learned: Floats
) -> list[Result]:
    """Return the weight of each score, its spread over seeds, and what was given."""
    spreads = learned.std(axis=0, ddof=1)
    return [
        {
            "name": term.title,
            "weight": weights[number],
            "spread": float(spreads[number]),
            "by_seed": learned[:, number].tolist(),
            "given": term.weight if scores.mixed else None,
        }
        for number, term in enumerate(scores.terms)
    ]


def _recipe(scores: StoredScores, weights: Sequence[float]) -> Result:
    """Return the part of a recipe that mixes the scores by these weights."""
    section: Result = {
        "terms": [
            _plain(term, weight)
            for term, weight in zip(scores.terms, weights, strict=True)
        ],
        "normalise": "standard",
    }
    if scores.section.model is not None:
        section["model"] = scores.section.model.model_dump(
            mode="json", exclude_defaults=True
        )
    return {scores.step if scores.mixed else "score": section}


def _plain(term: WeightedTerm, weight: float) -> Result:
    asked = term.model_dump(mode="json", exclude_defaults=True, exclude={"weight"})
    return {"method": term.method, **asked, "weight": weight}


def _against(
    arms: Sequence[TrainedArm], chosen: dict[str, Ids], budget: int
) -> list[Result]:
    """Return by how much the learned mixture is better than each other way.

    `rows_differ` is the share of the kept rows that the other way does not keep.
    """
    mixture = arms[0]
    return [
        {
            "selection": arm.name,
            "rows_differ": 1
            - len(np.intersect1d(chosen[LEARNED], chosen[arm.name])) / budget,
            **difference(mixture, arm, drawn=False),
        }
        for arm in arms[1:]
    ]


def _verdict(arms: Sequence[TrainedArm], alone: Sequence[str], main: str) -> Result:
    """Return the comparison with the best score alone, as one line.

    The best is so on the very rows that judge, which can only flatter it.
    """
    singles = [arm for arm in arms if arm.name in alone]
    best = max(singles, key=lambda arm: float(arm.figures[main].mean()))
    gap = difference(arms[0], best, drawn=False)[main]
    if gap["better"]:
        verdict = "better than the best single score"
    elif gap["high"] < 0:
        verdict = "not shown (worse than the best single score)"
    else:
        verdict = "not shown to be better than the best single score"
    return {
        "best_single": best.name,
        "better": gap["better"],
        "verdict": (
            f"{LEARNED}: {verdict}, {best.name}: {words_of(main)} {gap['mean']:+.4f} "
            f"[{gap['low']:+.4f}, {gap['high']:+.4f}]"
        ),
    }
