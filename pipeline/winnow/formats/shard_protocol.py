"""What a kind of shard can do; one implementation per file format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.errors import ConfigError
from winnow.formats.file_access import state_of_file


@dataclass(frozen=True)
class ShardFooter:
    """What is known of a shard before its rows are read."""

    rows: int
    schema: pa.Schema
    #: Differs between contents of one size and time, as far as that costs nothing.
    mark: str


@dataclass(frozen=True)
class Unreadable:
    """A stretch of rows that cannot be read, and why."""

    rows: int
    reason: str
    types: Mapping[str, pa.DataType]


@dataclass(frozen=True)
class Listing:
    """What lies in a folder that a pool is named by.

    fs: its file system. folder: the folder, as `fs` calls it. files: all files below
    it, hidden ones too, sorted.
    """

    fs: Any
    folder: str
    files: Sequence[str]

    def below(self, file: str) -> list[str]:
        """Return the parts of a file's path below the folder, its name last."""
        return file[len(self.folder) :].lstrip("/").split("/")

    def path(self, file: str) -> str:
        """Return what a file is called as a shard: a URL unless on this disk."""
        url: str = self.fs.unstrip_protocol(file)
        return url.removeprefix("file://")

    @property
    def visible(self) -> list[str]:
        """The files that are data: neither they nor a folder begin with `.` or `_`."""
        return [
            file
            for file in self.files
            if not any(part.startswith((".", "_")) for part in self.below(file))
        ]


@dataclass(frozen=True)
class FoundPool:
    """The shards that a pool's path names, sorted, and what they are read by."""

    kind: ShardFormat
    paths: list[str]


class Sink(Protocol):
    """One shard that is being written."""

    def write(self, table: pa.Table) -> None:
        """Append rows, in batches of a bounded size."""

    def close(self) -> None:
        """Finish the file."""


class ShardFormat:
    """How shards of one format are read and written; derive from it to add one.

    An instance goes to workers with every reader, so it has to pickle; what it holds
    beyond its class is `pinned` in the run's manifest.
    """

    #: What `input.format` calls it.
    name: str = ""
    #: What sentences call it.
    title: str = ""
    #: What names of its files end in, in lower case.
    endings: tuple[str, ...] = ()
    #: Whether a run's SQL opens the files itself, instead of a copy of their rows.
    sql_reads_it: bool = False
    #: Columns that carry whole rows to `sink` and are not shown in SQL.
    carriers: tuple[str, ...] = ()

    def claims(self, listing: Listing) -> FoundPool | None:
        """Return the shards of a folder that is known by more than its files' endings.

        Asked of each format before endings are looked at, so that files which belong to
        a larger whole are not taken for shards. Raises InputError for a folder that is
        of this format and cannot be read.
        """
        return None

    def recognises(self, head: bytes) -> bool:
        """Whether a file whose name says nothing is a shard, by its first 512 bytes."""
        return False

    def footer(self, path: str) -> ShardFooter:
        """Return a shard's footer; raises InputError if the file is not whole."""
        raise NotImplementedError

    def state(self, path: str, *, fresh: bool = False) -> str:
        """Return `size:time` of a shard as it is now; '' if it is gone.

        fresh: whether to forget what a file system behind a URL has listed so far.
        """
        return state_of_file(path, fresh=fresh)

    def merged(
        self, schema: pa.Schema, first: str, other: pa.Schema, path: str
    ) -> pa.Schema:
        """Return the one schema of two shards; raises InputError if there is none."""
        raise NotImplementedError

    def read_rows(
        self,
        path: str,
        rows: npt.NDArray[np.int64],
        columns: Sequence[str],
        schema: pa.Schema | None = None,
    ) -> Iterator[tuple[int, pa.Table | Unreadable]]:
        """Yield (position in `rows`, table) for the sorted row numbers of one shard.

        `schema` is the pool's, where a file does not say its own.
        """
        raise NotImplementedError

    def bounded(self, batch_bytes: int) -> ShardFormat:
        """Return what reads the same shards with at most so many bytes at a time.

        A format whose shards are read by the row may leave this as it is.
        """
        return self

    def held_at_once(self, path: str, columns: Sequence[str]) -> tuple[int, str]:
        """Return the bytes of a shard's columns that no `bounded` reads in parts.

        And the column that they are of; (0, "") for a format that is read by the row.
        """
        return 0, ""

    def configured(self, options: Mapping[str, Any]) -> ShardFormat:
        """Return the format as `input.csv` describes it, for formats that it is of."""
        raise ConfigError(f"input.csv: the pool is {self.title}, not CSV or TSV")

    def unseen(self, schema: pa.Schema) -> set[str]:
        """Return the columns that SQL does not show, if the recipe names none of them.

        They carry whole rows, or hold again what another column holds.
        """
        return set(self.carriers)

    def whole(self, schema: pa.Schema) -> list[str]:
        """Return the columns that make up a whole row, to be handed on untouched."""
        return [*self.carriers] or list(schema.names)

    def sink(self, file: Path, schema: pa.Schema) -> Sink:
        """Open a shard, a file or a folder, for writing rows of the columns `whole`."""
        raise NotImplementedError

    def suffix(self, path: str) -> str:
        """Return the ending of names of shards like this one."""
        return self.endings[0]

    def seal(self, folder: Path, schema: pa.Schema) -> None:
        """Write what makes one pool of a folder's shards, once all have their names."""
        return None

    def beside(self, other: ShardFormat) -> ShardFormat:
        """Return what reads this pool's shards and those of another of this name."""
        return self

    def pinned(self) -> dict[str, Any]:
        """Return what the manifest has to hold for the pool to be found again."""
        return {}

    def restored(self, pinned: Mapping[str, Any]) -> ShardFormat:
        """Return the format as it was when it was `pinned`."""
        return self
