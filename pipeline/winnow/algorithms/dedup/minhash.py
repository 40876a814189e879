"""MinHash signatures of texts, bit for bit those of datasketch 2.0.

A text is the set of its shingles: n consecutive words joined by one space, or n
consecutive code points, as UTF-8. A text of fewer than n words (code points) is the
set of one shingle, all there is of it; an empty or null text is the empty set, whose
signature is all ones. Words are what `str.split` returns.

Sources: A. Broder, "On the resemblance and containment of documents" (1997);
datasketch 2.0.0 for the permutations (see `permutations`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.dedup import shingle_hashes
from winnow.algorithms.dedup.shingle_hashes import (
    HASH_CODES,
    HashingPlan,
    TokenHash,
    Unit,
)
from winnow.algorithms.dedup.text_normalisation import (
    TextBytes,
    Texts,
    byte_table,
    checked_rules,
    rows_of,
)
from winnow.numeric import permutations
from winnow.numeric.permutations import STORED, Scheme

if TYPE_CHECKING:
    import datasketch  # type: ignore[import-untyped]

# More ranges than threads, so that one range of long texts holds nobody up.
_RANGES_PER_THREAD = 4
_SMALLEST_RANGE = 256


class Sketched(NamedTuple):
    """Signatures (n, num_perm), and of what each was made.

    `units` (n,) counts a text's units, so words or characters; `singles` (n,) those
    that `unit: auto` took as single characters of a script without spaces.
    """

    signatures: npt.NDArray[Any]
    units: npt.NDArray[np.int32]
    singles: npt.NDArray[np.int32]


def signatures(  # noqa: PLR0913 - the settings that must agree before any comparison
    texts: Texts,
    *,
    num_perm: int = 128,
    seed: int = 1,
    scheme: Scheme = "affine32",
    token_hash: TokenHash = "sha1",
    ngram: int = 5,
    unit: Unit = "word",
    normalise: Iterable[str] = (),
    threads: int = 1,
) -> npt.NDArray[Any]:
    """Return the signatures `(n, num_perm)` of `texts`.

    `texts` is an Arrow array or chunked array of strings (or a list of them); its
    buffers are read in place. The result is uint32 for `affine32`, uint64 for
    `legacy` (values below 2³²) and `affine64`, and equals
    `datasketch.MinHash(num_perm, seed, scheme=scheme, hashfunc=…).hashvalues` after
    `update_batch` over the shingles, with

    - `sha1`: the first four bytes of SHA-1 as a little-endian integer (eight for
      `affine64`), datasketch's default;
    - `xxh32`, `xxh64`: the integer digest of seed 0; `affine32` takes the low half of
      the latter.

    `unit` is `word`, `char`, or `auto`: words, and single characters of scripts that
    put no spaces between words (see `spaceless_scripts`). `normalise` names rules of
    `text_normalisation.RULES`. Row i depends on text i alone, whatever the number of
    `threads`. Raises ValueError for an unknown setting, TypeError for a column that is
    not text.
    """
    return sketched(
        texts,
        num_perm=num_perm,
        seed=seed,
        scheme=scheme,
        token_hash=token_hash,
        ngram=ngram,
        unit=unit,
        normalise=normalise,
        threads=threads,
    ).signatures


def sketched(  # noqa: PLR0913 - as `signatures`
    texts: Texts,
    *,
    num_perm: int = 128,
    seed: int = 1,
    scheme: Scheme = "affine32",
    token_hash: TokenHash = "sha1",
    ngram: int = 5,
    unit: Unit = "word",
    normalise: Iterable[str] = (),
    threads: int = 1,
) -> Sketched:
    """Return `signatures`, and of how many units of which kind each was made."""
    _require_threads(threads)
    a, b = permutations.parameters(scheme, num_perm, seed)
    low_half = token_hash == "sha1" and scheme != "affine64"
    rules = checked_rules(normalise)
    plan = _plan(token_hash, ngram, unit, rules, low_half)
    kind, empty = STORED[scheme]
    values = [np.empty((0, num_perm), dtype=kind)]
    counts = [np.zeros((0, 2), dtype=np.int32)]
    for rows in rows_of(texts, rules):
        out = np.full((len(rows.start), num_perm), empty, dtype=kind)
        count = np.zeros((len(rows.start), 2), dtype=np.int32)

        def sketch(
            first: int, last: int, rows: TextBytes = rows, outs: Any = (out, count)
        ) -> None:
            shingle_hashes.sketch_rows(
                rows, first, last, plan, (a, b, scheme == "legacy"), outs
            )

        _over_ranges(sketch, rows, threads)
        values.append(out)
        counts.append(count)
    count = _one(counts)
    return Sketched(_one(values), count[:, 0], count[:, 1])


def _one(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return arrays as one; a single one besides the empty first is not copied."""
    return parts[1] if len(parts) == 2 else np.concatenate(parts)


def set_signatures(
    lists: pa.Array,
    *,
    num_perm: int = 128,
    seed: int = 1,
    scheme: Scheme = "affine32",
    token_hash: TokenHash = "sha1",
    threads: int = 1,
) -> npt.NDArray[Any]:
    """Return the signatures `(n, num_perm)` of sets, the rows of a list column.

    Elements are strings, or are cast to strings (integers in decimal, say the vertices
    of a graph), and their UTF-8 is what is hashed; null and empty elements are left
    out. Otherwise as `signatures`.
    """
    a, b = permutations.parameters(scheme, num_perm, seed)
    kind, empty = STORED[scheme]
    out = np.full((len(lists), num_perm), empty, dtype=kind)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    # One shingle of everything there is of an element.
    counts, hashes = shingle_sets(
        pc.list_flatten(lists).cast(pa.large_string()),
        token_hash=token_hash,
        ngram=2**31 - 1,
        unit="char",
        threads=threads,
    )
    if token_hash == "sha1" and scheme != "affine64":
        hashes &= np.uint64(0xFFFFFFFF)
    kernel = getattr(permutations, scheme)
    kernel(hashes, counts[ends], (a, b), out, 0, len(lists))
    return out


def is_empty(
    signatures: npt.NDArray[Any], scheme: Scheme = "affine32"
) -> npt.NDArray[np.bool_]:
    """Say which rows of `signatures` are those of the empty set.

    Empty sets agree in every band, but are nobody's duplicate: leave them out of
    `banding.buckets`.
    """
    empty: npt.NDArray[np.bool_] = (signatures == STORED[scheme][1]).all(axis=1)
    return empty


def shingle_sets(
    texts: Texts,
    *,
    token_hash: TokenHash = "xxh64",
    ngram: int = 5,
    unit: Unit = "word",
    normalise: Iterable[str] = (),
    threads: int = 1,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """Return `(bounds, hashes)`: row i's set is `hashes[bounds[i]:bounds[i+1]]`.

    64-bit hashes in the order of the text, each once. Arguments and errors as those
    of `signatures`.
    """
    _require_threads(threads)
    rules = checked_rules(normalise)
    plan = _plan(token_hash, ngram, unit, rules, False)
    counts = [np.zeros(1, dtype=np.int64)]
    hashes: list[npt.NDArray[np.uint64]] = []
    for rows in rows_of(texts, rules):
        count = np.zeros(len(rows.start), dtype=np.int64)

        def collect(
            first: int, last: int, rows: TextBytes = rows, count: Any = count
        ) -> npt.NDArray[np.uint64]:
            part: npt.NDArray[np.uint64]
            part = shingle_hashes.distinct_hashes(rows, first, last, plan, count)
            return part

        hashes += _over_ranges(collect, rows, threads)
        counts.append(count)
    bounds = np.cumsum(np.concatenate(counts))
    if len(hashes) == 1:
        return bounds, hashes[0]
    return bounds, np.concatenate([np.zeros(0, dtype=np.uint64), *hashes])


def _plan(
    token_hash: TokenHash,
    ngram: int,
    unit: Unit,
    rules: tuple[str, ...],
    low_half: bool,
) -> HashingPlan:
    if token_hash not in HASH_CODES:
        known = ", ".join(HASH_CODES)
        raise ValueError(f"unknown token hash '{token_hash}'; known: {known}")
    if unit not in get_args(Unit):
        raise ValueError(f"unknown unit '{unit}'; known: {', '.join(get_args(Unit))}")
    if ngram < 1:
        raise ValueError(f"ngram must be at least 1, not {ngram}")
    words = unit != "char"
    squeeze = words or "whitespace" in rules
    size = ngram, 1 if words else 0
    return HashingPlan(
        byte_table(rules),
        "punctuation" in rules,
        words,
        unit == "auto",
        squeeze,
        size,
        HASH_CODES[token_hash],
        low_half,
    )


def _require_threads(threads: int) -> None:
    if threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")


def _over_ranges(
    kernel: Callable[[int, int], Any], rows: TextBytes, threads: int
) -> list[Any]:
    """Apply `kernel` to ranges of about equal text; results in the rows' order.

    Kernels release the interpreter lock, so plain threads do; unlike Numba's own they
    survive a fork and may be started from several threads at once.
    """
    count = len(rows.start)
    pieces = min(threads * _RANGES_PER_THREAD, count // _SMALLEST_RANGE)
    if threads <= 1 or pieces <= 1:
        return [kernel(0, count)]
    volume = np.cumsum(rows.end - rows.start + 1)
    cuts = np.searchsorted(volume, np.linspace(0, volume[-1], pieces + 1)[1:-1])
    edges = [0, *cuts.tolist(), count]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(kernel, edges[:-1], edges[1:]))


def to_datasketch(
    signatures: npt.NDArray[Any], *, seed: int = 1, scheme: Scheme = "affine32"
) -> list[datasketch.MinHash]:
    """Return `signatures` (n, K) as datasketch's MinHash objects.

    `seed` and `scheme` are those the signatures were made with: the values carry no
    trace of them.
    """
    import datasketch

    a, b = permutations.parameters(scheme, signatures.shape[1], seed)
    shared = np.array([a, b])
    return [
        datasketch.MinHash(
            seed=seed, hashvalues=row, permutations=shared, scheme=scheme
        )
        for row in signatures
    ]


def from_datasketch(
    sketches: Iterable[datasketch.MinHash],
    *,
    num_perm: int = 128,
    seed: int = 1,
    scheme: Scheme = "affine32",
) -> npt.NDArray[Any]:
    """Return the signatures `(n, num_perm)` of datasketch's (Lean)MinHash objects.

    Raises ValueError where a sketch was made with another seed, scheme or number of
    permutations, since its values must not be compared with ours.
    """
    kind = STORED[scheme][0]
    out = [np.empty((0, num_perm), dtype=kind)]
    for i, sketch in enumerate(sketches):
        # Before 2.0 there was one scheme, and sketches did not name it.
        made_by = getattr(sketch, "scheme", "legacy")
        settings = (len(sketch), int(sketch.seed), made_by)
        if settings != (num_perm, seed, scheme):
            raise ValueError(
                f"sketch {i} has (num_perm, seed, scheme) = {settings}, "
                f"not {(num_perm, seed, scheme)}"
            )
        out.append(np.asarray(sketch.hashvalues, dtype=kind)[None])
    return np.concatenate(out)
