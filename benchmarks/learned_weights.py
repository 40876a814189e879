r"""Weights of scores by the meta-gradient of a held-out loss, against each score alone.

    python benchmarks/learned_weights.py --photos DIR --filter local-dir:DIR --work DIR

A filter trained by `filter_photos`; the photographs that it held out, half of them with
another's caption, kept at half: the share of right captions among the kept, by each
score alone, by their mean, and by learned weights, over 5 seeds. The trusted pairs of
the held-out loss are photographs that the filter was trained on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import winnow
from winnow.algorithms.filter.proxy_heads import unit
from winnow.algorithms.filter.score_weights import learn_weights, normal_scores
from winnow.numeric.threads import one_blas_thread

METHODS = ("alignment", "alignment_mirrored", "neg_clip_loss")


def vectors(run: winnow.Run, uids: list[str]) -> tuple[np.ndarray, np.ndarray]:
    stored = run.vectors()
    number = {uid: row for row, uid in enumerate(stored["uid"].to_pylist())}
    rows = [number[uid] for uid in uids]
    one, other = (stored.numpy(f"{m}_vector")[rows] for m in ("image", "text"))
    return unit(one.astype(np.float32))[0], unit(other.astype(np.float32))[0]


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("photos", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--filter", required=True)
    given = parser.parse_args()
    folder = Path(given.filter.removeprefix("local-dir:"))
    held = set((folder / "held_out.txt").read_text().split())
    table = pq.read_table(given.photos).select(["uid", "text", "image"])
    inside = np.array([uid in held for uid in table["uid"].to_pylist()])
    pool, trusted = table.filter(pa.array(inside)), table.filter(pa.array(~inside))
    trusted = trusted.slice(0, 500)
    random = np.random.default_rng(0)
    wrong = np.flatnonzero(random.permutation(len(pool)) < len(pool) // 2)
    order = np.arange(len(pool))
    order[wrong] = np.roll(wrong, 1)
    pool = pool.set_column(1, "text", pool["text"].take(pa.array(order)))
    bad = np.isin(np.arange(len(pool)), wrong)
    runs = []
    for name, rows in (("trusted", trusted), ("pool", pool)):
        (given.work / name).mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, given.work / name / "0.parquet", row_group_size=256)
    base = {"model": {"name": given.filter, "precision": "bfloat16"}}
    out = {"report": False}
    clean = winnow.run(
        {**base, "input": {"path": str(given.work / "trusted")}, "steps": ["embed"],
         "output": {**out, "path": str(given.work / "run-trusted")}}
    ).run  # fmt: skip
    columns = []
    uids = pool["uid"].to_pylist()
    for method in METHODS:
        recipe = {
            **base,
            "input": {"path": str(given.work / "pool")},
            "steps": ["embed", "score"],
            "score": {"method": method, "keep_fraction": 0.5},
            "output": {**out, "path": str(given.work / f"run-{method}")},
        }
        run = winnow.run(recipe, from_runs=runs).run
        runs.append(run.path)
        ledger = run.ledger("score")
        pairs_of = ledger["uid"].to_pylist(), ledger["score"].to_pylist()
        score = dict(zip(*pairs_of, strict=True))
        columns.append([score[uid] for uid in uids])
    scores = normal_scores(np.array(columns, float).T)
    pairs, targets = vectors(run, uids), vectors(clean, trusted["uid"].to_pylist())

    def right(values: np.ndarray) -> float:
        best = np.argsort(-values, kind="stable")[: len(values) // 2]
        return float(1 - bad[best].mean())

    for number, method in enumerate(METHODS):
        print(f"{method}: {right(scores[:, number]):.1%}")
    print(f"mean of all: {right(scores.mean(axis=1)):.1%}")
    before, learned = time.process_time(), []
    with one_blas_thread():
        for seed in range(5):
            weights = learn_weights(scores, pairs, targets, seed=seed)
            learned.append(right(scores @ weights))
            shown = np.round(weights, 2).tolist()
            print(f"seed {seed}: weights {shown}: {learned[-1]:.1%}")
    half = 2.776 * np.std(learned, ddof=1) / np.sqrt(5)
    print(f"learned weights: {np.mean(learned):.2%} ± {half:.2%} (95 %, 5 seeds), ")
    print(f"{time.process_time() - before:.0f} CPU seconds of learning")


if __name__ == "__main__":
    main()
