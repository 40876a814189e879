"""SHA-1 (FIPS 180-4, section 6.1) of many short byte strings, sixteen at a time."""

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
    Lanes,
    data_of,
    load,
    load_blocks,
    longest_of,
    spans_of,
    store,
)
from winnow.numeric.compiled import compiled

_INITIAL = np.array(
    [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0], dtype=np.uint32
)
_ROUND_CONSTANTS = (0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6)

# The message is followed by one byte 0x80 and, at the end of its last block, by its
# length in bits as eight bytes (section 5.1.1).
_END_MARK = 0x80
_LENGTH_BYTES = 8


def _mixed(group: int, b: Lanes, c: Lanes, d: Lanes) -> Lanes:
    """Return the function of one group of twenty rounds (section 4.1.1)."""
    if group == 0:
        return d ^ (b & (c ^ d))
    if group == 2:
        return (b & c) | (d & (b | c))
    return b ^ c ^ d


def _rounds(state: list[Lanes], words: list[Lanes]) -> list[Lanes]:
    a, b, c, d, e = state
    for t in range(80):
        if t >= 16:
            early = words[(t - 14) % 16] ^ words[t % 16]
            late = words[(t - 3) % 16] ^ words[(t - 8) % 16]
            words[t % 16] = (early ^ late).rotl(1)
        # Summed from the right: only `a` waits for the round before.
        ready = e + words[t % 16] + _ROUND_CONSTANTS[t // 20] + _mixed(t // 20, b, c, d)
        a, b, c, d, e = a.rotl(5) + ready, a, b.rotl(30), c, d
    return [x + y for x, y in zip(state, (a, b, c, d, e), strict=True)]


@intrinsic
def _compress(typing: Any, spans: Any, first: Any, block: Any, state: Any) -> Any:
    """Take block number `block` of the strings from `first` on into `state`."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        text, offsets, lengths = spans_of(context, builder, signature, values)
        state = data_of(context, builder, signature, values, 3)
        first, block = values[1], values[2]
        done = builder.trunc(builder.mul(block, block.type(BLOCK)), ir.IntType(32))
        length = load(builder, lengths, first)
        done = length.splat(done)
        start, left = load(builder, offsets, first) + done, length - done
        words = [
            word.bytes_reversed()
            for word in load_blocks(builder, text, start, left, _END_MARK)
        ]
        room = BLOCK - _LENGTH_BYTES
        last = left.like(room - 1).at_least(left)
        words[15] = (words[15] | length << 3).where(last, words[15])
        words[14] = (words[14] | length >> 29).where(last, words[14])
        old = [load(builder, state, ir.IntType(64)(LANES * i)) for i in range(5)]
        new = _rounds(old, words)
        active = left.at_least(room - BLOCK)
        for i in range(5):
            store(new[i].where(active, old[i]), state, ir.IntType(64)(LANES * i))
        return context.get_dummy_value()

    arguments = (spans, types.int64, types.int64, state)
    return types.void(*arguments), generate


@compiled
def sha1(
    text: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int32],
    lengths: npt.NDArray[np.int32],
    count: int,
    out: npt.NDArray[np.uint64],
) -> None:
    """Write the first eight bytes of each SHA-1 as a little-endian integer to `out`.

    String i is `text[offsets[i] : offsets[i] + lengths[i]]`. `offsets`, `lengths` and
    `out` hold `count` rounded up to LANES (padding of length 0), and `text` has BLOCK
    bytes after the end of the last string.
    """
    state = np.empty((5, LANES), dtype=np.uint32)
    for first in range(0, count, LANES):
        for i in range(5):
            state[i, :] = _INITIAL[i]
        longest = longest_of(lengths, first)
        for block in range((longest + _LENGTH_BYTES) // BLOCK + 1):
            _compress((text, offsets, lengths), first, block, state)
        for lane in range(LANES):
            out[first + lane] = _byte_swapped(state[0, lane]) | (
                _byte_swapped(state[1, lane]) << np.uint64(32)
            )


@compiled
def _byte_swapped(word: np.uint32) -> np.uint64:
    low = (word & np.uint32(0xFF)) << np.uint32(24)
    middle = (word & np.uint32(0xFF00)) << np.uint32(8)
    return np.uint64(
        low
        | middle
        | ((word >> np.uint32(8)) & np.uint32(0xFF00))
        | (word >> np.uint32(24))
    )
