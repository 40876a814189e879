"""What stands beside a trained filter: manifest, curves, quarantine, page and card."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.config.filter_train import FilterTrainConfig
from winnow.core.saved_files import DamagedError
from winnow.core.trained_files import (
    MANIFEST,
    read_manifest,
    require_as_trained,
    sealed_manifest,
)
from winnow.core.versions import releases
from winnow.filters.train import build as building
from winnow.filters.train.data import Pools
from winnow.filters.train.export import CONFIG, WEIGHTS
from winnow.filters.train.recipe import TrainingProgress
from winnow.filters.train.rows import LeftOut
from winnow.filters.train.state import write_whole
from winnow.models.local_model import LOCAL_DIR

_LEFT_OUT, _HELD_OUT, _CURVES = "quarantine.parquet", "held_out.txt", "curves.parquet"
#: What is not there for people, who may change page and card.
_SEALED = [WEIGHTS, CONFIG, _LEFT_OUT, _HELD_OUT, _CURVES]


@dataclass(frozen=True, slots=True)
class FilterResult:
    """A trained filter: its folder, held-out figures, and what was used.

    path: folder of the model in open_clip's `local-dir:` layout.
    auc: chance that a right caption outscores one of another image, 0 to 1, on pairs
        held out; the best of the training, whose weights are kept.
    trained_on: images.
    held_out: images.
    left_out: rows that were not used, by reason.
    steps: of the optimiser.
    last_auc: the AUC after the last step.

    >>> winnow.FilterResult(Path("filters/mine"), 0.9, 700, 300, {}, 500).name
    'local-dir:filters/mine'
    """

    path: Path
    auc: float
    trained_on: int
    held_out: int
    left_out: dict[str, int]
    steps: int
    last_auc: float = 0.5

    @property
    def name(self) -> str:
        """What a recipe's `model.name` takes."""
        return f"{LOCAL_DIR}{self.path}"


def starts(config: FilterTrainConfig) -> list[building.StartFrom]:
    """Return the weights that the model's parts start from."""
    model = config.model
    if model.start is None:
        architecture = model.architecture
        if isinstance(architecture, str) and architecture.startswith(LOCAL_DIR):
            return [building.StartFrom("all", architecture)]
        return []
    return [building.StartFrom(**start.model_dump()) for start in model.start]


def finished(
    out: Path, mark: str, tell: Callable[[str], None] = lambda line: None
) -> FilterResult | None:
    """Return what an earlier training of this fingerprint left, if it ended.

    What is no longer as it was written counts for nothing; `tell` says so.
    """
    try:
        manifest = read_manifest(out)
        if manifest.get("fingerprint") != mark:
            return None
        require_as_trained(out)
    except DamagedError as error:
        tell(f"{str(error).partition(';')[0]}: it is trained again")
        return None
    figures = manifest["result"]
    return FilterResult(
        out,
        figures["auc"],
        figures["trained_on"],
        figures["held_out"],
        figures["left_out"],
        figures["steps"],
        figures["last_auc"],
    )


def write_record(
    config: FilterTrainConfig,
    pools: Pools,
    progress: TrainingProgress,
    result: FilterResult,
    weights: dict[str, Any],
    mark: str,
) -> None:
    """Write quarantine, curves, hold-out, page and card; the manifest comes last."""
    from winnow.filters.page.training import write_pages

    out = result.path
    _write_left_out(out / _LEFT_OUT, pools.left_out)
    held = "".join(f"{uid}\n" for uid in sorted(pools.held_out))
    write_whole(out / _HELD_OUT, held)
    pq.write_table(pa.Table.from_pylist(progress.curve), out / _CURVES)
    manifest = {
        "fingerprint": mark,
        "result": {
            "auc": progress.best_auc,
            "best_step": progress.best_step,
            "last_auc": result.last_auc,
            "auc_by_pool": _by_pool(pools, progress),
            "steps": progress.step,
            "ended": progress.finished,
            "trained_on": result.trained_on,
            "held_out": result.held_out,
            "left_out": result.left_out,
            "rows": pools.rows,
            "seconds": progress.seconds,
            "waited_for_data": progress.waited / max(progress.seconds, 1e-9),
        },
        "weights": weights,
        "data": {
            "fingerprint": pools.fingerprint,
            "pools": [pool.model_dump(mode="json") for pool in config.data],
        },
        "starts": [
            {**asdict(start), "sha256": building.weights_sha256(start)}
            for start in starts(config)
        ],
        "seed": config.seed,
        "recipe": config.as_recipe(),
        "versions": _versions(),
    }
    write_pages(out, manifest, progress.curve)
    write_whole(out / MANIFEST, sealed_manifest(out, manifest, _SEALED))


def _by_pool(pools: Pools, progress: TrainingProgress) -> dict[str, float]:
    """Return the kept weights' AUC on the rows that each pool (by number) holds out."""
    numbers = sorted({pools.pairs[row].pool for row in pools.measured()})
    best = next(e for e in progress.curve if e["step"] == progress.best_step)
    return {str(n): v for n, v in zip(numbers, best["auc_by_pool"], strict=False)}


def _write_left_out(file: Path, left_out: list[LeftOut]) -> None:
    columns = {
        "uid": pa.array([row.uid for row in left_out], pa.string()),
        "pool": pa.array([row.pool for row in left_out], pa.int32()),
        "source": pa.array([row.source for row in left_out], pa.string()),
        "row": pa.array([row.row for row in left_out], pa.int64()),
        "reason": pa.array([row.reason for row in left_out], pa.string()),
    }
    pq.write_table(pa.table(columns), file)


def _versions() -> dict[str, str]:
    import open_clip
    import torch

    return {
        "winnow": releases(["datawinnow"])[0],
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "open_clip": str(open_clip.__version__),
    }
