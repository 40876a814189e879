"""What the studies share: stored vectors of photographs and drawings, arms, pages."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import winnow
from winnow.algorithms.filter.proxy_heads import unit
from winnow.filters.prove.arms import TrainedArm, difference, train_arm
from winnow.filters.prove.proxies import PairProxy
from winnow.filters.prove.stored_rows import ProofRows

PAGES = Path(__file__).resolve().parents[2] / "docs" / "evidence"
SEEDS = 5
EPOCHS = 10.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", type=Path, default=Path("../shared/models/lite0"))
    parser.add_argument("--work", type=Path, default=Path("build/evidence"))
    parser.add_argument("--from", dest="runs", action="append", default=[])
    return parser.parse_args()


@dataclass(frozen=True)
class Pairs:
    """Pairs as unit vectors: n rows, with captions and categories."""

    uids: list[str]
    images: np.ndarray
    texts: np.ndarray
    captions: list[str]
    categories: list[str]

    def __len__(self) -> int:
        return len(self.uids)

    def take(self, rows: np.ndarray) -> Pairs:
        pick = [int(row) for row in rows]
        return Pairs(
            [self.uids[row] for row in pick],
            self.images[rows],
            self.texts[rows],
            [self.captions[row] for row in pick],
            [self.categories[row] for row in pick],
        )

    @property
    def rows(self) -> ProofRows:
        return ProofRows(self.uids, self.images, self.texts, [], [])


def joined(*parts: Pairs) -> Pairs:
    return Pairs(
        [uid for part in parts for uid in part.uids],
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.texts for part in parts]),
        [caption for part in parts for caption in part.captions],
        [category for part in parts for category in part.categories],
    )


def load(given: argparse.Namespace, name: str) -> Pairs:
    """Rows of DATA/NAME by the model's vectors, which are made once."""
    pool, out = given.data / name, given.work / name
    winnow.run(
        {
            "input": {"path": str(pool)},
            "model": {"name": f"local-dir:{given.model}", "precision": "bfloat16"},
            "output": {"path": str(out), "report": False},
            "steps": ["embed"],
        },
        from_runs=given.runs,
    )
    run = winnow.open(out)
    order = {uid: row for row, uid in enumerate(run.vectors()["uid"].to_pylist())}
    names = ["uid", "text", "category"]
    there = [
        n for n in names if n in pq.read_schema(next(pool.glob("*.parquet"))).names
    ]
    table = pq.read_table(pool, columns=there)
    table = table.filter(pa.array([uid in order for uid in table["uid"].to_pylist()]))
    rows = [order[uid] for uid in table["uid"].to_pylist()]
    images, texts = (
        unit(run.vectors().numpy(f"{m}_vector")[rows].astype(np.float32))[0]
        for m in ("image", "text")
    )
    of = table["category"].to_pylist() if "category" in there else [name] * len(rows)
    captions = [text or "" for text in table["text"].to_pylist()]
    return Pairs(table["uid"].to_pylist(), images, texts, captions, of)


def informative(pairs: Pairs) -> np.ndarray:
    """Rows whose caption stands at most three times."""
    counts: dict[str, int] = {}
    for caption in pairs.captions:
        counts[caption] = counts.get(caption, 0) + 1
    return np.array(
        [r for r, c in enumerate(pairs.captions) if len(c) > 3 and counts[c] <= 3]
    )


def with_wrong(pairs: Pairs, share: float, seed: int) -> tuple[Pairs, np.ndarray]:
    """The pairs, a share of them with the caption of another; and which."""
    random = np.random.default_rng(seed)
    wrong = np.flatnonzero(random.random(len(pairs)) < share)
    order = np.arange(len(pairs))
    order[wrong] = np.roll(wrong, 1)
    mixed = Pairs(
        pairs.uids,
        pairs.images,
        pairs.texts[order],
        [pairs.captions[row] for row in order],
        pairs.categories,
    )
    flags = np.zeros(len(pairs), bool)
    flags[wrong] = True
    return mixed, flags


def write_pool(pairs: Pairs, folder: Path) -> Path:
    """Write pairs with ready vectors, for runs that embed nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "uid": pairs.uids,
            "text": pairs.captions,
            "iv": pa.array(list(pairs.images), pa.list_(pa.float32())),
            "tv": pa.array(list(pairs.texts), pa.list_(pa.float32())),
        }
    )
    pq.write_table(table, folder / "0.parquet")
    return folder


def kept_by(
    given: argparse.Namespace, name: str, pool: Path, recipe: Mapping
) -> list[str]:
    """The uids that a recipe over ready vectors keeps."""
    out = given.work / "runs" / name
    winnow.run(
        {
            "input": {"path": str(pool), "columns": {"image": None}},
            "output": {"path": str(out), "report": False},
            "embed": {"image_column": "iv", "text_column": "tv"},
            **recipe,
        },
        replace=True,
    )
    return winnow.open(out).kept([])["uid"].to_pylist()


#: Rows by seed; fixed selections are the same with every seed.
Choice = Callable[[int], np.ndarray]


def compare(
    pool: Pairs, held: Pairs, choices: Mapping[str, Choice], steps_of: int | None = None
) -> dict[str, TrainedArm]:
    """Two heads trained on each choice for the same steps, with every seed."""
    proxy = PairProxy(pool.rows, held.rows)
    first = next(iter(choices.values()))
    steps = proxy.steps(steps_of or len(first(0)), EPOCHS)
    return {
        name: train_arm(
            name,
            len(rows(0)),
            lambda seed, rows=rows: proxy.train(rows(seed), steps, seed),
            SEEDS,
        )
        for name, rows in choices.items()
    }


def fixed(rows: np.ndarray) -> Choice:
    return lambda _: rows


def random_of(size: int, count: int) -> Choice:
    return lambda seed: np.random.default_rng([9, seed]).permutation(size)[:count]


def table(arms: Mapping[str, TrainedArm], metrics: tuple[str, ...]) -> list[str]:
    """Lines of Markdown: each arm's figures by mean and 95 % interval."""
    names = {"auc_random": "AUC", "recall_at_5": "recall at 5"}
    head = ["trained on", "rows", *(names.get(m, m) for m in metrics)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, arm in arms.items():
        summary = arm.summary()
        cells = [span(summary[m]) for m in metrics]
        lines.append(f"| {name} | {arm.rows:,} | {' | '.join(cells)} |")
    return lines


def span(value: Mapping[str, float], sign: str = "") -> str:
    mean, low, high = (f"{value[k]:{sign}.4f}" for k in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def gap(one: TrainedArm, other: TrainedArm, metric: str, drawn: bool = False) -> str:
    """The difference in words, and whether it shows."""
    value = difference(one, other, drawn=drawn)[metric]
    if value["low"] > 0:
        said = "better"
    elif value["high"] < 0:
        said = "worse"
    else:
        said = "no difference shown"
    return f"{one.name} less {other.name}: {span(value, '+')} ({said})"


def write(name: str, title: str, lines: list[str], began: float) -> None:
    """Write docs/evidence/NAME.md."""
    PAGES.mkdir(parents=True, exist_ok=True)
    seconds = time.process_time() - began
    end = f"Command: `python benchmarks/evidence/{name}.py`; {seconds:.0f} CPU seconds"
    text = "\n".join([f"# {title}", "", *lines, "", f"{end}, vectors apart."])
    (PAGES / f"{name}.md").write_text(text.rstrip() + "\n", encoding="utf-8")
    print(text)
