"""The paper's other filter, for comparison: clean against raw, on frozen vectors.

Fang et al. 2023 (arXiv 2309.17425, section 4) find it weaker than a contrastive filter.
`auc_random` says why: being clean is a property of each part, not of the match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.algorithms.filter.logistic import Logistic, fit_logistic
from winnow.config.filter_train import FilterTrainConfig
from winnow.core.errors import ConfigError, InputError
from winnow.core.extras import require
from winnow.core.trained_files import MANIFEST, sealed_manifest
from winnow.core.vectors import to_matrix
from winnow.filters.train.data import Pools, counted, open_pools, read_images
from winnow.filters.train.measure import auc, wrong_partners
from winnow.filters.train.state import write_whole
from winnow.models.embed import embed_batches
from winnow.models.encoder import ModelSpec, load_encoder

Tell = Callable[[str], None]
Vectors = npt.NDArray[np.float32]

_ROWS = 256
WEIGHTS, SCORES = "classifier.safetensors", "scores.parquet"


@dataclass(frozen=True, slots=True)
class ClassifierResult:
    """A fitted classifier: where it is, and what it tells apart on rows held out.

    path: its folder, with `scores.parquet` of the raw pool.
    auc: chance that a clean row outscores a raw one, 0 to 1.
    auc_random: chance that a right caption of a clean image outscores a wrong one.
    clean: clean pairs that were fitted.
    raw: raw pairs that were fitted.
    left_out: rows that were not used, by reason.

    >>> winnow.ClassifierResult(Path("filters/other"), 0.8, 0.5, 700, 700, {}).auc
    0.8
    """

    path: Path
    auc: float
    auc_random: float
    clean: int
    raw: int
    left_out: dict[str, int]


def train_classifier(config: FilterTrainConfig, tell: Tell) -> ClassifierResult:
    """Fit `data` (clean) against `raw`; write weights, manifest and scores of `raw`.

    Raises ConfigError without a raw pool or with a model without weights, InputError
    if a side has nothing left to train on.
    """
    if not config.raw:
        raise ConfigError("raw: kind: classifier needs a raw pool to tell from `data`")
    require("filters", "training a filter")
    out = Path(config.output.path).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    pools = open_pools([*config.data, *config.raw], config.seed)
    spec = _spec(config)
    tell(f"embedding {len(pools.pairs):,} pairs by {spec.name}")
    images, texts, rejected = _vectors(pools, spec)
    pools = pools.without(rejected)
    clean = np.array([pair.pool < len(config.data) for pair in pools.pairs])
    held = np.array([pair.uid in pools.held_out for pair in pools.pairs])
    spare = np.array([pair.uid in pools.spare for pair in pools.pairs])
    learns = ~held & ~spare
    rows = _columns(config, images, texts)
    for name, side in (("data", clean), ("raw", ~clean)):
        if not (side & learns).any():
            raise InputError(f"{name}: no row is left to train on")
    model = fit_logistic(
        rows[clean & learns], rows[~clean & learns], config.classifier.l2
    )
    scores = model.log_odds(rows)
    measured = np.flatnonzero(clean & held)
    result = ClassifierResult(
        out,
        auc(scores[clean & held], scores[~clean & held]) if held.any() else 0.5,
        _matching(config, pools, measured, (images, texts), model),
        int((clean & learns).sum()),
        int((~clean & learns).sum()),
        counted(pools.left_out),
    )
    _write_scores(out / SCORES, pools, scores, clean)
    _write(config, result, model, spec)
    return result


def _spec(config: FilterTrainConfig) -> ModelSpec:
    starts = config.model.start
    architecture = config.model.architecture
    if starts:
        name, pretrained = starts[0].weights, starts[0].pretrained
    elif isinstance(architecture, str):
        name, pretrained = architecture, None
    else:
        raise ConfigError("model.start: kind: classifier needs a model with weights")
    return ModelSpec(
        name,
        pretrained,
        precision=config.model.frozen_precision,
        max_pixels=config.model.max_pixels,
    )


def _batches(pools: Pools) -> Iterator[pa.RecordBatch]:
    for number, reader in enumerate(pools.readers):
        held: list[dict[str, Any]] = []
        pairs = [pair for pair in pools.pairs if pair.pool == number]
        for index, image, reason in read_images(pairs, reader):
            pair = pairs[index]
            held.append(
                {
                    "uid": pair.uid,
                    "image": None if reason else image,
                    "text": pair.captions[0],
                }
            )
            if len(held) == _ROWS:
                yield _batch(held)
                held = []
        if held:
            yield _batch(held)


def _batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    kinds = {"uid": pa.string(), "image": pa.binary(), "text": pa.string()}
    columns = {n: pa.array([row[n] for row in rows], t) for n, t in kinds.items()}
    return pa.RecordBatch.from_pydict(columns)


def _vectors(pools: Pools, spec: ModelSpec) -> tuple[Vectors, Vectors, dict[str, str]]:
    """Return vectors of the usable pairs in their order, and the others' reasons."""
    vectors_of: dict[str, tuple[Any, Any]] = {}
    rejected: dict[str, str] = {}
    for batch in embed_batches(_batches(pools), spec=spec):
        reasons = batch.column("reason").to_pylist()
        uids = batch.column("uid").to_pylist()
        usable = pa.array([reason is None for reason in reasons])
        rejected |= {u: r for u, r in zip(uids, reasons, strict=True) if r}
        kept = batch.filter(usable)
        pairs = zip(
            kept.column("uid").to_pylist(),
            to_matrix(kept.column("image_vector")),
            to_matrix(kept.column("text_vector")),
            strict=True,
        )
        vectors_of |= {uid: (image, text) for uid, image, text in pairs}
    order = [pair.uid for pair in pools.pairs if pair.uid in vectors_of]
    dim = load_encoder(spec).dim
    both = [
        np.array([vectors_of[uid][side] for uid in order], np.float32).reshape(-1, dim)
        for side in (0, 1)
    ]
    return both[0], both[1], rejected


def _columns(config: FilterTrainConfig, images: Vectors, texts: Vectors) -> Vectors:
    of = {"image": images, "text": texts}
    return np.concatenate([of[name] for name in config.classifier.vectors], axis=1)


def _matching(
    config: FilterTrainConfig,
    pools: Pools,
    rows: npt.NDArray[np.int64],
    vectors: tuple[Vectors, Vectors],
    model: Logistic,
) -> float:
    """Return the AUC of right against wrong captions of the clean rows held out."""
    images, texts = vectors
    pairs = [pools.pairs[row] for row in rows.tolist()]
    wrong = wrong_partners([p.uid for p in pairs], [p.captions for p in pairs])
    if not wrong:
        return 0.5
    one, other = np.array(wrong, np.int64).T
    right = _columns(config, images[rows], texts[rows])
    apart = _columns(config, images[rows][one], texts[rows][other])
    return auc(model.log_odds(right), model.log_odds(apart))


def _write(
    config: FilterTrainConfig,
    result: ClassifierResult,
    model: Logistic,
    spec: ModelSpec,
) -> None:
    from safetensors.numpy import save_file

    tensors = {"weights": model.weights, "bias": np.array([model.bias])}
    save_file(tensors, result.path / WEIGHTS)
    manifest = {
        "kind": "classifier",
        "result": {
            "auc": result.auc,
            "auc_random": result.auc_random,
            "clean": result.clean,
            "raw": result.raw,
            "left_out": result.left_out,
        },
        "encoder": load_encoder(spec).identity,
        "recipe": config.as_recipe(),
    }
    text = sealed_manifest(result.path, manifest, [WEIGHTS, SCORES])
    write_whole(result.path / MANIFEST, text)


def _write_scores(
    file: Path,
    pools: Pools,
    scores: npt.NDArray[np.float64],
    clean: npt.NDArray[np.bool_],
) -> None:
    raw = np.flatnonzero(~clean).tolist()
    columns = {
        "uid": pa.array([pools.pairs[row].uid for row in raw], pa.string()),
        "score": pa.array(scores[raw], pa.float64()),
    }
    pq.write_table(pa.table(columns), file)
