"""SQL over a lake's scan: `tables, edges, derived, stages, islands`, and its `plan`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from winnow.core.errors import RunError
from winnow.core.other_kind import is_scan, no_scan
from winnow.core.run_folder import RunFolder
from winnow.core.sql_text import AS_STORED, literal
from winnow.lake.named_queries import SCANS
from winnow.lake.result_files import require_whole
from winnow.pages.closed_sql import ClosedSql, create_views
from winnow.pages.database import ViewDatabase

_TABLES = ("tables", "edges", "derived", "stages", "plan")
#: Each table that is contained in one or contains one, and the first by name of all
#: tables that are linked with it so: connected components, by spreading the least name.
_ISLANDS = """
WITH RECURSIVE
held AS MATERIALIZED (
    SELECT child, parent FROM edges WHERE relation IN ('duplicate', 'contained')
),
links AS MATERIALIZED (
    SELECT child AS here, parent AS there FROM held
    UNION SELECT parent, child FROM held
),
found("table", island) USING KEY ("table") AS (
    SELECT DISTINCT here, here FROM links
    UNION
    SELECT links.here, min(near.island) FROM found AS near
    JOIN links ON near."table" = links.there
    JOIN recurring.found AS own ON own."table" = links.here
    GROUP BY links.here HAVING min(near.island) < any_value(own.island)
)
SELECT "table", island FROM found"""


class LakeDatabase(ViewDatabase):
    """A scan's views, to be asked in SQL; may be used by several threads.

    max_rows: a query that gives more is refused (`query`) or cut (`stream`).
    seconds: a query that takes longer is stopped. None: no such limit.
    memory_mb: what one engine holds before it spills to a scratch folder.

    Raises RunError if the folder holds no scan.
    """

    kind = "a scan of a lake"
    named = SCANS
    stored: ClassVar = {"islands": 'island, "table"'}
    makers: ClassVar = {"plan": "winnow lake plan RUN"}

    def __init__(
        self,
        run: str | Path,
        *,
        max_rows: int | None = None,
        seconds: float | None = None,
        memory_mb: int = 512,
    ) -> None:
        folder = RunFolder(run)
        if not is_scan(run):
            raise no_scan(folder.path)
        require_whole(folder.path)
        root = folder.path.resolve()
        files = [_inside(folder.file(f"{name}.parquet"), root) for name in _TABLES]
        tables = {
            name: f"SELECT * FROM read_parquet([{literal(file)}], {AS_STORED})"
            for name, file in zip(_TABLES, files, strict=True)
            if Path(file).is_file()
        }
        views = {**tables, "islands": _ISLANDS}
        sql = ClosedSql(create_views(views), files, memory_mb=memory_mb)
        super().__init__(folder, views, sql, max_rows=max_rows, seconds=seconds)


def _inside(file: Path, root: Path) -> str:
    real = file.resolve()
    if not real.is_relative_to(root):
        raise RunError(f"{file} is a link out of the run; it is not opened")
    return str(real)
