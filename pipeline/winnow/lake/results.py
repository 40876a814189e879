"""The files of a finished scan: what they hold, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.config.lake import LakeConfig
from winnow.core.run_folder import RunFolder, remove, replace
from winnow.core.task import available_cores, in_threads
from winnow.core.versions import versions
from winnow.lake.kernels.tables import DERIVED, EDGES, STAGES, TABLES, Table
from winnow.lake.result_files import holds, remove_plan, write_manifest
from winnow.lake.stages import Stages

_SCHEMAS = {"edges": EDGES, "derived": DERIVED, "tables": TABLES, "stages": STAGES}
#: Columns of which nobody asks for a range; bounds of a million texts take time.
_UNBOUNDED = {"shared_columns", "witness", "rebuild_sql", "reason"}
_TEXTS = ("csv", "jsonl", "json")


def write_results(
    folder: RunFolder,
    config: LakeConfig,
    results: Mapping[str, pa.Table],
    stages: Sequence[Mapping[str, Any]],
    ignored: Mapping[str, int],
    *,
    new: bool,
) -> dict[str, int]:
    """Write what a scan found; return how many pairs have which relation.

    results: `edges`, `derived` and `tables`; new: whether edges or derived tables are
    others than before. While the manifest stands, the files are of one scan.
    """
    for name in ("manifest.json", "report.html"):
        remove(folder.file(name))
    if new:
        # A plan of another graph must not be carried out.
        remove_plan(folder.path)
    results = {**results, "stages": pa.Table.from_pylist(list(stages), STAGES)}
    for name, table in results.items():
        beside = folder.file(f"{name}.parquet.tmp")
        # What was taken over from a file leaves no trace in the bytes.
        columns = list(in_threads(_in_one, table.columns, available_cores()))
        plain = pa.Table.from_arrays(columns, schema=_SCHEMAS[name])
        bounded = [n for n in plain.column_names if n not in _UNBOUNDED]
        pq.write_table(plain, beside, compression="zstd", write_statistics=bounded)
        replace(beside, folder.file(f"{name}.parquet"))
    relations = _counts(results["edges"]["relation"])
    manifest = {
        "flow": "table_lake",
        **versions(),
        "lake": config.input.path,
        "tables": len(results["tables"]),
        "relations": relations,
        "derived": _counts(results["derived"]["kind"]),
        "ignored": dict(ignored),
    }
    write_manifest(folder.path, manifest)
    return relations


def _in_one(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column in one piece, or in as few as can hold its texts."""
    return pa.table([column], names=[""]).combine_chunks().column(0)


def is_new(folder: RunFolder, results: Mapping[str, pa.Table]) -> bool:
    """Whether some results are not what the folder holds."""
    return not all(
        holds(folder.file(f"{name}.parquet"), table) for name, table in results.items()
    )


def _counts(values: pa.ChunkedArray) -> dict[str, int]:
    counted = {
        one["values"]: one["counts"] for one in values.value_counts().to_pylist()
    }
    return dict(sorted(counted.items()))


def reasons_of(stages: Stages) -> dict[str, str]:
    """Return why tables cannot be read, or what of them only in part, by name."""
    tables = stages.tables.reader.tables
    reasons = {table.name: table.reason for table in tables if table.reason}
    for number, reason in stages.sketches.unreadable.items():
        reasons[tables[number].name] = reason
    for number, key in stages.sketches.raw:
        name = tables[number].name
        column = stages.tables.names[number][key]
        text = f"column {column} holds text that is not UTF-8; it is compared as bytes"
        reasons[name] = f"{reasons[name]}; {text}" if name in reasons else text
    return dict(sorted(reasons.items()))


def _readable(table: Table, failed: bool, read: bool) -> bool | None:
    """Whether a table can be read: None while only its footers were."""
    if table.reason is not None or failed:
        return False
    # A text file was read for its types.
    texts = all(part.dialect for part in table.parts) and table.format in _TEXTS
    whole = read or not table.parts or texts
    return True if whole else None


def tables_of(
    tables: Sequence[Table], reasons: Mapping[str, str], stages: Stages
) -> pa.Table:
    """Return TABLES of a scan's tables in their own forms."""
    unreadable = set(stages.sketches.unreadable)
    read = stages.sketches.tables
    rows = [
        {
            "table": table.name,
            "format": table.format,
            "location": table.location,
            "rows": table.rows if table.reason is None else None,
            "bytes": table.bytes,
            "parts": len(table.parts),
            "columns": [
                {"name": c.name, "type": str(c.type), "family": str(c.family)}
                for c in table.columns
            ],
            "writer": table.writer,
            "modified": datetime.fromtimestamp(table.modified, UTC),
            "fingerprint": table.fingerprint,
            "readable": _readable(table, number in unreadable, number in read),
            "reason": reasons.get(table.name),
        }
        for number, table in enumerate(tables)
    ]
    return pa.Table.from_pylist(rows, TABLES)
