"""Hard examples when data is plentiful, easy ones when it is scarce."""

from __future__ import annotations

import argparse
import time

import numpy as np
import winnow
from evidence_common import (
    SEEDS,
    Choice,
    Pairs,
    arguments,
    compare,
    fixed,
    gap,
    informative,
    joined,
    load,
    random_of,
    table,
    write,
)
from small_net import CLASSES, SIDE, classes_of, compare_nets, pixels_of
from winnow.filters.prove.arms import TrainedArm
from winnow.models.kmeans import train_kmeans


def perceptron() -> list[str]:
    shares = [(1.0, "hard"), (0.5, "hard"), (0.5, "easy")]
    rows = winnow.teacher_student([0.5, 1.0, 4.0, 8.0], shares, students=5)
    lines = [
        "| kept for each dimension | random | hardest half | easiest half |",
        "|---|---|---|---|",
    ]
    rows = rows.to_pylist()
    for alpha in (0.5, 1.0, 4.0, 8.0):
        cells = [
            f"{r['theory']:.3f} ({r['simulated']:.3f} ± {r['spread']:.3f})"
            for r in rows
            if r["alpha"] == alpha
        ]
        lines.append(f"| {alpha:g} | {' | '.join(cells)} |")
    return lines


def thirds(pool: Pairs) -> dict[str, Choice]:
    """The third of a pool farthest from its centroids, the nearest, and any."""
    centroids = train_kmeans(pool.images, 40, seed=0)
    far = 1 - (pool.images @ centroids.T).max(axis=1)
    order, count = np.argsort(far, kind="stable"), len(pool) // 3
    return {
        "hard": fixed(order[-count:]),
        "easy": fixed(order[:count]),
        "random": random_of(len(pool), count),
    }


def on_vectors(pairs: Pairs) -> list[str]:
    random = np.random.default_rng(0)
    good = random.permutation(informative(pairs))
    held, rest = pairs.take(good[:1000]), good[1000:]
    lines = []
    for word, size in (("scarce", 450), ("plentiful", 6000)):
        pool = pairs.take(rest[:size])
        arms = compare(pool, held, thirds(pool))
        lines += [f"### A pool that is {word}: {len(pool):,} rows", ""]
        lines += [*table(arms, ("auc_random", "recall_at_5")), ""]
        lines += gaps(arms, "auc_random", "AUC")
    return lines


def by_small_net(given: argparse.Namespace, pairs: Pairs) -> list[str]:
    classes = classes_of(pairs)
    named = np.random.default_rng(0).permutation(np.flatnonzero(classes >= 0))
    pixels = pixels_of(given.data / "clipart", pairs.uids)
    held, rest = named[:1500], named[1500:]
    lines = []
    for word, size, steps in (("scarce", 450, 150), ("plentiful", len(rest), 300)):
        rows = rest[:size]
        arms = compare_nets(
            (pixels[rows], classes[rows]),
            (pixels[held], classes[held]),
            thirds(pairs.take(rows)),
            steps,
        )
        lines += [f"### A pool that is {word}: {size:,} rows, {steps} steps", ""]
        lines += [*table(arms, ("accuracy",)), ""]
        lines += gaps(arms, "accuracy", "accuracy")
    return lines


def gaps(arms: dict[str, TrainedArm], metric: str, word: str) -> list[str]:
    return [
        gap(arms["hard"], arms["easy"], metric) + f" in {word};",
        gap(arms["hard"], arms["random"], metric, drawn=True) + ".",
        "",
    ]


def main() -> None:
    began = time.process_time()
    lines = [
        "Sorscher et al. 2022 (arXiv 2206.14486): a pool that is plentiful is best pruned",
        "to its hard examples, a scarce one to its easy ones.",
        "",
        "## The perceptron, exactly",
        "",
        "Error on fresh inputs by theory, in brackets of 5 simulated students (± standard",
        "error), half of the pool kept (in the paper's figure 1 curves cross likewise):",
        "",
        *perceptron(),
        "",
        "Shown: with few samples for each dimension the easiest half is better, with many",
        "the hardest.",
        "",
        "## Photographs and drawings on frozen vectors",
        "",
        "Two linear heads on stored vectors; hardness is the distance to the nearest of 40",
        f"centroids, as in the step `prototypes`; a third is kept; {SEEDS} seeds.",
        "",
    ]
    given = arguments()
    drawings = load(given, "clipart")
    lines += on_vectors(joined(load(given, "photos"), drawings))
    lines += [
        "## A small net, from pixels",
        "",
        f"Three layers of convolutions over {SIDE} × {SIDE} pixels, no weights of others;",
        f"it tells apart the {CLASSES} largest first-level categories of the drawings (the",
        "photographs have none); hardness and the third kept as above, by the CLIP's",
        f"vectors; the same steps for each, {SEEDS} seeds, 1,500 rows held out.",
        "",
    ]
    lines += by_small_net(given, drawings)
    write("sorscher", "Hard or easy examples", lines, began)


if __name__ == "__main__":
    main()
