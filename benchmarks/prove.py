r"""Does `image_text` choose better than chance? On a pool that was spoilt on purpose.

    python benchmarks/prove.py --photos DIR --drawings DIR --model local-dir:DIR \
      --work DIR

The pool: photographs and drawings with informative captions, 30 % of them with another
row's caption, and 30 % more rows that are copies of others (the same picture, encoded
again). Held out: rows of both, clean. The recipe `image_text` is run for budgets of .2,
.4 and .6 of the pool, and proven against as many random rows. Prints Markdown.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import winnow
from PIL import Image

COLUMNS = ["uid", "text", "image"]
BUDGETS = (0.2, 0.4, 0.6)


def encoded_again(image: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(image)).convert("RGB").save(buffer, "JPEG", quality=70)
    return buffer.getvalue()


def read(folder: Path, rng: np.random.Generator, rows: int) -> pa.Table:
    """Rows whose caption stands in the folder at most three times."""
    table = pq.read_table(folder).select(COLUMNS)
    texts = table["text"].to_pylist()
    counts = dict.fromkeys(texts, 0)
    for text in texts:
        counts[text] += 1
    good = [i for i, t in enumerate(texts) if t and len(t) > 3 and counts[t] <= 3]
    return table.take(rng.permutation(good)[:rows])


def spoilt(clean: pa.Table, rng: np.random.Generator) -> pa.Table:
    """30 % wrong captions, then 30 % copies on top, encoded again."""
    rows = len(clean)
    wrong = np.flatnonzero(rng.random(rows) < 0.3)
    order = np.arange(rows)
    order[wrong] = np.roll(wrong, 1)
    pool = clean.set_column(1, "text", clean["text"].take(pa.array(order)))
    # 3 of 7 rows again: 30 % of the pool are then copies.
    copied = pool.take(rng.permutation(rows)[: round(rows * 3 / 7)])
    images = [encoded_again(image) for image in copied["image"].to_pylist()]
    copied = copied.set_column(
        0, "uid", pa.array([f"copy-{i:05d}" for i in range(len(copied))])
    )
    copied = copied.set_column(2, "image", pa.array(images, pa.binary()))
    return pa.concat_tables([pool, copied])


def span(gap: dict[str, float]) -> str:
    return f"{gap['mean']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}]"


def main() -> None:
    arguments = argparse.ArgumentParser()
    for name in ("photos", "drawings", "work"):
        arguments.add_argument(f"--{name}", type=Path, required=True)
    arguments.add_argument("--model", required=True)
    arguments.add_argument("--rows", type=int, default=1500, help="of each kind")
    arguments.add_argument("--held-out", type=int, default=600, help="of each kind")
    arguments.add_argument("--seeds", type=int, default=5)
    given = arguments.parse_args()
    rng = np.random.default_rng(0)
    parts = [
        read(f, rng, given.rows + given.held_out)
        for f in (given.photos, given.drawings)
    ]
    held = pa.concat_tables([part.slice(0, given.held_out) for part in parts])
    clean = pa.concat_tables([part.slice(given.held_out) for part in parts])
    for name, table in (("held", held), ("pool", spoilt(clean, rng))):
        (given.work / name).mkdir(parents=True, exist_ok=True)
        pq.write_table(table, given.work / name / "0.parquet", row_group_size=256)
    rows = pq.read_metadata(given.work / "pool" / "0.parquet").num_rows
    runs = []
    for budget in BUDGETS:
        out = given.work / f"image_text-{budget}"
        winnow.run("image_text", {
            "input.path": str(given.work / "pool"), "output.path": str(out),
            "output.report": False, "model.name": given.model, "model.pretrained": None,
            "score.keep_fraction": min(1.0, 1.45 * budget),
            "complexity.keep_count": round(rows * budget),
            "complexity.keep_fraction": None,
        }, from_runs=runs)  # fmt: skip
        runs.append(out)
    before = time.process_time()
    how, held_out = winnow.Proving(seeds=given.seeds), given.work / "held"
    proof = winnow.prove(runs, held_out, how, out=given.work / "proved")
    print("| budget | kept | AUC: kept, random, whole pool | kept less random ", end="")
    print("| recall at 5 | kept less random | kept less whole pool, AUC |")
    print("|---|---|---|---|---|---|---|")
    for budget, run in zip(BUDGETS, proof["runs"], strict=True):
        row = [str(budget), f"{run['kept']:,} of {rows:,}"]
        for metric in ("auc_random", "recall_at_5"):
            row.append(", ".join(f"{a[metric]['mean']:.4f}" for a in run["arms"]))
            row.append(span(run["against_random"][metric]))
        row.append(span(run["against_whole"]["auc_random"]))
        print(f"| {' | '.join(row)} |")
    print(*(run["verdict"] for run in proof["runs"]), sep="\n")
    print(f"{time.process_time() - before:.0f} CPU seconds of proving")


if __name__ == "__main__":
    main()
