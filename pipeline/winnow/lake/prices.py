"""What tables cost, kept or had back, and how long that takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fsspec.utils import glob_translate

from winnow.lake.compare.rebuild import Rebuild
from winnow.lake.run import LakeRun, RebuildSource

_GB = 1e9
_MB = 1e6


@dataclass
class Edge:
    """A child that could be had from a parent."""

    source: RebuildSource
    read: int
    write: int
    rebuild: Rebuild | None = None

    @property
    def child(self) -> str:
        """The table that may go."""
        return self.source.child

    @property
    def parent(self) -> str:
        """What it is had back from, in words."""
        return self.source.name

    @property
    def columns_text(self) -> str | None:
        """The columns of a renamed table as JSON."""
        columns = self.source.columns
        if columns is None:
            return None
        return json.dumps(dict(columns), sort_keys=True, ensure_ascii=False)

    @property
    def holds(self) -> str:
        """The verb that goes with `parent`."""
        return "holds" if len(self.source.parents) == 1 else "hold"

    def seconds(self, megabytes: float) -> float:
        """Return how long it takes to have the child back at so many MB a second."""
        moved = (
            self.read + self.write + (self.rebuild.side_bytes if self.rebuild else 0)
        )
        return moved / (megabytes * _MB)


@dataclass(frozen=True)
class Prices:
    """The prices and promises of a run's recipe."""

    run: LakeRun

    def too_slow(self, edge: Edge) -> str | None:
        """Return why an edge breaks its promise of time, or None."""
        prices = self.run.config.plan
        limit = of_table(edge.child, prices.max_latency_of, prices.max_latency)
        seconds = edge.seconds(prices.rebuild_mb_per_s)
        if seconds <= limit:
            return None
        return f"it would take {seconds:,.3g} s, at most {limit:,.3g} s"

    def keep_cost(self, name: str) -> float:
        """Return what keeping a table costs per period."""
        prices = self.run.config.plan
        if name not in self.run.number:
            return 0.0
        stored = self.run.table(name).bytes / _GB
        return prices.storage_per_gb * stored + prices.maintenance_per_table

    def rebuild_cost(self, edge: Edge) -> float:
        """Return what having a table back costs per period."""
        prices = self.run.config.plan
        read = (prices.read_per_gb + prices.compute_per_gb) * edge.read
        once = (read + prices.write_per_gb * edge.write) / _GB
        beside = edge.rebuild.side_bytes if edge.rebuild else 0
        asked = of_table(edge.child, prices.accesses_of, prices.accesses)
        return asked * once + prices.storage_per_gb * beside / _GB

    def gain(self, edge: Edge) -> float:
        """Return what is saved per period if the table goes."""
        return self.keep_cost(edge.child) - self.rebuild_cost(edge)


def of_table(name: str, special: Mapping[str, float], default: float) -> float:
    """Return a table's own setting: under its name, else under the first glob."""
    if not special:
        return default
    if name in special:
        return special[name]
    return next(
        (value for glob, value in special.items() if as_pattern([glob]).match(name)),
        default,
    )


def as_pattern(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return what matches the names that one of some globs matches."""
    # No pattern matches nothing.
    return re.compile("|".join(map(glob_translate, patterns)) or r"(?!)")
