"""Soft-Cap Sampling: draw by score, less and less of what was drawn before.

Shechter & Carmon 2025 (arXiv 2503.08805, §3.3 and the authors' notebook): draw with
probability softmax(logits); whatever is drawn loses `penalty` from its logit; repeat
until the total is reached. They draw in rounds of `batch` rows without replacement.

Both forms here need one number for each row and draw, made from the row's own key, and
one exact cut for all rows, so that neither order nor shards matter:

- one by one, as a race: row i's next draw comes after an exponential waiting time of
  rate e^(s_i − penalty·draws so far). Waiting times have no memory, so the order in
  which draws arrive is that of repeated draws with those probabilities;
- in rounds: the `batch` largest of logit + Gumbel noise are a draw without replacement
  (Yellott 1977; Efraimidis & Spirakis 2006).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from winnow.numeric.compiled import compiled

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

#: More draws of one row than any total.
UNLIMITED = 2**62


def arrivals(
    logits: Floats, keys: Keys, penalty: float, until: float, limit: int = UNLIMITED
) -> tuple[Ids, Ids, Floats]:
    """Return every draw of a race that arrives up to log-time `until`.

    logits: (n,) finite float64; keys: (n,) uniform 64-bit numbers, one for each row;
    penalty: 0 or more, infinite for one draw at most; limit: most draws of a row, which
    leaves the race then (without a penalty: Hard-Cap Sampling). Returns for each draw
    its row, its number among that row's draws (from 0), and the logarithm of its time.
    A later `until` only adds draws.
    """
    counts = np.zeros(len(logits), np.int64)
    _count(logits, keys, penalty, until, limit, counts)
    total = int(counts.sum())
    rows = np.repeat(np.arange(len(logits)), counts)
    times = np.empty(total)
    _times(logits, keys, penalty, counts, times)
    starts = np.cumsum(counts) - counts
    return rows, np.arange(total) - np.repeat(starts, counts), times


def expected_draws(
    logits: Floats, penalty: float, until: float, limit: int = UNLIMITED
) -> float:
    """Return roughly how many draws `arrivals` gives: enough to aim at a total."""
    log_rate = np.minimum(logits + until, 700.0)
    if math.isinf(penalty):
        return float(-np.expm1(-np.exp(np.minimum(log_rate, 50.0))).sum())
    if penalty == 0:
        return float(np.minimum(np.exp(log_rate), limit).sum())
    # The mean count c obeys dc/dt = e^(s − penalty·c).
    counts = np.logaddexp(0.0, np.log(penalty) + logits + until) / penalty
    return float(np.minimum(counts, limit).sum())


def gumbel(keys: Keys, number: int) -> Floats:
    """Return standard Gumbel noise for the draw `number` of each key: (n,) float64."""
    noise = np.empty(len(keys))
    _gumbel(keys, number, noise)
    return noise


@compiled
def _uniform(key: np.uint64, number: int) -> float:
    """Return a number in (0, 1): SplitMix64's output `number` from state `key`."""
    state = key + np.uint64(number + 1) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state = state ^ (state >> np.uint64(31))
    return (float(state >> np.uint64(12)) + 0.5) * 2.0**-52


@compiled
def _next(before: float, logit: float, key: np.uint64, number: int) -> float:
    """Return the log-time of a draw that follows one at log-time `before`."""
    waited = math.log(-math.log(_uniform(key, number))) - logit
    larger, smaller = max(before, waited), min(before, waited)
    return larger + math.log1p(math.exp(smaller - larger))


@compiled
def _count(
    logits: Floats, keys: Keys, penalty: float, until: float, limit: int, counts: Ids
) -> None:
    for row in range(len(logits)):
        time, number = -np.inf, 0
        while number == 0 or (penalty < np.inf and number < limit):
            logit = logits[row] - (penalty * number if number else 0.0)
            time = _next(time, logit, keys[row], number)
            if not time <= until:
                break
            number += 1
        counts[row] = number


@compiled
def _times(
    logits: Floats, keys: Keys, penalty: float, counts: Ids, times: Floats
) -> None:
    draw = 0
    for row in range(len(logits)):
        time = -np.inf
        for number in range(counts[row]):
            logit = logits[row] - (penalty * number if number else 0.0)
            time = _next(time, logit, keys[row], number)
            times[draw] = time
            draw += 1


@compiled
def _gumbel(keys: Keys, number: int, noise: Floats) -> None:
    for row in range(len(keys)):
        noise[row] = -math.log(-math.log(_uniform(keys[row], number)))
