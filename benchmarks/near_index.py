"""How a text index answers after 1 to 1,000 additions: `near`, and a run against it.

    python benchmarks/near_index.py [--rows 10] [--start 10000]

An index of `--start` generated texts, then additions of `--rows` each. After 1, 10, 100
and 1,000 of them: the median of 300 answers of `near` from an index just opened, the
CPU seconds of the second of two runs of 1,000 texts against it, and its segments.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import winnow
from figures import record

ROUNDS = (1, 10, 100, 1000)
WORDS = np.array([f"word{number}" for number in range(5000)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=10)
    parser.add_argument("--start", type=int, default=10_000)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), random, options.start, options.rows)


def measure(folder: Path, random: np.random.Generator, start: int, rows: int) -> None:
    texts = written(folder / "start", random, start, "start")
    index = winnow.index(folder / "start", folder / "index")
    written(folder / "asked", random, 1000, "asked")
    against(folder)
    first = 0.0
    for number in range(1, ROUNDS[-1] + 1):
        written(folder / "more", random, rows, f"add{number}")
        index.add(folder / "more")
        if number in ROUNDS:
            segments = len(list((folder / "index").glob("segment-*")))
            near = median_of_near(folder, texts)
            first = first or near
            record(f"near after {number:,} additions / one", near / first, asked="<= 2")
            print(
                f"{number:5,} additions: near {near:.2f} ms, "
                f"a run {against(folder):.2f} CPU s, {segments} segments",
                flush=True,
            )


def written(
    folder: Path, random: np.random.Generator, rows: int, name: str
) -> list[str]:
    folder.mkdir(exist_ok=True)
    texts = [" ".join(WORDS[random.integers(0, 5000, 60)]) for _ in range(rows)]
    uids = [f"{name}-{row}" for row in range(rows)]
    pq.write_table(pa.table({"uid": uids, "text": texts}), folder / "0.parquet")
    return texts


def median_of_near(folder: Path, texts: list[str]) -> float:
    index = winnow.open_index(folder / "index")
    seconds = []
    for text in texts[:300]:
        begin = time.process_time()
        index.near(text=text + " more", min_jaccard=0.5)
        seconds.append(time.process_time() - begin)
    return 1000 * float(np.median(seconds))


def against(folder: Path) -> float:
    begin = time.process_time()
    with tempfile.TemporaryDirectory() as out:
        winnow.run(
            {
                "input": {
                    "path": str(folder / "asked"),
                    "columns": {"uid": "uid", "image": None, "text": "text"},
                },
                "output": {"path": out + "/run", "report": False},
                "steps": ["minhash", "apply"],
                "minhash": {"index": str(folder / "index")},
            }
        )
    return time.process_time() - begin


if __name__ == "__main__":
    sys.exit(main())
