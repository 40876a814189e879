"""What a trusted pool is worth: the same filter, trained on ever less pure copies.

The ablation of Fang et al. 2023 (arXiv 2309.17425, section 4): the captions of a share
of the pool are handed to other images, and the held-out AUC is measured again. Pairs
held out stay right, and images and their frozen features are the same at all levels.
The AUC is that of the last step, since picking the best one would flatter noise.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev

from winnow.config.filter_train import FilterTrainConfig
from winnow.core.errors import ConfigError
from winnow.filters.train.run import train_filter
from winnow.filters.train.state import write_whole

Tell = Callable[[str], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Level:
    """Held-out AUC at one purity: of each seed, their mean and standard deviation."""

    purity: float
    aucs: tuple[float, ...]
    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Purity:
    """All levels, purest first; whether the means fall with every step."""

    path: Path
    levels: tuple[Level, ...]
    monotone: bool


def measure_purity(
    config: FilterTrainConfig,
    levels: Sequence[float],
    seeds: int,
    tell: Tell = _log.info,
) -> Purity:
    """Train at every level with `seeds` seeds, from the recipe's seed on.

    levels: shares of right captions, 0 to 1. Each seed holds out and shuffles other
    rows; what was trained before is not trained again. Raises ConfigError for a level
    outside of 0 to 1, and whatever `train_filter` raises.
    """
    wanted = sorted({float(level) for level in levels}, reverse=True)
    if not wanted or not all(0 <= level <= 1 for level in wanted):
        raise ConfigError("--levels: give shares of right captions, as in 1,.75,.5,.25")
    if seeds < 1:
        raise ConfigError("--seeds: at least 1")
    out = Path(config.output.path).expanduser()
    measured = []
    for level in wanted:
        aucs = []
        for seed in range(config.seed, config.seed + seeds):
            tell(f"purity {level:.0%}, seed {seed}")
            aucs.append(train_filter(_at(config, level, seed), tell).last_auc)
        spread = stdev(aucs) if len(aucs) > 1 else 0.0
        measured.append(Level(level, tuple(aucs), mean(aucs), spread))
    falls = all(a.mean > b.mean for a, b in itertools.pairwise(measured))
    result = Purity(out, tuple(measured), falls)
    _write(result)
    return result


def tell_purity(result: Purity) -> str:
    """Return the table, a line for each level."""
    lines = ["purity   mean AUC  deviation   by seed"]
    for level in result.levels:
        each = " ".join(f"{auc:.4f}" for auc in level.aucs)
        lines.append(
            f"{level.purity:6.0%}     {level.mean:.4f}     {level.deviation:.4f}   "
            + each
        )
    verdict = (
        "falls with every level" if result.monotone else "does not fall throughout"
    )
    told = f"The mean {verdict}; see" if len(result.levels) > 1 else "See"
    lines.append(f"{told} {result.path / 'purity.html'}")
    return "\n".join(lines)


def _at(config: FilterTrainConfig, level: float, seed: int) -> FilterTrainConfig:
    out = Path(config.output.path)
    output = config.output.model_copy(
        update={
            "path": str(out / f"purity-{level * 100:g}-seed-{seed}"),
            "cache": config.output.cache or str(out / "cache"),
        }
    )
    return config.model_copy(
        update={"seed": seed, "wrong_captions": 1 - level, "output": output}
    )


def _write(result: Purity) -> None:
    from winnow.filters.page.training import write_purity

    rows = [asdict(level) for level in result.levels]
    plain = {"levels": rows, "monotone": result.monotone}
    write_purity(result.path / "purity.html", rows, result.monotone)
    write_whole(result.path / "purity.json", json.dumps(plain, indent=1) + "\n")
