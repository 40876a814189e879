"""What the log of a Delta table says of the rows and columns that its files hold."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import pyarrow as pa

if TYPE_CHECKING:
    import deltalake

_MODE = "delta.columnMapping.mode"

#: Features of the protocol that change nothing of how rows are read, or are known.
_KNOWN = {"deletionVectors", "columnMapping", "timestampNtz", "vacuumProtocolCheck"}
_KNOWN |= {"v2Checkpoint"}


def require_known(table: deltalake.DeltaTable) -> None:
    """Raise ValueError for a table that needs a feature which is not read here."""
    unknown = set(table.protocol().reader_features or ()) - _KNOWN
    if unknown:
        raise ValueError(
            f"it needs {', '.join(sorted(unknown))}, a feature of Delta that Winnow"
            " does not read"
        )
    mode = mapping_mode(table)
    if mode not in ("none", "name", "id"):
        raise ValueError(f"its column names are mapped (by {mode})")


def mapping_mode(table: deltalake.DeltaTable) -> str:
    """Return how columns are looked for in files: none (by their names), name or id."""
    return table.metadata().configuration.get(_MODE) or "none"


def told_fields(table: deltalake.DeltaTable) -> list[Any]:
    """Return the fields of a table's schema, as its log has them."""
    fields: list[Any] = json.loads(table.schema().to_json())["fields"]
    return fields


def kept_rows(table: deltalake.DeltaTable) -> dict[str, pa.Array]:
    """Return which rows of a file are left, by its real path on this machine.

    Rows after the last of an array are left, too; files that lose none are not named.
    Raises ValueError if deletion vectors cannot be read.
    """
    if "deletionVectors" not in (table.protocol().reader_features or ()):
        return {}
    try:
        vectors = pa.table(table.deletion_vectors()).to_pylist()
    except Exception as error:
        raise ValueError("its deletion vectors cannot be read") from error
    kept = {}
    for row in vectors:
        path = unquote(urlparse(row["filepath"]).path)
        kept[os.path.realpath(path)] = pa.array(row["selection_vector"], pa.bool_())
    return kept
