"""The newest version of a table with a log: its columns, and the files that are it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A table's newest version."""

    schema: pa.Schema
    #: Path below the table, and the columns that the path stands for.
    files: tuple[tuple[str, tuple[tuple[str, pa.Scalar], ...]], ...]


class BorrowedFiles(ValueError):
    """A table whose log names files outside its folder: a shallow clone."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(f"a file of it lies outside its folder: {paths[0]}")
        #: Of files on this machine as such, of others as URLs.
        self.paths = tuple(path.removeprefix("file://") for path in paths)


class NeedsLog(ValueError):
    """A table whose files do not tell its rows or names without the log."""
