"""`winnow prove`: whether what a run keeps trains better than random rows, and all.

The same small model is trained on what each run keeps, on as many random rows, and on
the whole pool, all for the same number of steps, and judged on rows that no run saw.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.algorithms.filter.proxy_heads import HeadSettings
from winnow.config.filter_train import FilterTrainConfig
from winnow.core.errors import ConfigError, InputError, QueryError
from winnow.core.hashing import keys
from winnow.core.progress import Progress
from winnow.filters.prove.arms import METHOD, TrainedArm, repeated, train_arm
from winnow.filters.prove.proxies import PairProxy, ProbeProxy, SmallModel, ZeroShot
from winnow.filters.prove.stored_rows import (
    ProofRows,
    embed_rows,
    embedding_recipe,
    held_out_recipe,
    kept_draws,
    read_rows,
    require_same_state,
    same_pool,
    without_leaks,
)
from winnow.filters.prove.verdict import compared
from winnow.flows.runner import EngineFactory
from winnow.models.query_vectors import QueryModel
from winnow.reports.run_view import RunView

Ids = npt.NDArray[np.int64]
Result = dict[str, Any]
Tell = Callable[[str], None]

#: Held-out rows that have a pool row this near are told of.
NEAR = 0.99
_BLOCK_ROWS = 512
_EXAMPLES = 5


@dataclass(frozen=True)
class Proving:
    """How `prove` trains and judges.

    label: column of the pool and of the held-out data with a class for each row. With
        captions its names are recognised without training (zero-shot), else a probe
        learns them.
    probe: learn the labels by a probe even where there are captions.
    seeds: trainings of each selection, from 2; each draws its own random rows.
    epochs: how often the kept rows are seen; all selections take as many steps.
    recipe: a filter's recipe (`flow: filter_train`), to train a whole model from images
        in place of heads on stored vectors; None: the heads.

    >>> winnow.Proving(label="category").seeds
    5
    """

    label: str | None = None
    probe: bool = False
    seeds: int = 5
    epochs: float = 10.0
    recipe: FilterTrainConfig | None = None

    def require(self) -> None:
        """Raise ConfigError for settings that cannot be."""
        if self.seeds < 2:
            raise ConfigError(
                f"--seeds is {self.seeds}; one training says nothing of chance, give 2 "
                "or more, better 5"
            )
        if not 0 < self.epochs <= 1000:
            raise ConfigError(f"--epochs is {self.epochs:g}; give 0 to 1000")
        if self.probe and self.label is None:
            raise ConfigError("--probe learns labels: name their column with --label")


@dataclass(frozen=True)
class ProofData:
    """The pool, what is held out of it, and what was left out."""

    pool: ProofRows
    held_out: ProofRows
    leaks: list[str]
    #: Held-out rows with a pool row at a cosine of NEAR; None: too many to look at.
    near: int | None


@dataclass(frozen=True)
class Workshop:
    """Where a proof works, and whom it tells.

    out: folder that keeps what had to be embedded; None: nothing is kept.
    """

    make_engine: EngineFactory
    out: Path | None = None
    progress: Progress | None = None
    tell: Tell = lambda _: None


def prove(
    runs: Sequence[Path], held_out: str, how: Proving, workshop: Workshop
) -> Result:
    """Return what each run's kept rows, random rows and the whole pool train.

    Raises RunError for runs of several pools or without vectors, ConfigError for
    settings that cannot be, InputError if nothing held out is left.
    """
    how.require()
    if not runs:
        raise ConfigError("prove: name a run")
    same_pool(runs)
    if how.recipe is not None:
        from winnow.filters.prove.recipe_proof import prove_by_recipe

        return prove_by_recipe(runs, held_out, how, workshop.out, workshop.tell)
    data = proof_data(runs[0], held_out, how.label, workshop)
    proxy = proxy_of(runs[0], data, how)
    proofs = []
    for run in runs:
        workshop.tell(f"{run}: {how.seeds} trainings each of kept, random and all rows")
        proofs.append(_prove_run(run, data.pool, proxy, how))
    return {
        "held_out": held_out,
        "held_out_rows": len(data.held_out),
        "leaks": {"rows": len(data.leaks), "examples": data.leaks[:_EXAMPLES]},
        "near_copies": data.near,
        "pool_rows": len(data.pool),
        "proxy": proxy.about,
        "metric": proxy.main,
        "seeds": how.seeds,
        "epochs": how.epochs,
        "method": METHOD,
        "runs": proofs,
    }


def proof_data(
    run: Path, held_out: str, label: str | None, workshop: Workshop
) -> ProofData:
    """Return the vectors of the pool and of the held-out rows that it lacks."""
    make_engine, progress = workshop.make_engine, workshop.progress
    with tempfile.TemporaryDirectory(prefix="winnow-prove-") as scratch:
        work = (workshop.out or Path(scratch)) / "vectors"
        config = embedding_recipe(run, None, work / "pool")
        embedded = embed_rows(config, [run], make_engine, progress)
        require_same_state(run, embedded)
        pool = read_rows(embedded, label)
        config, sources = held_out_recipe(run, held_out, work / "held_out")
        there = embed_rows(config, sources, make_engine, progress)
        clean, leaks = without_leaks(pool, read_rows(there, label))
        if pool.vectors.shape[1] != clean.vectors.shape[1]:
            raise ConfigError(
                f"{held_out}: its vectors have {clean.vectors.shape[1]} numbers, those "
                f"of the pool {pool.vectors.shape[1]}; embed both by one model"
            )
        return ProofData(pool, clean, leaks, _near(pool, clean))


def _near(pool: ProofRows, held_out: ProofRows) -> int | None:
    """Return how many held-out rows lie near one of the pool; None: too many to see."""
    if len(pool) * len(held_out) > 2 * 10**9:
        return None
    near = 0
    for start in range(0, len(held_out), _BLOCK_ROWS):
        part = held_out.vectors[start : start + _BLOCK_ROWS]
        near += int(((part @ pool.vectors.T).max(axis=1) >= NEAR).sum())
    return near


def proxy_of(
    run: Path, data: ProofData, how: Proving, settings: HeadSettings | None = None
) -> SmallModel:
    """Return what learns from these rows.

    Raises ConfigError if there are neither captions nor labels.
    """
    pairs = data.pool.images is not None and data.pool.texts is not None
    if pairs and not how.probe:
        zero_shot = None if how.label is None else _zero_shot(run, data.held_out)
        return PairProxy(data.pool, data.held_out, settings, zero_shot)
    if how.label is None:
        raise ConfigError(
            f"{run} has vectors of one kind, without captions to learn; name a column "
            "of labels with --label"
        )
    return ProbeProxy(data.pool, data.held_out, settings)


def _zero_shot(run: Path, held_out: ProofRows) -> ZeroShot:
    """Return the vectors of classes' names; a row without a class is none of them.

    Raises ConfigError without the run's model.
    """
    names = sorted({label for label in held_out.labels if label is not None})
    view = RunView(run)
    made_by = next(
        (m.facts["model"] for m in view.markers if m.facts.get("model")), None
    )
    model = QueryModel(view.config["model"], made_by)
    try:
        vectors = np.stack([model.of_text(name) for name in names])
    except QueryError as error:
        raise ConfigError(
            f"--label: classes cannot be recognised by name, as {error}; --probe "
            "learns them instead"
        ) from error
    number = {name: i for i, name in enumerate(names)}
    classes = [-1 if n is None else number[n] for n in held_out.labels]
    return ZeroShot(vectors.astype(np.float32), np.array(classes, np.int64))


def _prove_run(run: Path, pool: ProofRows, proxy: SmallModel, how: Proving) -> Result:
    number = {pool.uids[row]: row for row in proxy.usable.tolist()}
    draws = kept_draws(run)
    kept = [(number[uid], n) for uid, n in sorted(draws.items()) if uid in number]
    if not kept:
        raise InputError(f"{run} keeps no row that the model can learn from")
    rows = repeated([row for row, _ in kept], [n for _, n in kept])
    steps = proxy.steps(len(rows), how.epochs)
    budget = len(kept)
    arms = arms_of(proxy, rows, budget, pool, steps, how.seeds)
    return {
        "run": str(run),
        "kept": len(draws),
        "budget": budget,
        "share": budget / len(proxy.usable),
        "steps": steps,
        **compared(str(run), arms, proxy.main, budget),
    }


def arms_of(
    proxy: SmallModel, rows: Ids, budget: int, pool: ProofRows, steps: int, seeds: int
) -> list[TrainedArm]:
    """Train on the given rows, on `budget` random ones, and on all."""

    def on(chosen: Callable[[int], Ids], seed: int) -> Any:
        return proxy.train(chosen(seed), steps, seed)

    def random(seed: int) -> Ids:
        return random_rows(pool, proxy.usable, budget, seed)

    return [
        train_arm("kept", budget, partial(on, lambda _: rows), seeds),
        train_arm("random", budget, partial(on, random), seeds),
        train_arm(
            "whole pool", len(proxy.usable), partial(on, lambda _: proxy.usable), seeds
        ),
    ]


def random_rows(pool: ProofRows, usable: Ids, count: int, seed: int) -> Ids:
    """Return `count` rows by uid hash, others with each seed."""
    drawn = keys((pool.uids[row] for row in usable.tolist()), f"proof {seed}")
    order = np.argsort(drawn, kind="stable")[:count]
    return np.asarray(np.sort(usable[order]))
