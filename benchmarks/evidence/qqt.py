"""Does the best share to keep grow with the samples that a training sees?

Goyal et al. 2024: utility falls under repetition, so that filtering cannot be blind to
compute. `winnow budget` foretells the share; here every share is trained, too.
"""

from __future__ import annotations

import shutil
import time

import numpy as np
import winnow
from evidence_common import (
    arguments,
    informative,
    joined,
    load,
    with_wrong,
    write,
    write_pool,
)
from winnow.algorithms.filter.proxy_heads import HeadSettings
from winnow.filters.prove.arms import TrainedArm, train_arm
from winnow.filters.prove.proxies import PairProxy

HELD_OUT = 600
BUCKETS = 10
SAMPLES = (2_000, 8_000, 32_000, 128_000)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
SEEDS = 3
BATCH = 32


def trained(proxy: PairProxy, order: np.ndarray, samples: int) -> list[TrainedArm]:
    """Heads trained on each share of the best, all on so many samples."""
    steps = samples // BATCH
    arms = []
    for share in SHARES:
        rows = order[: round(share * len(order))]
        arms.append(
            train_arm(
                f"{share:.0%}",
                len(rows),
                lambda seed, rows=rows: proxy.train(rows, steps, seed),
                SEEDS,
            )
        )
    return arms


def figure(arm: TrainedArm) -> float:
    return 1 - float(arm.figures["auc_random"].mean())


def main() -> None:
    given = arguments()
    parts = []
    for name in ("photos", "clipart"):
        pairs = load(given, name)
        rows = np.random.default_rng(0).permutation(informative(pairs))
        parts.append((pairs.take(rows[:HELD_OUT]), pairs.take(rows[HELD_OUT:])))
    held = joined(*(part[0] for part in parts))
    pool, wrong = with_wrong(joined(*(part[1] for part in parts)), 0.3, 1)
    began = time.process_time()
    run = given.work / "runs" / "qqt"
    shutil.rmtree(run, ignore_errors=True)
    common = {
        "embed": {"image_column": "iv", "text_column": "tv"},
        "score": {"method": "alignment", "keep_fraction": 0.3},
    }
    winnow.run(
        {
            "input": {
                "path": str(write_pool(pool, given.work / "qqt_pool")),
                "columns": {"image": None},
            },
            "output": {"path": str(run), "report": False},
            "steps": ["embed", "score", "apply"],
            **common,
        }
    )
    spending = winnow.Spending(SAMPLES, BUCKETS)
    held_out = write_pool(held, given.work / "qqt_held")
    before = time.process_time()
    told = winnow.budget(run, held_out, spending)
    seconds = time.process_time() - before
    lines = [
        "Goyal et al. 2024 (arXiv 2404.07177): rows lose their worth as they come again, so",
        "that the best share grows with compute; of DataComp's medium pool LAION's filter,",
        "the best tenth, is overtaken by no filter beyond about 450 M samples seen.",
        "",
        f"Pool: {len(pool):,} photographs and drawings, {int(wrong.sum()):,} captions wrong,",
        f"ranked by `alignment`; judged on {len(held):,} clean rows; the heads of `prove`,",
        f"{told['seeds']} seeds; `winnow budget` took {seconds:.0f} CPU seconds.",
        "",
        *fitted(told),
        "",
    ]
    order = np.argsort(-np.einsum("ij,ij->i", pool.images, pool.texts), kind="stable")
    proxy = PairProxy(pool.rows, held.rows, HeadSettings(batch=BATCH))
    lines += [
        *compared(told, proxy, order),
        "",
        "The law has no room for rows that harm: where captions are wrong, the error grows",
        "with repetition, and their half-life is the least that a fit may choose. What else",
        "it misses, and by how much: [measured](../measurements.md#the-share-to-keep-by-samples-seen).",
    ]
    write("qqt", "The share to keep, by samples seen", lines, began)


def fitted(told: dict) -> list[str]:
    """Lines of Markdown: each tenth's errors, utility and half-life."""
    passes = [f"{p:g}" for p in told["passes"]]
    lines = [
        f"| tenth | {' | '.join(passes)} | utility | half-life in passes |",
        f"|{'---|' * (len(passes) + 3)}",
    ]
    for number, bucket in enumerate(told["buckets"]):
        errors = " | ".join(f"{e:.4f}" for e in bucket["errors"])
        spans = " | ".join(
            f"{s['value']:.2f} [{s['low']:.2f}, {s['high']:.2f}]"
            for s in (bucket["utility"], bucket["half_life"])
        )
        lines.append(f"| {number + 1} | {errors} | {spans} |")
    return [
        "Error, 1 − AUC, by passes over each tenth alone, best first, and the law's fit:",
        "",
        *lines,
    ]


def compared(told: dict, proxy: PairProxy, order: np.ndarray) -> list[str]:
    """Lines of Markdown: what is foretold, and what training each share gives."""
    lines = [
        f"Every share trained ({SEEDS} seeds) beside what the law recommends from tenths",
        "alone, with 95 % of fits on drawn seeds and rows; error 1 − AUC:",
        "",
        f"| samples | recommended | best trained | {' | '.join(f'{s:.0%}' for s in SHARES)} |",
        f"|{'---|' * (len(SHARES) + 3)}",
    ]
    for row in told["recommended"]:
        arms = trained(proxy, order, row["samples_seen"])
        best = min(arms, key=figure)
        lines.append(
            f"| {row['samples_seen']:,} "
            f"| {row['keep_fraction']:.0%} [{row['low']:.0%}, {row['high']:.0%}] "
            f"| {best.name} | {' | '.join(f'{figure(a):.4f}' for a in arms)} |"
        )
    return lines


if __name__ == "__main__":
    main()
