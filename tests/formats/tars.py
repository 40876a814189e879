"""Tars for tests, written by tarfile or by WebDataset's own writer."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from winnow.formats.shard_discovery import find_pool, read_footers
from winnow.formats.shard_protocol import Unreadable


def write_tar(file: Path, members: Iterable[tuple[str, bytes]], **options: Any) -> Path:
    with tarfile.open(file, "w", **options) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file


def sample(key: str, image: bytes, text: str, **about: Any) -> list[tuple[str, bytes]]:
    members = [(f"{key}.jpg", image), (f"{key}.txt", text.encode())]
    if about:
        members.append((f"{key}.json", json.dumps(about).encode()))
    return members


def read(path: Path, columns: Sequence[str]) -> list[Mapping[str, Any] | str]:
    """Return all rows of a pool, or why one cannot be read."""
    pool = find_pool(str(path))
    shards, schema, _ = read_footers(pool.paths, kind=pool.kind)
    rows: list[Mapping[str, Any] | str] = []
    for shard in shards:
        numbers = np.arange(shard.rows)
        for _, part in pool.kind.read_rows(shard.path, numbers, columns, schema):
            if isinstance(part, Unreadable):
                rows += [part.reason] * part.rows
            else:
                assert isinstance(part, pa.Table)
                rows += part.to_pylist()
    return rows
