"""What every format of this room gives, and takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

BATCH_ROWS = 1 << 16


class OpenedRows(NamedTuple):
    """An opened table: its schema and its rows, in their order."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    #: None where only reading them tells.
    rows: int | None


@dataclass(frozen=True)
class RowFormat:
    """How files of one format are read; `path` is always a file on this machine.

    open: opens a table of a file; the name is empty where a file is one table.
    tables: the names of a container's tables; None: a file is one table.
    Both raise OSError, ValueError or what their library raises for a damaged file.
    """

    open: Callable[[str, str], AbstractContextManager[OpenedRows]]
    tables: Callable[[str], list[str]] | None = None
