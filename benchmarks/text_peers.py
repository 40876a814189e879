"""Near-duplicate texts: the whole job by Winnow and its peers, judged by brute force.

    python benchmarks/text_peers.py [--data SHARDS] [--rows N] [--only NAME …]

Every peer removes duplicates at a Jaccard similarity of .8 of words' 5-grams from the
same texts, as its documentation says, with 128 permutations, one after the other in one
process. A removal is wrong if no kept row is that similar; a pair is left if both of
its rows are kept. The truth is every pair's exact similarity. Peers that are not
installed are left out and named: `pip install 'datawinnow[peers]'`.

`--rows` repeats the texts with a new word after every third, for the time alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse
from winnow.algorithms.dedup import banding, minhash
from winnow.algorithms.dedup.jaccard import text_similarity
from winnow.algorithms.dedup.verification import decide

BESIDE = Path(__file__).resolve().parents[2] / "shared"
TEXTS = Path(os.environ.get("WINNOW_SHARED", BESIDE)) / "data/texts"
THRESHOLD, NGRAM, PERMUTATIONS = 0.8, 5, 128

#: Texts and a folder to the numbers of the rows that go.
Job = Callable[[list[str], Path], set[int]]


class Cost(NamedTuple):
    wall: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=TEXTS)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--only", nargs="*", choices=list(JOBS), default=list(JOBS))
    options = parser.parse_args()
    logging.disable(logging.INFO)
    texts = pq.read_table(options.data, columns=["text"])["text"].to_pylist()
    pairs = None
    if options.rows:
        texts = list(repeated(texts, options.rows))
    else:
        pairs = similar_pairs(texts)
    print(
        f"{len(texts):,} texts of about {np.mean([len(t) for t in texts]):.0f} letters"
    )
    if pairs is not None:
        print(f"{len(pairs):,} pairs of at least {THRESHOLD}")
    print(f"{'':34s} removed   wrong    left   seconds  CPU s")
    for name in options.only:
        needs, job = JOBS[name]
        if needs and importlib.util.find_spec(needs) is None:
            print(f"{name:34s} is not installed: left out")
            continue
        with tempfile.TemporaryDirectory() as folder:
            removed, cost = measured(job, texts, Path(folder))
        verdict = "       –       –"
        if pairs is not None:
            wrong, left = judged(removed, pairs)
            verdict = f"{wrong:8,}{left:8,}"
        print(
            f"{name:34s}{len(removed):8,}{verdict}{cost.wall:10.1f}{cost.cpu:7.1f}",
            flush=True,
        )


def repeated(texts: list[str], rows: int) -> Iterator[str]:
    """Yield the texts over and over, each round with other words between."""
    for number in range(rows):
        words = texts[number % len(texts)].split()
        round_ = number // len(texts)
        if round_:
            words[::3] = [f"{word}{round_}" for word in words[::3]]
        yield " ".join(words)


def measured(job: Job, texts: list[str], folder: Path) -> tuple[set[int], Cost]:
    def seconds() -> float:
        usages = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        used = [resource.getrusage(who) for who in usages]
        return sum(usage.ru_utime + usage.ru_stime for usage in used)

    wall, cpu = time.perf_counter(), seconds()
    removed = job(texts, folder)
    return removed, Cost(time.perf_counter() - wall, seconds() - cpu)


def similar_pairs(texts: list[str]) -> np.ndarray:
    """Return every pair (i, j), i < j, of at least THRESHOLD: sets multiplied."""
    bounds, hashes = minhash.shingle_sets(texts, ngram=NGRAM)
    _, column = np.unique(hashes, return_inverse=True)
    sizes = np.diff(bounds)
    sets = scipy.sparse.csr_array((np.ones(len(column), np.int32), column, bounds))
    transposed = sets.T.tocsr()
    found = []
    for first in range(0, len(texts), 1000):
        shared = (sets[first : first + 1000] @ transposed).tocoo()
        left, right = shared.row + first, shared.col
        union = sizes[left] + sizes[right] - shared.data
        near = (shared.data >= THRESHOLD * union - 1e-12) & (left < right)
        found.append(np.stack([left[near], right[near]], axis=1))
    return np.concatenate(found)


def judged(removed: set[int], pairs: np.ndarray) -> tuple[int, int]:
    """Return the wrong removals and the pairs left."""
    gone = np.zeros(int(pairs.max(initial=max(removed, default=0))) + 1, bool)
    gone[list(removed)] = True
    left = int((~gone[pairs]).all(axis=1).sum())
    kept_twin = np.zeros(len(gone), bool)
    for one, other in ((0, 1), (1, 0)):
        kept_twin[pairs[~gone[pairs[:, other]], one]] = True
    return int((gone & ~kept_twin).sum()), left


def shingles(text: str) -> list[str]:
    words = text.split()
    count = max(len(words) - NGRAM + 1, 1)
    return [" ".join(words[i : i + NGRAM]) for i in range(count)]


def by_winnow(texts: list[str], folder: Path, *, report: bool = False) -> set[int]:
    from winnow import api

    uids = [f"{i:08d}" for i in range(len(texts))]
    (folder / "pool").mkdir()
    pq.write_table(pa.table({"uid": uids, "text": texts}), folder / "pool/0.parquet")
    columns = {"uid": "uid", "image": None, "text": "text"}
    api.run(
        {
            "input": {"path": str(folder / "pool"), "columns": columns},
            "output": {"path": str(folder / "run"), "report": report},
            "steps": ["minhash", "apply"],
            "minhash": {"threshold": THRESHOLD, "allow_large_clusters": True},
        }
    )
    ledger = pq.read_table(folder / "run/ledger/step=minhash").to_pylist()
    return {int(row["uid"]) for row in ledger if not row["keep"]}


def by_winnow_with_page(texts: list[str], folder: Path) -> set[int]:
    return by_winnow(texts, folder, report=True)


def by_winnow_kernels(texts: list[str], folder: Path) -> set[int]:
    column = pa.array(texts, pa.large_string())
    threads = os.cpu_count() or 1
    settings: dict[str, Any] = {"ngram": NGRAM, "unit": "auto", "threads": threads}
    signatures = minhash.signatures(column, num_perm=PERMUTATIONS, **settings)
    shape = banding.bands_for_recall(THRESHOLD, PERMUTATIONS, 0.94)
    present = ~minhash.is_empty(signatures)
    digests = banding.band_digests(signatures, *shape)
    verdict = decide(
        banding.buckets(digests, present, threads),
        len(texts),
        text_similarity(column, **settings),
        THRESHOLD,
    )
    return set(np.flatnonzero(verdict.keeper != np.arange(len(texts))).tolist())


def by_datasketch(texts: list[str], folder: Path) -> set[int]:
    import datasketch

    index = datasketch.MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    removed = set()
    for number, text in enumerate(texts):
        sketch = datasketch.MinHash(num_perm=PERMUTATIONS)
        sketch.update_batch([piece.encode() for piece in shingles(text)])
        if index.query(sketch):
            removed.add(number)
        else:
            index.insert(number, sketch)
    return removed


def by_rensa(texts: list[str], folder: Path) -> set[int]:
    import rensa

    index = rensa.RMinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS, num_bands=16)
    kept: dict[int, Any] = {}
    for number, text in enumerate(texts):
        sketch = rensa.RMinHash(num_perm=PERMUTATIONS, seed=1)
        sketch.update(shingles(text))
        near = (kept.get(other) for other in index.query(sketch))
        if not any(other and sketch.jaccard(other) >= THRESHOLD for other in near):
            index.insert(number, sketch)
            kept[number] = sketch
    return set(range(len(texts))) - kept.keys()


def by_gaoya(texts: list[str], folder: Path) -> set[int]:
    from gaoya.minhash import MinHashStringIndex

    index = MinHashStringIndex(
        32, THRESHOLD, 16, PERMUTATIONS // 16, None, "word", False, (NGRAM, NGRAM)
    )
    removed = set()
    for number, text in enumerate(texts):
        if index.query(text):
            removed.add(number)
        else:
            index.insert_document(number, text)
    return removed


def by_text_dedup(texts: list[str], folder: Path) -> set[int]:
    import datasets
    from text_dedup.minhash import main as deduplicate

    table = pa.table({"number": range(len(texts)), "text": texts})
    pq.write_table(table, folder / "texts.parquet")
    options = {
        "path": "parquet",
        "data_files": str(folder / "texts.parquet"),
        "split": "train",
        "cache_dir": str(folder / "cache"),
        "output": str(folder / "out"),
        "column": "text",
        "ngram": NGRAM,
        "num_perm": PERMUTATIONS,
        "threshold": THRESHOLD,
        "min_length": 1,
        "num_proc": 2,
    }
    line = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    deduplicate(line, standalone_mode=False)
    kept = set(datasets.load_from_disk(str(folder / "out"))["number"])
    return set(range(len(texts))) - kept


def by_datatrove(texts: list[str], folder: Path) -> set[int]:
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import minhash as stages
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.typeshelper import Languages

    # Its own default, xxhash, breaks with xxhash 4, which takes bytes alone.
    hashes = HashConfig(precision=64, hash_fc="sha1")
    config = stages.MinhashConfig(n_grams=NGRAM, hash_config=hashes)
    documents = [Document(text=text, id=str(i)) for i, text in enumerate(texts)]
    kept: list[int] = []

    def keep(data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        for document in data:
            kept.append(int(document.id))
            yield document

    def work(*pipeline: Any, tasks: int = 1) -> None:
        logs = folder / "logs" / str(len(list(folder.glob("logs/*"))))
        LocalPipelineExecutor(
            list(pipeline), tasks=tasks, workers=1, logging_dir=str(logs)
        ).run()

    places = {name: str(folder / name) for name in ("signatures", "buckets", "remove")}
    work(
        documents,
        stages.MinhashDedupSignature(
            places["signatures"], config=config, language=Languages.english
        ),
    )
    work(
        stages.MinhashDedupBuckets(
            places["signatures"], places["buckets"], config=config
        ),
        tasks=config.num_buckets,
    )
    work(stages.MinhashDedupCluster(places["buckets"], places["remove"], config=config))
    documents = [Document(text=text, id=str(i)) for i, text in enumerate(texts)]
    work(documents, stages.MinhashDedupFilter(places["remove"]), keep)
    return set(range(len(texts))) - set(kept)


class _HashedShingles:
    """An encoder for semhash: hashed counts, whose cosine follows the similarity."""

    def encode(self, inputs: Any, **_: Any) -> np.ndarray:
        bounds, hashes = minhash.shingle_sets(list(inputs), ngram=NGRAM)
        out = np.zeros((len(inputs), 512), np.float32)
        row = np.repeat(np.arange(len(inputs)), np.diff(bounds))
        sign = np.where(hashes >> np.uint64(63), 1.0, -1.0)
        np.add.at(out, (row, (hashes % np.uint64(512)).astype(int)), sign)
        return out


def by_semhash(texts: list[str], folder: Path) -> set[int]:
    from semhash import SemHash

    numbered: dict[str, int] = {}
    for number, text in enumerate(texts):
        numbered.setdefault(text, number)
    index = SemHash.from_records(records=texts, model=_HashedShingles())
    # Sets of one size of Jaccard similarity J have a cosine of 2J / (1 + J).
    cosine = 2 * THRESHOLD / (1 + THRESHOLD)
    kept = index.self_deduplicate(threshold=cosine).selected
    return set(range(len(texts))) - {numbered[text] for text in kept}


#: The package that each needs, and the whole job.
JOBS: dict[str, tuple[str | None, Job]] = {
    "Winnow, whole job": (None, by_winnow),
    "Winnow, with its page": (None, by_winnow_with_page),
    "Winnow, kernels on a list": (None, by_winnow_kernels),
    "datasketch": (None, by_datasketch),
    "rensa": ("rensa", by_rensa),
    "gaoya": ("gaoya", by_gaoya),
    "text-dedup": ("text_dedup", by_text_dedup),
    "datatrove": ("datatrove", by_datatrove),
    "semhash, hashed shingles": ("semhash", by_semhash),
}


if __name__ == "__main__":
    sys.exit(main())
