"""An earlier scan of a run as a later one takes it up: its results, and their graph.

Kept beside the results is by which columns each table was compared, and which of them
were sketched. It holds for these very results only, under the same settings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.config.lake import LakeConfig
from winnow.core.hashing import fingerprint
from winnow.core.integrity import checksum
from winnow.core.run_folder import RunFolder
from winnow.lake.files.saved_parts import SavedParts
from winnow.lake.memory import Keys

if TYPE_CHECKING:
    from winnow.lake.stages import Stages

#: Raised when a scan would find other things.
_VERSION = 1
_REPEATED = ["child", "parent", "relation", "stage", "refuted_by"]
_RESULTS = ("edges.parquet", "tables.parquet", "derived.parquet")

#: One row a table, and one for each other form of it of which anything is sketched.
GRAPH = pa.schema(
    [
        ("table", pa.string()),
        ("identity", pa.string()),
        # Compared names.
        ("keys", pa.list_(pa.string())),
        ("sketched", pa.list_(pa.string())),
        # Whether its rows are sketched, too.
        ("rows", pa.bool_()),
    ]
)


class EarlierScan(NamedTuple):
    """What a finished scan left: EDGES, TABLES, GRAPH."""

    edges: pa.Table
    tables: pa.Table
    graph: pa.Table


def earlier_scan(
    folder: RunFolder, keys: Keys, config: LakeConfig
) -> EarlierScan | None:
    """Return a run's last scan, None if it does not hold under these settings.

    What lies in several tables or under other names is looked for among all tables.
    """
    if config.derived.unions or config.derived.renamed:
        return None
    files = [folder.file(name) for name in (*_RESULTS, "manifest.json")]
    if not all(file.is_file() for file in files):
        return None
    saved = SavedParts(folder.artifacts("graph"), _key(folder, keys, config)).load()
    if not saved:
        return None
    # Names and the like occur many times: a million rows of them are read as numbers.
    edges = _whole(files[0], read_dictionary=_REPEATED)
    return EarlierScan(edges, _whole(files[1]), saved[-1])


def _whole(file: Path, **how: Any) -> pa.Table:
    """Return a table without what pyarrow loads for datasets of many files."""
    with pq.ParquetFile(file, **how) as opened:
        return opened.read()


def remember_scan(
    folder: RunFolder, keys: Keys, config: LakeConfig, graph: pa.Table
) -> None:
    """Keep the GRAPH of the results that the run's folder holds now."""
    key = _key(folder, keys, config)
    SavedParts(folder.artifacts("graph"), key).settle(graph)


def graph_of(stages: Stages, numbers: Iterable[int]) -> pa.Table:
    """Return GRAPH of some of a scan's tables, by their numbers, in that order."""
    tables, base = stages.tables, stages.tables.own_numbers()
    forms = defaultdict(list)
    for item in stages.wanted:
        forms[int(base[item.table])].append(item)
    rows = []
    for number in numbers:
        sketched = {item.table: item for item in forms[number]}
        for form in sorted({number, *sketched}):
            wanted = sketched.get(form)
            rows.append(
                {
                    "table": tables.reader.tables[number].name,
                    "identity": tables.reader.tables[form].identity,
                    "keys": tables.names_of(number),
                    "sketched": wanted.columns if wanted else (),
                    "rows": bool(wanted and wanted.rows),
                }
            )
    return pa.Table.from_pylist(rows, GRAPH)


def _key(folder: RunFolder, keys: Keys, config: LakeConfig) -> str:
    sums = [checksum(folder.file(name)) for name in _RESULTS]
    told = [str(_VERSION), keys.derived, str(config.input.check_text_mb), *sums]
    return fingerprint(" ".join(told))
