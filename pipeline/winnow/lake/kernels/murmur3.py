"""MurmurHash3_x64_128 of many values at a time, and of sequences of hashes.

Source: A. Appleby, MurmurHash3.cpp, `MurmurHash3_x64_128`
(https://github.com/aappleby/smhasher). The two halves are the words that it returns,
`hi` the first. It is not cryptographic: hashes of data that somebody made to collide
would prove nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba import int64, types, uint64
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from winnow.numeric.compiled import compiled

_C1 = np.uint64(0x87C37B91114253D5)
_C2 = np.uint64(0x4CF5AD432745937F)
_BLOCK = 16


class Hashes(NamedTuple):
    """128-bit hashes of n values: two uint64 arrays `(n,)`."""

    hi: npt.NDArray[np.uint64]
    lo: npt.NDArray[np.uint64]


def joined(parts: Sequence[Hashes]) -> Hashes:
    """Return hashes one after another; of no parts, none."""
    nothing = np.empty(0, np.uint64)
    return Hashes(
        np.concatenate([nothing, *(part.hi for part in parts)]),
        np.concatenate([nothing, *(part.lo for part in parts)]),
    )


@intrinsic
def _word(typing: Any, data: Any, offset: Any) -> Any:
    """Read eight bytes of `data` from byte `offset` on, little-endian, unaligned."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = make_array(signature.args[0])
        start = kind(context, builder, values[0]).data
        address = builder.gep(start, [values[1]])
        word = builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()))
        word.align = 1
        return word

    return types.uint64(data, types.int64), generate


@compiled(inline="always")
def _rotl(x: Any, bits: int) -> Any:
    return (x << uint64(bits)) | (x >> uint64(64 - bits))


@compiled(inline="always")
def _fmix(x: Any) -> Any:
    x = (x ^ (x >> uint64(33))) * uint64(0xFF51AFD7ED558CCD)
    x = (x ^ (x >> uint64(33))) * uint64(0xC4CEB9FE1A85EC53)
    return x ^ (x >> uint64(33))


@compiled(inline="always")
def _block(h1: Any, h2: Any, k1: Any, k2: Any) -> Any:
    h1 ^= _rotl(k1 * _C1, 31) * _C2
    h1 = (_rotl(h1, 27) + h2) * uint64(5) + uint64(0x52DCE729)
    h2 ^= _rotl(k2 * _C2, 33) * _C1
    h2 = (_rotl(h2, 31) + h1) * uint64(5) + uint64(0x38495AB5)
    return h1, h2


@compiled(inline="always")
def _finish(h1: Any, h2: Any, length: Any) -> Any:
    h1 ^= length
    h2 ^= length
    h1 += h2
    h2 += h1
    h1, h2 = _fmix(h1), _fmix(h2)
    h1 += h2
    return h1, h2 + h1


@compiled(inline="always")
def _last_bytes(data: Any, end: Any, count: Any) -> Any:
    """Return the `count` (1 to 8) bytes before `end` as a number."""
    if end >= 8:
        return _word(data, end - 8) >> uint64(8 * (8 - count))
    word = uint64(0)
    for i in range(count):
        word |= uint64(data[end - count + i]) << uint64(8 * i)
    return word


@compiled(inline="always")
def hash_of_words(first: Any, second: Any, seed: Any) -> Any:
    """Return the hash of the 16 bytes `first, second`; for other compiled loops."""
    h1, h2 = _block(uint64(seed), uint64(seed), first, second)
    return _finish(h1, h2, uint64(_BLOCK))


@compiled
def hash_bytes(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64] | npt.NDArray[np.int32],
    seed: int,
    hi: npt.NDArray[np.uint64],
    lo: npt.NDArray[np.uint64],
) -> None:
    """Write the hash of each `data[offsets[i] : offsets[i + 1]]` to `hi`, `lo`."""
    for i in range(len(hi)):
        start, end = int64(offsets[i]), int64(offsets[i + 1])
        h1, h2 = uint64(seed), uint64(seed)
        for block in range(start, end - _BLOCK + 1, _BLOCK):
            h1, h2 = _block(h1, h2, _word(data, block), _word(data, block + 8))
        rest = (end - start) % _BLOCK
        if rest > 8:
            h2 ^= _rotl(_last_bytes(data, end, rest - 8) * _C2, 33) * _C1
            h1 ^= _rotl(_word(data, end - rest) * _C1, 31) * _C2
        elif rest > 0:
            h1 ^= _rotl(_last_bytes(data, end, rest) * _C1, 31) * _C2
        hi[i], lo[i] = _finish(h1, h2, uint64(end - start))


@compiled
def hash_words(
    first: npt.NDArray[np.uint64],
    second: npt.NDArray[np.uint64],
    seed: int,
    hi: npt.NDArray[np.uint64],
    lo: npt.NDArray[np.uint64],
) -> None:
    """Write the hash of the 16 bytes `first[i], second[i]` to `hi`, `lo`."""
    for i in range(len(hi)):
        hi[i], lo[i] = hash_of_words(first[i], second[i], seed)


@compiled
def absorb(
    state_hi: npt.NDArray[np.uint64],
    state_lo: npt.NDArray[np.uint64],
    hi: npt.NDArray[np.uint64],
    lo: npt.NDArray[np.uint64],
) -> None:
    """Take one more hash `hi[i], lo[i]` as a block into each state, in place."""
    for i in range(len(state_hi)):
        state_hi[i], state_lo[i] = _block(state_hi[i], state_lo[i], hi[i], lo[i])


@compiled
def absorb_coded(
    state_hi: npt.NDArray[np.uint64],
    state_lo: npt.NDArray[np.uint64],
    hi: npt.NDArray[np.uint64],
    lo: npt.NDArray[np.uint64],
    codes: npt.NDArray[np.int32],
) -> None:
    """As `absorb`, of the hash `hi[codes[i]], lo[codes[i]]` for each state."""
    for i in range(len(state_hi)):
        h1, h2 = hi[codes[i]], lo[codes[i]]
        state_hi[i], state_lo[i] = _block(state_hi[i], state_lo[i], h1, h2)


@compiled
def finish(
    state_hi: npt.NDArray[np.uint64],
    state_lo: npt.NDArray[np.uint64],
    blocks: int,
) -> None:
    """Turn states that took `blocks` hashes into hashes, in place."""
    length = uint64(_BLOCK * blocks)
    for i in range(len(state_hi)):
        state_hi[i], state_lo[i] = _finish(state_hi[i], state_lo[i], length)


@compiled
def hash_runs(
    elements: tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]],
    offsets: npt.NDArray[np.int64],
    seed: int,
    hi: npt.NDArray[np.uint64],
    lo: npt.NDArray[np.uint64],
) -> None:
    """Write the hash of each run of hashes, `offsets[i]` to `offsets[i + 1]`."""
    for i in range(len(hi)):
        h1, h2 = uint64(seed), uint64(seed)
        for k in range(offsets[i], offsets[i + 1]):
            h1, h2 = _block(h1, h2, elements[0][k], elements[1][k])
        length = uint64(_BLOCK * (offsets[i + 1] - offsets[i]))
        hi[i], lo[i] = _finish(h1, h2, length)


@compiled
def hash_sums(
    elements: tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]],
    offsets: npt.NDArray[np.int64],
    seed: int,
    hi: npt.NDArray[np.uint64],
    lo: npt.NDArray[np.uint64],
) -> None:
    """As `hash_runs`, whatever the order within a run: its hashes are added up."""
    for i in range(len(hi)):
        s1, s2 = uint64(0), uint64(0)
        for k in range(offsets[i], offsets[i + 1]):
            s1 += elements[0][k]
            s2 += elements[1][k]
        h1, h2 = _block(uint64(seed), uint64(seed), s1, s2)
        length = uint64(_BLOCK * (offsets[i + 1] - offsets[i]))
        hi[i], lo[i] = _finish(h1, h2, length)
