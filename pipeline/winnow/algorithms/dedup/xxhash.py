"""xxHash (XXH32 and XXH64, seed 0) of many short byte strings, sixteen at a time.

Source: the xxHash specification 0.1.1, Y. Collet
(https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from winnow.algorithms.dedup.lanes import (
    BLOCK,
    LANES,
    WORDS,
    Lanes,
    data_of,
    load,
    load_blocks,
    longest_of,
    spans_of,
    store,
)
from winnow.numeric.compiled import compiled

_PRIME32 = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1)
_PRIME64 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)

# A stripe feeds four accumulators with one number each.
_ACCUMULATORS = 4


def _start(prime: tuple[int, ...], bits: int) -> list[int]:
    """Return the accumulators of seed 0 (step 1)."""
    return [(prime[0] + prime[1]) % 2**bits, prime[1], 0, -prime[0] % 2**bits]


_START32 = np.array(_start(_PRIME32, 32), dtype=np.uint32)
_START64 = np.array(_start(_PRIME64, 64), dtype=np.uint64)


def _round32(accumulator: Lanes, number: Lanes) -> Lanes:
    return (accumulator + number * _PRIME32[1]).rotl(13) * _PRIME32[0]


def _round64(accumulator: Lanes, number: Lanes) -> Lanes:
    return (accumulator + number * _PRIME64[1]).rotl(31) * _PRIME64[0]


def _numbers(words: list[Lanes], bits: int) -> list[Lanes]:
    if bits == 32:
        return words
    pairs = zip(words[::2], words[1::2], strict=True)
    return [low.widened() | high.widened() << 32 for low, high in pairs]


def _absorb(
    accumulators: list[Lanes], tail: list[Lanes], words: list[Lanes], left: Lanes
) -> None:
    """Take one block into `accumulators` (step 2); keep an unfinished stripe in `tail`.

    `left` is the number of bytes from the start of the block to the string's end.
    """
    bits = accumulators[0].value.type.element.width
    a_round = _round32 if bits == 32 else _round64
    stripe = len(tail)
    for first in range(0, WORDS, stripe):
        full = left.at_least(4 * (first + stripe))
        ends_here = left.at_least(4 * first)
        numbers = _numbers(words[first : first + stripe], bits)
        for i, number in enumerate(numbers):
            fed = a_round(accumulators[i], number)
            accumulators[i] = fed.where(full, accumulators[i])
        for i in range(stripe):
            tail[i] = words[first + i].where(ends_here, tail[i])


def _finish32(accumulators: list[Lanes], tail: list[Lanes], length: Lanes) -> Lanes:
    """Merge the accumulators and the last bytes (steps 3 to 6)."""
    one, two, three, four, five = _PRIME32
    merged = _converged(accumulators)
    h = merged.where(length.at_least(16), length.like(five)) + length
    rest = length & 15
    for i in range(3):
        taken = rest.at_least(4 * (i + 1))
        h = ((h + tail[i] * three).rotl(17) * four).where(taken, h)
    last = _picked(tail, rest >> 2)
    for i in range(3):
        mixed = (h + (last >> 8 * i & 0xFF) * five).rotl(11) * one
        h = mixed.where((length & 3).at_least(i + 1), h)
    h = (h ^ h >> 15) * two
    h = (h ^ h >> 13) * three
    return h ^ h >> 16


def _finish64(accumulators: list[Lanes], tail: list[Lanes], length: Lanes) -> Lanes:
    """Merge the accumulators and the last bytes (steps 3 to 6)."""
    one, two, three, four, five = _PRIME64
    merged = _converged(accumulators)
    for accumulator in accumulators:
        fed = _round64(accumulator.like(0), accumulator)
        merged = (merged ^ fed) * one + four
    h = merged.where(length.at_least(32), merged.like(five)) + length.widened()
    rest = length & 31
    for i, number in enumerate(_numbers(tail[:6], 64)):
        mixed = (h ^ _round64(h.like(0), number)).rotl(27) * one + four
        h = mixed.where(rest.at_least(8 * (i + 1)), h)
    half = _picked(tail[::2], rest >> 3).widened()
    mixed = (h ^ half * one).rotl(23) * two + three
    h = mixed.where((length & 7).at_least(4), h)
    last = _picked(tail, rest >> 2)
    for i in range(3):
        mixed = (h ^ (last >> 8 * i & 0xFF).widened() * five).rotl(11) * one
        h = mixed.where((length & 3).at_least(i + 1), h)
    h = (h ^ h >> 33) * two
    h = (h ^ h >> 29) * three
    return h ^ h >> 32


def _converged(accumulators: list[Lanes]) -> Lanes:
    a, b, c, d = accumulators
    return a.rotl(1) + b.rotl(7) + c.rotl(12) + d.rotl(18)


def _picked(words: list[Lanes], index: Lanes) -> Lanes:
    """Return word number `index` of every lane."""
    picked = words[0]
    for i, word in enumerate(words[1:], start=1):
        picked = word.where(index.at_least(i), picked)
    return picked


def _rows(builder: Any, array: Any, count: int, width: int) -> list[Lanes]:
    starts = (ir.IntType(64)(LANES * i) for i in range(count))
    return [load(builder, array, start, width) for start in starts]


@intrinsic
def _take_block(
    typing: Any,
    spans: Any,
    first: Any,
    block: Any,
    accumulators: Any,
    tail: Any,
) -> Any:
    """Take block number `block` of the strings from `first` on."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        text, offsets, lengths = spans_of(context, builder, signature, values)
        state = [data_of(context, builder, signature, values, i) for i in (3, 4)]
        first, block = values[1], values[2]
        done = builder.trunc(builder.mul(block, block.type(BLOCK)), ir.IntType(32))
        length = load(builder, lengths, first)
        start = load(builder, offsets, first) + length.splat(done)
        left = length - length.splat(done)
        width = signature.args[3].dtype.bitwidth
        kept = _rows(builder, state[0], _ACCUMULATORS, width)
        rest = _rows(builder, state[1], width // 8, 32)
        _absorb(kept, rest, load_blocks(builder, text, start, left, None), left)
        for rows, array in ((kept, state[0]), (rest, state[1])):
            for i, row in enumerate(rows):
                store(row, array, ir.IntType(64)(LANES * i))
        return context.get_dummy_value()

    arguments = (spans, types.int64, types.int64, accumulators, tail)
    return types.void(*arguments), generate


@intrinsic
def _finish(
    typing: Any, lengths: Any, first: Any, accumulators: Any, tail: Any, out: Any
) -> Any:
    """Write the hashes of the strings from `first` on."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lengths, accumulators, tail, out = (
            data_of(context, builder, signature, values, i) for i in (0, 2, 3, 4)
        )
        width = signature.args[2].dtype.bitwidth
        kept = _rows(builder, accumulators, _ACCUMULATORS, width)
        rest = _rows(builder, tail, width // 8, 32)
        length = load(builder, lengths, values[1])
        if width == 32:
            hashes = _finish32(kept, rest, length).widened()
        else:
            hashes = _finish64(kept, rest, length)
        store(hashes, out, values[1])
        return context.get_dummy_value()

    arguments = (lengths, types.int64, accumulators, tail, out)
    return types.void(*arguments), generate


@compiled
def xxh32(
    text: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int32],
    lengths: npt.NDArray[np.int32],
    count: int,
    out: npt.NDArray[np.uint64],
) -> None:
    """Write the XXH32 of each string to `out`; arguments as those of `sha1.sha1`."""
    accumulators = np.empty((_ACCUMULATORS, LANES), dtype=np.uint32)
    tail = np.zeros((4, LANES), dtype=np.uint32)
    for first in range(0, count, LANES):
        for i in range(_ACCUMULATORS):
            accumulators[i, :] = _START32[i]
        longest = longest_of(lengths, first)
        for block in range((longest + BLOCK - 1) // BLOCK):
            _take_block((text, offsets, lengths), first, block, accumulators, tail)
        _finish(lengths, first, accumulators, tail, out)


@compiled
def xxh64(
    text: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int32],
    lengths: npt.NDArray[np.int32],
    count: int,
    out: npt.NDArray[np.uint64],
) -> None:
    """Write the XXH64 of each string to `out`; arguments as those of `sha1.sha1`."""
    accumulators = np.empty((_ACCUMULATORS, LANES), dtype=np.uint64)
    tail = np.zeros((8, LANES), dtype=np.uint32)
    for first in range(0, count, LANES):
        for i in range(_ACCUMULATORS):
            accumulators[i, :] = _START64[i]
        longest = longest_of(lengths, first)
        for block in range((longest + BLOCK - 1) // BLOCK):
            _take_block((text, offsets, lengths), first, block, accumulators, tail)
        _finish(lengths, first, accumulators, tail, out)
