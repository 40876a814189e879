"""What `lake scan` loads, and when: tables are opened before all of it is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow import api
from winnow.cli.main import main
from winnow.core.errors import ConfigError
from winnow.lake import workers

_LOADED = """
import sys
from pathlib import Path
from winnow.core.run_folder import RunFolder
import winnow.lake.scan
from winnow.lake.memory import Catalogue, Keys

catalogue = Catalogue(RunFolder(Path(sys.argv[1])), Keys("a", "b", "c", "d"))
assert list(catalogue.known) == [] and "any" not in catalogue.known
late = {"winnow.lake.settling", "winnow.lake.stages", "pandas"}
print(sorted(late & set(sys.modules)))
"""


def test_what_compares_tables_is_not_needed_to_open_them(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", _LOADED, tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.stdout.strip() == "[]", told.stderr


def test_processes_load_nothing_for_tables_that_a_lake_has_not() -> None:
    code = (
        "import sys; from importlib import import_module\n"
        "from winnow.lake.workers import _LOADED\n"
        "for module in _LOADED: import_module(module)\n"
        "late = {'duckdb', 'pandas', 'winnow.table_logs.iceberg', 'polars'}\n"
        "print(sorted(late & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert told.stdout.strip() == "[]", told.stderr


@pytest.mark.parametrize("many", [1, 3])
def test_processes_start_before_settings_are_read_and_end_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    for name in "ab":
        pq.write_table(pa.table({name: [1]}), tmp_path / f"{name}.parquet")
    monkeypatch.setattr(workers, "_MANY_TABLES", many)
    monkeypatch.setattr(workers, "available_cores", lambda: 2)
    seen: list[Any] = []

    def scan(*_: Any, **__: Any) -> None:
        seen.append(workers.pool())
        raise ConfigError("no such key")

    monkeypatch.setattr(api, "scan", scan)
    out = tmp_path.parent / f"{tmp_path.name}-run"
    assert main(["lake", "scan", str(tmp_path), "--out", str(out)]) != 0
    (pool,) = seen
    assert (pool is not None) == (many == 1)
    assert workers.pool() is None
    assert pool is None or not pool.running
