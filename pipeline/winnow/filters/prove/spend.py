"""`winnow budget`: the share to keep for a number of samples that training will see.

A small share of good rows comes again and again in a long training, and teaches less
each time; so the best share grows with the training (Goyal et al. 2024, arXiv
2404.07177). The proxy of `prove` measures how fast rows of each rank wear out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.algorithms.filter.proxy_heads import HeadSettings
from winnow.algorithms.filter.repetition import UtilityLaw, fit_law
from winnow.core.errors import ConfigError, InputError
from winnow.core.hashing import keys
from winnow.core.run_folder import RunFolder
from winnow.filters.prove.prove import Proving, Workshop, proof_data, proxy_of
from winnow.filters.prove.proxies import SmallModel
from winnow.filters.prove.stored_rows import HERE, ProofRows, kept_draws
from winnow.filters.prove.tune import budget_step
from winnow.flows.what_if import tried
from winnow.numeric.threads import one_blas_thread

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Result = dict[str, Any]

#: Small, so that one pass over a bucket takes many steps: else a fit would be of the
#: optimiser's first steps, not of the rows.
BATCH = 32
LEAST_ROWS = 20 * BATCH
#: Rows of a bucket that are trained on; of more, those first by uid hash.
MOST_ROWS = 3_000
#: Passes over a bucket that are measured; what lies below 1 repeats no row.
PASSES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_MOST_BUCKETS = 10
_MOST_PASSES = 1_000
_DRAWS = 200
_NESTED = 0.95

METHOD = (
    "Error y = a·n₁^b₁·Π(n_j/n_{j−1})^b_j + d after n_j samples in j epochs, with "
    "b_j = b·(1/2)^((j−1)/τ), fitted by least squares of log y, a and d common to all "
    "buckets; the p best buckets together have the mean of their b_j with half-lives "
    "p·τ (Goyal et al. 2024, arXiv 2404.07177, Theorem 1). Intervals: 2.5 and 97.5 % "
    f"of {_DRAWS} fits on seeds and held-out rows drawn with repetition"
)


@dataclass(frozen=True)
class Spending:
    """How much training a selection is for, and how its rows are measured.

    samples_seen: numbers of samples that a training will see, each row counted as often
        as it comes.
    buckets: how many parts of equal size the rows are divided into by rank, 2 to 10.
        None: as many as have 640 rows each.
    how: what is trained, and how often; its `epochs` are not used. None: Proving().

    >>> winnow.Spending([100_000, 1_000_000]).buckets is None
    True
    """

    samples_seen: Sequence[int]
    buckets: int | None = None
    how: Proving | None = None

    def require(self) -> Proving:
        """Return what is trained; raises ConfigError for settings that cannot be."""
        how = self.how or Proving()
        how.require()
        if how.recipe is not None:
            raise ConfigError("budget trains many small models: leave --recipe out")
        if not self.samples_seen or min(self.samples_seen) < 1:
            raise ConfigError("--samples-seen: give one number from 1, or more")
        if self.buckets is not None and not 2 <= self.buckets <= _MOST_BUCKETS:
            raise ConfigError(
                f"--buckets is {self.buckets}; give 2 to {_MOST_BUCKETS}, or leave it "
                "out"
            )
        return how


def spend(run: Path, held_out: str, spending: Spending, workshop: Workshop) -> Result:
    """Return the share to keep for each number of samples seen.

    The rows that reach the run's last step with a budget are ranked as that step ranks
    them. Raises ConfigError for settings that cannot be or a step that does not rank,
    InputError for too few rows, and what `prove` raises.
    """
    how = spending.require()
    step = budget_step(run)
    reaching = next(m.rows_in for m in RunFolder(run).markers() if m.step == step)
    buckets = _buckets(reaching, spending)
    data = proof_data(run, held_out, how.label, workshop)
    proxy = proxy_of(run, data, how, HeadSettings(batch=BATCH))
    rows = _of_equal_size(
        _ranked(run, step, reaching, buckets, workshop), data.pool, proxy
    )
    size = len(rows[0])
    workshop.tell(
        f"{buckets} buckets of {size:,} rows: {how.seeds} trainings each of "
        f"{', '.join(f'{p:g}' for p in PASSES)} passes"
    )
    figures = _measure(proxy, rows, how.seeds)
    laws = [law.resized(reaching / buckets) for law in _fits(figures, size)]
    return {
        "run": str(run),
        "step": step,
        "held_out": held_out,
        "held_out_rows": len(data.held_out),
        "leaks": {"rows": len(data.leaks), "examples": data.leaks[:5]},
        "near_copies": data.near,
        "rows": reaching,
        "trained_rows": size,
        "metric": proxy.main,
        "proxy": proxy.about,
        "seeds": how.seeds,
        "passes": list(PASSES),
        "method": METHOD,
        "scale": laws[0].scale,
        "floor": laws[0].floor,
        "buckets": _told_buckets(laws, figures),
        "recommended": [
            _recommend(laws, samples, reaching) for samples in spending.samples_seen
        ],
    }


def _buckets(reaching: int, spending: Spending) -> int:
    """Return how many buckets; raises for too few rows, or for too long a training."""
    buckets = spending.buckets or min(_MOST_BUCKETS, reaching // LEAST_ROWS)
    if buckets < 2 or reaching // buckets < LEAST_ROWS:
        raise InputError(
            f"{reaching:,} rows are too few for {max(buckets, 2)} buckets: each needs "
            f"{LEAST_ROWS} rows, or a pass over it would be too few steps to tell rows "
            "from the optimiser's start; take fewer buckets or a larger pool"
        )
    most = max(spending.samples_seen)
    if most > _MOST_PASSES * reaching:
        raise ConfigError(
            f"--samples-seen: {most:,} is more than {_MOST_PASSES} passes over all "
            f"{reaching:,} rows; repetition was measured up to {PASSES[-1]:g}"
        )
    return buckets


def _ranked(
    run: Path, step: str, reaching: int, buckets: int, workshop: Workshop
) -> list[list[str]]:
    """Return uids by bucket, the best first: what each larger budget adds.

    Raises ConfigError if larger budgets let go rows that smaller ones keep.
    """
    ranked: list[list[str]] = []
    seen: set[str] = set()
    for number in range(1, buckets + 1):
        count = round(number * reaching / buckets)
        workshop.tell(f"what if {step} kept {count:,} rows")
        asked = [f"{step}.keep_fraction=null", f"{step}.keep_count={count}"]
        with tried(run, [*asked, HERE], workshop.make_engine) as other:
            kept = set(kept_draws(other.path))
        if len(seen & kept) < _NESTED * len(seen):
            raise ConfigError(
                f"{run}: `{step}` with {count:,} rows lets go {len(seen - kept):,} "
                "that it keeps with fewer, so it does not rank rows; end the recipe "
                "with a step that does, such as `score`"
            )
        ranked.append(sorted(kept - seen))
        seen |= kept
    return ranked


def _of_equal_size(
    ranked: Sequence[Sequence[str]], pool: ProofRows, proxy: SmallModel
) -> list[Ids]:
    """Return as many rows of each bucket, by uid hash, that the model can learn from.

    Raises InputError if a bucket has too few.
    """
    number = {pool.uids[row]: row for row in proxy.usable.tolist()}
    usable = [[uid for uid in uids if uid in number] for uids in ranked]
    size = min(MOST_ROWS, *(len(uids) for uids in usable))
    if size < LEAST_ROWS:
        raise InputError(
            f"a bucket has {size:,} rows that the model can learn from, and needs "
            f"{LEAST_ROWS}; take fewer buckets or a larger pool"
        )
    chosen = []
    for uids in usable:
        order = np.argsort(keys(uids, "budget"), kind="stable")[:size]
        chosen.append(np.sort(np.array([number[uids[i]] for i in order], np.int64)))
    return chosen


def _measure(proxy: SmallModel, buckets: Sequence[Ids], seeds: int) -> Floats:
    """Return the main figure: (buckets, passes, seeds, held-out rows)."""
    with one_blas_thread():
        return np.array(
            [
                [
                    [
                        proxy.train(rows, _steps(passes, len(rows)), seed)[proxy.main]
                        for seed in range(seeds)
                    ]
                    for passes in PASSES
                ]
                for rows in buckets
            ]
        )


def _steps(passes: float, rows: int) -> int:
    return max(1, round(passes * rows / BATCH))


def _fits(figures: Floats, size: int) -> list[UtilityLaw]:
    """Return the law of all figures, then those of draws of seeds and images."""
    seeds, images = figures.shape[2:]
    samples = [_steps(passes, size) * BATCH for passes in PASSES]
    # A figure without a fault on so many rows stands for half a fault.
    least = 0.5 / images
    fits = []
    random = np.random.default_rng(0)
    for draw in range(_DRAWS + 1):
        by_seed, by_image = _counts(random, seeds, draw), _counts(random, images, draw)
        means = figures @ by_image @ by_seed / (seeds * images)
        fits.append(fit_law(samples, np.maximum(1 - means, least), size))
    return fits


def _counts(random: np.random.Generator, units: int, draw: int) -> Ids:
    """Return how often each unit is drawn; draw 0 has each once."""
    if draw == 0:
        return np.ones(units, np.int64)
    return np.asarray(random.multinomial(units, np.full(units, 1 / units)), np.int64)


def _told_buckets(laws: Sequence[UtilityLaw], figures: Floats) -> list[Result]:
    """Return what was measured of each bucket, and fitted, with intervals."""
    errors = 1 - figures.mean(axis=(2, 3))
    told = []
    for row in range(len(errors)):
        lives = np.array([law.half_lives[row] for law in laws])
        told.append(
            {
                "errors": errors[row].tolist(),
                "utility": _span(np.array([law.utilities[row] for law in laws])),
                "half_life": _span(lives),
            }
        )
    return told


def _span(values: Floats) -> Result:
    """Return the first value with the bounds of the others."""
    low, high = np.quantile(values[1:], [0.025, 0.975]).tolist()
    return {"value": float(values[0]), "low": low, "high": high}


def _recommend(laws: Sequence[UtilityLaw], samples: int, reaching: int) -> Result:
    """Return the share to keep for so many samples seen, with what speaks for it."""
    buckets = len(laws[0].utilities)
    shares = np.array([law.best(samples) for law in laws]) / buckets
    errors = laws[0].of_best(samples)
    passes = samples / (float(shares[0]) * reaching)
    return {
        "samples_seen": samples,
        "keep_fraction": float(shares[0]),
        "low": float(np.quantile(shares[1:], 0.025, method="lower")),
        "high": float(np.quantile(shares[1:], 0.975, method="higher")),
        "chosen_by": float((shares[1:] == shares[0]).mean()),
        "passes": passes,
        "beyond_measured": passes > PASSES[-1],
        "errors": {
            f"{(count + 1) / buckets:.3g}": float(error)
            for count, error in enumerate(errors)
        },
    }
