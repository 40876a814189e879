"""Half of a pool with copies is as good as all of it."""

from __future__ import annotations

import time

import numpy as np
from evidence_common import (
    SEEDS,
    Pairs,
    arguments,
    compare,
    fixed,
    gap,
    informative,
    joined,
    kept_by,
    load,
    random_of,
    table,
    write,
    write_pool,
)
from winnow.algorithms.filter.proxy_heads import unit


def main() -> None:
    began = time.process_time()
    given = arguments()
    photos, drawings = load(given, "photos"), load(given, "clipart")
    random = np.random.default_rng(0)
    good = random.permutation(informative(drawings))
    held_photos = random.permutation(len(photos))[:500]
    held = joined(photos.take(held_photos), drawings.take(good[:500]))
    some = np.setdiff1d(np.arange(len(photos)), held_photos)[:1500]
    left = np.setdiff1d(np.arange(len(drawings)), good[:500])
    clean = joined(photos.take(some), drawings.take(left))
    # Every third row once more, as near as another encoding of a picture is.
    again = random.permutation(len(clean))[: len(clean) // 3]
    copies = clean.take(again)
    noise = (
        random.normal(size=copies.images.shape) * 0.1 / np.sqrt(copies.images.shape[1])
    )
    copies = Pairs(
        [f"copy-{uid}" for uid in copies.uids],
        unit((copies.images + noise).astype(np.float32))[0],
        copies.texts,
        copies.captions,
        copies.categories,
    )
    both = joined(clean, copies)
    pool = write_pool(both, given.work / "semdedup_pool")
    number = {uid: row for row, uid in enumerate(both.uids)}
    choices, sizes = {}, {}
    for epsilon in (0.03, 0.07):
        recipe = {"steps": ["embed", "cluster", "semantic", "apply"],
                  "semantic": {"epsilon": epsilon}}  # fmt: skip
        kept = kept_by(given, f"semantic_{epsilon}", pool, recipe)
        choices[f"epsilon {epsilon}"] = fixed(np.array([number[uid] for uid in kept]))
        sizes[epsilon] = len(kept)
    half = choices["epsilon 0.07"](0)
    choices["random, as many as epsilon 0.07"] = random_of(len(both), len(half))
    choices["whole pool"] = fixed(np.arange(len(both)))
    arms = compare(both, held, choices, steps_of=len(half))
    lines = [
        "Abbas et al. 2023 (arXiv 2303.09540): half of a subset of LAION can go with minimal",
        "loss of performance, which halves the time of training.",
        "",
        f"Pool: {len(both):,} rows: {len(some):,} photographs, {len(left):,} drawings as",
        f"they are, and {len(copies):,} near copies of a third of them. All are trained for",
        "the same steps, judged on 500 photographs and 500 drawings with captions of their",
        f"own; {SEEDS} seeds.",
        "",
        *(
            f"- epsilon {e}: {n:,} rows stay, {n / len(both):.1%}"
            for e, n in sizes.items()
        ),
        "",
        *table(arms, ("auc_random", "recall_at_5")),
        "",
    ]
    for epsilon in sizes:
        said = gap(arms[f"epsilon {epsilon}"], arms["whole pool"], "auc_random")
        lines.append(f"- {said}, in AUC")
    one, other = arms["epsilon 0.07"], arms["random, as many as epsilon 0.07"]
    lines.append(f"- {gap(one, other, 'auc_random', drawn=True)}, in AUC")
    write("semdedup", "Half of the pool", lines, began)


if __name__ == "__main__":
    main()
