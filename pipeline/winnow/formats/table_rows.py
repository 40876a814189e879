"""Which rows of a table's files count, and how its columns lie in them.

Where a table's log says so, rows of a file are deleted, columns have other names there,
and values stand in the log alone. References of samples count the rows that are left.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.hashing import fingerprint
from winnow.formats.constants import same_path
from winnow.table_logs.stored_columns import position_of, stored_column

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True)
class TableRows:
    """What a table's log says of its files' rows and columns; pickles to workers.

    mode, fields: how columns are looked for in files, see `stored_columns`; no fields:
    files have the table's own names. deleted: by path, the sorted numbers of rows that
    are gone. constants: by path, as text, the values of columns that the file may lack.
    """

    mode: str = "none"
    fields: Sequence[Any] = ()
    deleted: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    constants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether files do not say by themselves what rows the table has."""
        return bool(self.fields or self.deleted or self.constants)

    def gone(self, path: str) -> npt.NDArray[np.int64]:
        """Return the numbers of a file's deleted rows."""
        return self.deleted.get(same_path(path), _NONE)

    def in_file(self, path: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return which rows of a file are the table's rows of these numbers."""
        gone = self.gone(path)
        left_before = gone - np.arange(len(gone))
        return rows + np.searchsorted(left_before, rows, "right")

    def names_in_file(self, written: pa.Schema, columns: Sequence[str]) -> list[str]:
        """Return the columns of a file that hold these of the table's."""
        positions = (
            position_of(list(written), told, self.mode)
            for told in self.fields
            if told["name"] in columns
        )
        return [written.names[number] for number in positions if number is not None]

    def as_table_has(
        self, stored: pa.Table, path: str, schema: pa.Schema, rows: int
    ) -> pa.Table:
        """Return columns as the table has them; null, or a constant, if not stored.

        stored: what the file has of them. schema: of the columns that are wanted.
        """
        told = {one["name"]: one for one in self.fields}
        constants = self.constants.get(same_path(path), {})
        columns = []
        for wanted in schema:
            column = None
            if wanted.name in told:
                column = stored_column(
                    stored, told[wanted.name], self.mode, wanted.type
                )
            if column is None:
                text = pa.array([constants.get(wanted.name)], pa.string())
                column = pa.repeat(text.cast(wanted.type)[0], rows)
            columns.append(column)
        return pa.table(columns, schema=schema)

    def mark(self, path: str) -> str:
        """Return what differs where a file's rows do, though it is as it was."""
        if not self:
            return ""
        known = self.constants.get(same_path(path), {})
        gone = self.gone(path).tobytes().hex()
        return fingerprint(f"{self.mode} {self.fields} {sorted(known.items())} {gone}")

    def beside(self, other: TableRows) -> TableRows:
        """Return what holds for the files of two tables of the same columns."""
        deleted = {**self.deleted, **other.deleted}
        constants = {**self.constants, **other.constants}
        return TableRows(self.mode, self.fields, deleted, constants)

    def pinned(self) -> dict[str, Any]:
        """Return what the manifest has to hold; see `restored_rows`."""
        if not self:
            return {}
        return {
            "mode": self.mode,
            "fields": list(self.fields),
            "deleted": {
                path: base64.b64encode(zlib.compress(_gaps(gone))).decode()
                for path, gone in sorted(self.deleted.items())
            },
            "values": {p: dict(v) for p, v in sorted(self.constants.items())},
        }


def _gaps(numbers: npt.NDArray[np.int64]) -> bytes:
    """Return sorted numbers as the gaps between them, which are small."""
    return np.diff(numbers, prepend=np.int64(0)).astype("<i8").tobytes()


def restored_rows(pinned: Mapping[str, Any]) -> TableRows:
    """Return what was `pinned`."""
    deleted = {
        path: np.cumsum(np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i8"))
        for path, text in pinned.get("deleted", {}).items()
    }
    mode, fields = pinned.get("mode", "none"), pinned.get("fields", ())
    return TableRows(mode, fields, deleted, pinned.get("values", {}))
