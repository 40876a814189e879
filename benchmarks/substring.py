"""Repeated passages of generated text: seconds and peak memory of the whole job.

    python benchmarks/substring.py [--megabytes 1000] [--bytes 200] [--folder FOLDER]

Texts of 2,000 bytes, of words drawn by Zipf's law. Of ten one has a licence in it, one
a passage of 300 to 1,500 bytes of another text, and of a hundred one is a copy. The job
is `winnow run` with the step alone, reading and writing shards included; the kernel is
what it does with the text once it is mapped. Peak memory is resident memory, of which
the mapped text is a part that the system may take back.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from winnow import api
from winnow.algorithms.dedup import substrings

_SHARD_TEXTS = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--bytes", type=int, default=200)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        measure(folder, options.megabytes * 10**6, options.bytes)
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, size: int, length: int) -> None:
    (folder / "pool").mkdir()
    written = 0
    for number, texts in enumerate(shards(size)):
        uids = [f"{number:04d}-{i:06d}" for i in range(len(texts))]
        table = pa.table({"uid": uids, "text": pa.array(texts, pa.large_string())})
        pq.write_table(table, folder / f"pool/{number:04d}.parquet")
        written += sum(map(len, texts))
    print(f"{written:,} bytes of text, passages of {length}")
    kernel = substrings.repeated_passages
    # Compiling is no part of it.
    kernel(np.zeros(99, np.uint8), np.array([0, 99]), 9, threads=2)
    spent: list[tuple[float, float]] = []

    def timed(*given: object, **settings: object) -> substrings.Passages:
        start = seconds()
        passages = kernel(*given, **settings)  # type: ignore[arg-type]
        spent.append(tuple(np.subtract(seconds(), start)))
        return passages

    from winnow.steps import substring

    substring.repeated_passages = timed  # type: ignore[assignment]
    start = seconds()
    result = api.run(
        {
            "input": {
                "path": str(folder / "pool"),
                "columns": {"uid": "uid", "image": None, "text": "text"},
            },
            "output": {"path": str(folder / "run"), "report": False},
            "steps": ["substring", "apply"],
            "substring": {"min_bytes": length, "action": "cut"},
        }
    )
    wall, cpu = np.subtract(seconds(), start)
    (spans_folder,) = (folder / "run").rglob("spans")
    spans = pq.read_table(spans_folder).num_rows
    print(f"{spans:,} passages")
    print(f"kernel     {spent[0][0]:8.1f} s  {spent[0][1]:8.1f} CPU s")
    print(f"whole job  {wall:8.1f} s  {cpu:8.1f} CPU s")
    steps = {step["step"]: step for step in result.run.steps().to_pylist()}
    print(f"peak memory {steps['substring']['peak_rss_mb'] / 1024:.2f} GiB")


def seconds() -> tuple[float, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime


def shards(size: int) -> Iterator[list[str]]:
    random = np.random.default_rng(0)
    letters = random.integers(97, 123, (50_000, 12), dtype=np.uint8)
    lengths = random.integers(2, 12, 50_000)
    words = [bytes(row[:n]).decode() for row, n in zip(letters, lengths, strict=True)]
    vocabulary = np.array(words, object)
    chances = 1 / np.arange(2, 50_002)
    cumulative = np.cumsum(chances / chances.sum())
    licence = " ".join(vocabulary[random.integers(0, 50_000, 80)])
    earlier: list[str] = []
    while size > 0:
        texts: list[str] = []
        for kind in random.random(_SHARD_TEXTS):
            drawn = np.searchsorted(cumulative, random.random(280))
            text = " ".join(vocabulary[np.minimum(drawn, 49_999)])
            if kind < 0.1:
                text = text[:500] + licence + text[500:]
            elif kind < 0.2 and earlier:
                other = earlier[int(random.integers(len(earlier)))]
                passage = other[100 : 400 + int(random.integers(1200))]
                text = text[:700] + passage + text[700:]
            elif kind < 0.21 and earlier:
                text = earlier[int(random.integers(len(earlier)))]
            texts.append(text)
            size -= len(text)
            if size <= 0:
                break
        earlier = texts[::10]
        yield texts


if __name__ == "__main__":
    main()
