"""Hive partitions: columns that stand in the names of folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from urllib.parse import unquote

import pyarrow as pa

_NULL = "__HIVE_DEFAULT_PARTITION__"
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")


def partition_values(
    paths: Sequence[str],
) -> list[tuple[tuple[str, pa.Scalar], ...]]:
    """Return the columns that each path's folders `key=value` stand for.

    A column is int64 or date32 if all its values are exact notations of such, else
    text: `month=01` stays text.
    """
    texts = [dict(_pairs(path)) for path in paths]
    keys = dict.fromkeys(key for pairs in texts for key in pairs)
    kinds = {key: _kind([pairs.get(key) for pairs in texts]) for key in keys}
    return [
        tuple((key, _scalar(pairs.get(key), kind)) for key, kind in kinds.items())
        for pairs in texts
    ]


def _pairs(path: str) -> list[tuple[str, str | None]]:
    folders = [part for part in path.split("/")[:-1] if "=" in part]
    split = (folder.partition("=") for folder in folders)
    return [
        (unquote(key), None if value == _NULL else unquote(value))
        for key, _, value in split
    ]


def _kind(values: Sequence[str | None]) -> pa.DataType:
    texts = [value for value in values if value is not None]
    if texts and all(_is_int64(text) for text in texts):
        return pa.int64()
    if texts and all(_is_date(text) for text in texts):
        return pa.date32()
    return pa.string()


def _is_int64(text: str) -> bool:
    return bool(_INTEGER.fullmatch(text)) and -(2**63) <= int(text) < 2**63


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _scalar(text: str | None, kind: pa.DataType) -> pa.Scalar:
    if text is None:
        return pa.scalar(None, kind)
    if pa.types.is_integer(kind):
        return pa.scalar(int(text), kind)
    value = date.fromisoformat(text) if pa.types.is_date(kind) else text
    return pa.scalar(value, kind)
