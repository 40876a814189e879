"""Which of several equal or near rows stays: `keeper: [column desc, …]`."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BeforeValidator

#: What every pool has without a column of it: width × height, the encoded image's
#: bytes, the variance of its Laplacian, the latest score of image and caption.
BUILT_IN = ("pixels", "bytes", "sharpness", "alignment")
_DIRECTIONS = {"asc": False, "desc": True}


class OrderKey(NamedTuple):
    """One key of an order: an input column or a built-in name, and its direction."""

    name: str
    descending: bool


def order_key(text: str) -> OrderKey:
    """Read `NAME`, `NAME asc` or `NAME desc`; without a direction, ascending."""
    name, _, last = text.strip().rpartition(" ")
    if name.strip() and last in _DIRECTIONS:
        return OrderKey(name.strip(), _DIRECTIONS[last])
    return OrderKey(text.strip(), False)


def _as_list(given: object) -> object:
    return [given] if isinstance(given, str) else given


def _readable(keeper: tuple[str, ...]) -> tuple[str, ...]:
    names = [order_key(text).name for text in keeper]
    if "" in names:
        raise ValueError("a key is empty; write NAME, NAME asc or NAME desc")
    if len(set(names)) < len(names):
        raise ValueError("a name stands there twice; the first of them decides")
    return keeper


#: Keys in the order in which they count; ties by uid, rows without a value last.
Keeper = Annotated[
    tuple[str, ...], BeforeValidator(_as_list), AfterValidator(_readable)
]
