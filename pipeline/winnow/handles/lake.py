"""A scanned lake of tables, opened: what is in what, and what may go."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from winnow.config.settings import as_overrides
from winnow.core.errors import RunError
from winnow.core.words import number_of
from winnow.handles import markup
from winnow.handles.asked import AskedFolder
from winnow.handles.facts import Facts
from winnow.handles.rows import ArrowRows
from winnow.lake.database import LakeDatabase
from winnow.lake.view import LakeView

if TYPE_CHECKING:
    from winnow.handles.app_frame import AppFrame


class Lake(AskedFolder[LakeDatabase]):
    """A scan's folder, opened: read it, plan deletions, carry them out.

    path: the folder of a scan.

    Rows come as ArrowRows, which turn into Arrow, polars or pandas; findings as Facts,
    dictionaries that print as text.

    Raises RunError if the folder holds no scan.

    >>> lake = winnow.Lake("runs/lake")
    >>> lake.tables()["table"].to_pylist()
    ['slice.parquet', 'whole.parquet']
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._left = LakeView(Path(path))
        super().__init__(Path(path), LakeDatabase)

    @property
    def config(self) -> dict[str, Any]:
        """The recipe of the scan, every default written out."""
        return self._left.config

    def tables(self) -> ArrowRows:
        """Return a row for each table: format, rows, bytes, columns, and what is wrong
        with it if it cannot be read."""
        return ArrowRows.of(_arrow(LakeView(self.path).tables))

    def edges(self, relations: Sequence[str] = ()) -> ArrowRows:
        """Return the pairs of tables and what was found of them, sorted by name.

        relations: of `duplicate`, `contained`, `partial`, `refuted`, `incomparable`;
            (): all.

        Raises ConfigError for another relation.

        >>> [edge["child"] for edge in lake.edges(["contained"])]
        ['slice.parquet']
        """
        from winnow.lake.view import edges

        view = LakeView(self.path)
        schema = _arrow(view.edges).schema
        return ArrowRows.of(pa.Table.from_pylist(edges(view, relations), schema))

    def stages(self) -> ArrowRows:
        """Return how the pairs became fewer: pairs in and left, seconds, bytes read."""
        return ArrowRows.of(_arrow(LakeView(self.path).stages))

    def planned(self) -> ArrowRows:
        """Return the plan: a row for each table that is contained or contains.

        Raises RunError if nothing was planned yet; see `plan`.
        """
        file = self.path / "plan.parquet"
        if not file.is_file():
            raise RunError(f"{self.path} holds no plan; call plan()")
        return ArrowRows.of(_arrow(pl.read_parquet(file)))

    def plan(self, settings: Mapping[str, Any] | None = None, **plan: Any) -> Facts:
        """Plan which tables may go, at the least cost; delete none.

        settings: of the section `plan`, by dotted key: `{"plan.accesses": 10}`.
        plan: the same by name: `accesses=10` (rebuilds a period), `storage_per_gb=0.02`
            (price a period), `max_latency=60` (seconds), `protected=["raw/**"]`, ….

        Each planned query has been run and its rows compared. Raises ConfigError for
        other settings, InputError if the lake is gone.

        >>> planned = lake.plan(maintenance_per_table=1)
        >>> planned["deleted"]
        1
        """
        overrides = as_overrides(settings)
        overrides += as_overrides({"plan": plan} if plan else None)
        return plan_scan(self, overrides)

    def explain(self, child: str, parent: str | None = None) -> Facts:
        """Return why a table is or is not contained in another: each stage's verdict.

        child: name of a table.
        parent: name of the other. None: what the table is in, holds, and its plan.

        Raises RunError for a table that the scan does not have.

        >>> print(lake.explain("slice.parquet", "whole.parquet"))
        slice.parquet in whole.parquet: contained (100% of its rows)
        ...
        """
        from winnow.lake.view import explain, tell

        return Facts(explain(LakeView(self.path), child, parent), tell)

    def dry_run(self, trash: str | None = None) -> ArrowRows:
        """Return what `apply` would do: for each table a command and its way back.

        trash: a folder or an fsspec URL. None: `trash` in the scan's folder.

        Raises RunError if nothing was planned, ConfigError if the trash lies in the
        lake.

        >>> lake.dry_run()["table"].to_pylist()
        ['slice.parquet']
        """
        from winnow.lake.apply import dry_run

        names = ("table", "parent", "command", "rebuild_sql")
        schema = pa.schema([(name, pa.string()) for name in names])
        commands = dry_run(os.fspath(self.path), trash)
        return ArrowRows.of(pa.Table.from_pylist(commands, schema))

    def apply(self, trash: str | None = None) -> Facts:
        """Move the tables that the plan deletes to the trash; see `restore`.

        trash: a folder or an fsspec URL. None: `trash` in the scan's folder.

        A table moves only if nothing changed since the scan and its query, run once
        more, gives its rows back. Raises what `dry_run` raises.

        >>> lake.apply()["moved"]
        ['slice.parquet']
        >>> lake.restore()["restored"]
        ['slice.parquet']
        """
        from winnow.lake.apply import apply_plan
        from winnow.lake.plan_view import tell_moved

        moved = apply_plan(os.fspath(self.path), trash)
        return Facts(moved, lambda done: tell_moved(done, "moved"))

    def restore(self, tables: Sequence[str] = ()) -> Facts:
        """Move tables back from the trash; nothing is overwritten.

        tables: their names; (): all of them.

        Raises ConfigError for a table that is not in the trash.
        """
        from winnow.lake.apply import restore
        from winnow.lake.plan_view import tell_moved

        restored = restore(os.fspath(self.path), tables)
        return Facts(restored, lambda done: tell_moved(done, "restored"))

    def report(self, out: str | os.PathLike[str] | None = None) -> Path:
        """Write the scan's page and return where.

        out: the file. None: `report.html` in the scan's folder.

        >>> lake.report("lake.html").name
        'lake.html'
        """
        from winnow.lake.page.report import write_report

        return write_report(self.path, out if out is None else Path(out))

    def show(self, height: int = 800) -> AppFrame:
        """Return the local app over the scan, which a notebook shows in a frame.

        height: of the frame, in pixels.

        Raises MissingExtraError without the extra `ui`, ConfigError for a height of 0.
        """
        from winnow.handles.app_frame import AppFrame

        return AppFrame(self.path, height)

    def __reduce__(self) -> tuple[type[Lake], tuple[Path]]:
        return Lake, (self.path,)

    def _repr_html_(self) -> str:
        stages = self.stages()
        rows = [tuple(row.values()) for row in stages]
        head = markup.line(f"{self.path}: {number_of(len(self.tables()), 'table')}")
        return head + markup.table(stages.column_names, rows)


def plan_scan(lake: Lake, overrides: Sequence[str]) -> Facts:
    """Plan a scan's deletions under settings as the command line writes them."""
    from winnow.lake.plan import plan_lake
    from winnow.lake.plan_view import tell_plan

    planned = plan_lake(os.fspath(lake.path), overrides)
    lake.close()  # what it has open shows the plan of before
    if lake.config["output"]["report"]:
        lake.report()
    return Facts(planned, tell_plan)


def _arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow()
