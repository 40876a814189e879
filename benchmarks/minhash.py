"""Near-duplicate text: MinHash signatures and clusters, Winnow against its peers.

    python benchmarks/minhash.py [--data SHARDS] [--rounds 5] [--scale 1000000 10000000]

One process on one core, alternating rounds; CPU seconds, the best of all rounds. Every
peer starts from Python strings and makes its own shingles, as its users do; Winnow
starts from the Arrow column. datasketch sees `--sample` documents, all others all.

`--scale` deduplicates that many generated documents of 200 characters on all cores,
each size in a process of its own, and prints wall time and peak memory.
"""

from __future__ import annotations

import argparse
import importlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import datasketch
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from figures import record
from winnow.algorithms.dedup import banding, minhash
from winnow.algorithms.dedup.components import components
from winnow.algorithms.dedup.jaccard import text_similarity
from winnow.algorithms.dedup.verification import decide

BESIDE = Path(__file__).resolve().parents[2] / "shared"
TEXTS = Path(os.environ.get("WINNOW_SHARED", BESIDE)) / "data/texts"
THRESHOLD, BANDS, ROWS = 0.8, 16, 8

Work = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=TEXTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sample", type=int, default=2000)
    parser.add_argument("--scale", type=int, nargs="*", default=[])
    parser.add_argument("--one-scale", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_scale:
        deduplicate_generated(options.one_scale)
        return
    texts = read(options.data)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    compare_signatures(texts, options.rounds, options.sample)
    compare_clusters(texts, options.rounds, options.sample)
    os.sched_setaffinity(0, cores)
    compare_cores(texts, options.rounds, len(cores))
    for rows in options.scale:
        command = [sys.executable, __file__, "--one-scale", str(rows)]
        subprocess.run(command, check=True)


def read(folder: Path) -> pa.Array:
    if folder.exists():
        texts = pq.read_table(folder, columns=["text"])["text"].combine_chunks()
        name = f"{folder.name} (real)"
    else:
        texts, name = generated(20_000, words=70, edited=0.2), "generated"
    size = texts.nbytes / len(texts)
    print(f"{name}: {len(texts):,} documents of about {size:.0f} bytes")
    return texts


def generated(rows: int, words: int, edited: float, seed: int = 0) -> pa.Array:
    """Random words; a share of the rows are earlier rows with up to 10 % edited."""
    random = np.random.default_rng(seed)
    letters = random.integers(97, 123, (50_000, 6), dtype=np.uint8)
    letters[:, -1] = ord(" ")
    drawn = (random.random((rows, words)) ** 2 * len(letters)).astype(np.int32)
    copies = np.flatnonzero(random.random(rows) < edited)[1:]
    drawn[copies] = drawn[(random.random(len(copies)) * copies).astype(np.int64)]
    spoilt = random.random((len(copies), words)) < random.random((len(copies), 1)) / 10
    drawn[copies] = np.where(
        spoilt, random.integers(0, len(letters), spoilt.shape), drawn[copies]
    )
    flat = pa.py_buffer(letters[drawn.reshape(-1)].reshape(-1))
    offsets = np.arange(rows + 1, dtype=np.int64) * words * 6
    return pa.Array.from_buffers(
        pa.large_string(), rows, [None, pa.py_buffer(offsets), flat]
    )


def best(works: dict[str, Work], rounds: int) -> dict[str, float]:
    """Return the least CPU seconds of each, after one run that warms up."""
    for work in works.values():
        work()
    seconds = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            start = time.process_time()
            work()
            seconds[name] = min(seconds[name], time.process_time() - start)
    return seconds


def table(title: str, speeds: dict[str, float], against: str) -> None:
    print(f"\n{title}")
    for name, speed in speeds.items():
        ratio = speed / speeds[against]
        print(f"  {name:44s} {speed:12,.0f} docs/s {ratio:8.1f} ×")
        if name.startswith("Winnow") and not against.startswith("Winnow"):
            record(f"{title}: {name} / {against}", ratio, asked=">= 1")


def word_shingles(text: str) -> list[str]:
    words = text.split()
    return [" ".join(words[i : i + 5]) for i in range(max(len(words) - 4, 1))]


def char_shingles(text: str) -> list[str]:
    return [text[i : i + 5] for i in range(max(len(text) - 4, 1))]


def installed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"{name} is not installed: left out")
        return None


def compare_signatures(texts: pa.Array, rounds: int, sample: int) -> None:
    strings = texts.to_pylist()
    peers = {name: installed(name) for name in ("xxhash", "rensa", "gaoya")}
    for unit, shingles in (("word", word_shingles), ("char", char_shingles)):
        few = strings[:sample]

        def by_datasketch(few: Any = few, cut: Any = shingles, **options: Any) -> None:
            sets = [[piece.encode() for piece in cut(text)] for text in few]
            datasketch.MinHash.bulk(sets, num_perm=128, seed=1, **options)

        works: dict[str, Work] = {"datasketch, SHA-1": by_datasketch}
        counts = {"datasketch, SHA-1": sample}
        if peers["xxhash"]:
            digest = peers["xxhash"].xxh32_intdigest
            works["datasketch, xxh32"] = partial(by_datasketch, hashfunc=digest)
            counts["datasketch, xxh32"] = sample
        works |= peer_works(peers, strings, unit, shingles)
        for token_hash in ("sha1", "xxh32", "xxh64"):
            works[f"Winnow, {token_hash}"] = partial(
                minhash.signatures, texts, unit=unit, token_hash=token_hash
            )
        seconds = best(works, rounds)
        speeds = {n: counts.get(n, len(strings)) / s for n, s in seconds.items()}
        title = f"text → signature, {unit} 5-grams, K = 128, one core"
        table(title, speeds, "datasketch, SHA-1")


def peer_works(
    peers: dict[str, Any], strings: list[str], unit: str, shingles: Callable[[str], Any]
) -> dict[str, Work]:
    works: dict[str, Work] = {}
    if peers["rensa"]:
        sketch = peers["rensa"].RMinHash

        def by_rensa() -> None:
            for text in strings:
                one = sketch(num_perm=128, seed=1)
                one.update(shingles(text))
                one.digest()

        works["rensa, R-MinHash"] = by_rensa
    if peers["gaoya"]:
        index = importlib.import_module("gaoya.minhash").MinHashStringIndex

        def by_gaoya() -> None:
            built = index(32, THRESHOLD, BANDS, ROWS, None, unit, False, (5, 5))
            for i, text in enumerate(strings):
                built.insert_document(i, text)

        works["gaoya (with index insert)"] = by_gaoya
    return works


def compare_clusters(texts: pa.Array, rounds: int, sample: int) -> None:
    signatures = minhash.signatures(texts)
    sketches = minhash.to_datasketch(signatures)
    rows = len(texts)

    def by_datasketch() -> None:
        index = datasketch.MinHashLSH(num_perm=128, params=(BANDS, ROWS))
        for i, sketch in enumerate(sketches):
            index.insert(i, sketch)
        for sketch in sketches:
            index.query(sketch)

    def unverified() -> None:
        edges = banding.star_edges(buckets(signatures))
        components(rows, edges.member, edges.keeper)

    def verified() -> Any:
        similarity = text_similarity(texts)
        return decide(buckets(signatures), rows, similarity, THRESHOLD)

    works = {
        "datasketch insert + query": by_datasketch,
        "Winnow, buckets → components, unverified": unverified,
        "Winnow, buckets → verified removals": verified,
        "sign": lambda: minhash.signatures(texts),
    }
    seconds = best(works, rounds)
    sign = seconds.pop("sign")
    speeds = {name: rows / value for name, value in seconds.items()}
    table("signatures → clusters, 16 × 8 bands", speeds, "datasketch insert + query")
    total = sign + seconds["Winnow, buckets → verified removals"]
    share = verification_seconds(texts, signatures, rounds) / total
    dropped = int((verified().keeper != np.arange(rows)).sum())
    print(f"  verification: {share:.0%} of text → removals; {dropped:,} rows removed")


def buckets(signatures: Any, threads: int = 1) -> banding.Buckets:
    digests = banding.band_digests(signatures, BANDS, ROWS)
    return banding.buckets(digests, threads=threads)


def verification_seconds(texts: pa.Array, signatures: Any, rounds: int) -> float:
    exact, spent = text_similarity(texts), []

    def timed(left: Any, right: Any) -> Any:
        start = time.process_time()
        found = exact(left, right)
        spent[-1] += time.process_time() - start
        return found

    found = buckets(signatures)
    for _ in range(rounds):
        spent.append(0.0)
        decide(found, len(texts), timed, THRESHOLD)
    return min(spent)


def compare_cores(texts: pa.Array, rounds: int, cores: int) -> None:
    if cores < 2:
        print("\none core only: nothing to compare")
        return
    many = pa.concat_arrays([texts] * 5)
    seconds = {}
    for threads in (1, 2) * rounds:
        start = time.perf_counter()
        minhash.signatures(many, threads=threads)
        spent = time.perf_counter() - start
        seconds[threads] = min(spent, seconds.get(threads, spent))
    print(
        f"\n2 cores: {seconds[1] / seconds[2]:.2f} × one core (signatures, wall time)"
    )


def deduplicate_generated(rows: int) -> None:
    threads = len(os.sched_getaffinity(0))
    step = 500_000
    sizes = [min(step, rows - first) for first in range(0, rows, step)]
    pieces = [generated(n, 33, 0.2, seed) for seed, n in enumerate(sizes)]
    texts = pa.chunked_array(pieces)
    start = time.perf_counter()
    digests = np.empty((rows, BANDS), dtype=np.uint64)
    first = 0
    for piece in pieces:
        for at in range(0, len(piece), 50_000):
            part = piece[at : at + 50_000]
            sketched = minhash.signatures(part, threads=threads)
            digests[first : first + len(part)] = banding.band_digests(
                sketched, BANDS, ROWS
            )
            first += len(part)
    signed = time.perf_counter()
    found = banding.buckets(digests, threads=threads)
    del digests
    bucketed = time.perf_counter()
    verdict = decide(found, rows, text_similarity(texts, threads=threads), THRESHOLD)
    end = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    dropped = int((verdict.keeper != np.arange(rows)).sum())
    print(
        f"\n{rows:,} documents of 200 characters, {threads} cores: "
        f"{end - start:.1f} s (signatures and digests {signed - start:.1f}, buckets "
        f"{bucketed - signed:.1f}, verified removals {end - bucketed:.1f}); "
        f"{dropped:,} removed; peak {peak:.2f} GiB, of which texts "
        f"{texts.nbytes / 2**30:.2f}"
    )


if __name__ == "__main__":
    main()
