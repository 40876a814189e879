"""What a step may ask of an engine, whichever machine or cluster is behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import pyarrow as pa

#: An engine's own lazy table; steps only hand it back to the engine.
Frame = Any

#: Streams batches; holds no state between calls but what it sets up before the first
#: batch (a model, say). A module-level function bound with `functools.partial`.
BatchKernel = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

#: Sees all rows of one group, in no particular order, and returns any number of rows.
GroupKernel = Callable[[pa.Table], pa.Table]

#: Only measures whose result does not depend on the order of the rows; `sum` is of
#: int64, whose sum has to fit.
Measure = Literal["count", "min", "max", "sum"]

How = Literal["inner", "left", "semi", "anti"]

#: What vectors are multiplied on. auto: a GPU where there is one and the work is worth
#: it; cpu: this processor; cuda: a GPU, or an error.
DeviceChoice = Literal["auto", "cpu", "cuda"]

#: Unless a recipe says otherwise: at 32 bytes an edge 1.6 GB of the driver.
DRIVER_ROWS = 50_000_000

#: Unless a recipe says otherwise: two vectors of 256 numbers of a million rows, twice.
DRIVER_BYTES = 2_048 * 2**20


class Engine(Protocol):
    """The verbs that algorithms are joined to; one implementation per engine."""

    @property
    def name(self) -> str:
        """Name in `engine.name` of a configuration."""

    @property
    def slots(self) -> int:
        """How many kernels run at a time: a hint for work that is done in parts."""

    @property
    def group_bytes(self) -> int:
        """Bytes of rows that a kernel may take whole; steps divide larger groups."""

    @property
    def driver_rows(self) -> int:
        """Edges, or digests of one band, that the driver takes in to join them."""

    @property
    def device(self) -> DeviceChoice:
        """What kernels multiply vectors on, as `engine.device` of a configuration."""

    def label(self, step: str) -> None:
        """Say which step the verbs to come belong to, for whoever watches."""

    def peak_rss_mb(self) -> float:
        """Return the peak memory of a worker since `label`; 0 if there is none."""

    def tasks(self) -> tuple[int, int]:
        """Return how many tasks a cluster has done, of those it works on now.

        May be asked from any thread.
        """

    def scan(self, path: str, columns: Sequence[str] | None = None) -> Frame:
        """Read a Parquet artifact (a file or a folder of parts)."""

    def from_table(self, table: pa.Table) -> Frame:
        """Hand a small driver-side table (quotas, say) to the engine."""

    def map_batches(
        self,
        frame: Frame,
        kernel: BatchKernel,
        schema: pa.Schema,
        *,
        order_by: Sequence[str] = (),
        together: str | None = None,
    ) -> Frame:
        """Stream the frame through `kernel`, which an engine may call several times.

        With `order_by`, batches arrive sorted by those columns, and the calls divide
        that order into stretches; without, in any order. With `together`, all rows of a
        value of that column reach the same call. `core.task` tells calls apart.
        """

    def map_groups(
        self, frame: Frame, key: str, kernel: GroupKernel, schema: pa.Schema
    ) -> Frame:
        """Apply `kernel` once to all rows of each value of the integer column `key`."""

    def join(self, left: Frame, right: Frame, on: str, how: How) -> Frame:
        """Equi-join on one column; the other columns must differ in name."""

    def union(self, frames: Sequence[Frame]) -> Frame:
        """Concatenate frames of the same columns."""

    def where(self, frame: Frame, column: str, value: bool | None) -> Frame:
        """Rows whose boolean `column` equals `value`."""

    def select(self, frame: Frame, columns: Mapping[str, str]) -> Frame:
        """Choose and rename columns: `{new name: old name}`."""

    def aggregate(
        self, frame: Frame, by: str | None, measures: Mapping[str, tuple[str, Measure]]
    ) -> Frame:
        """Group by one column, or all rows: `{name: (column, measure)}`."""

    def cut(
        self, frame: Frame, by: Sequence[tuple[str, bool]], count: int
    ) -> dict[str, Any] | None:
        """Return the `count`-th row in the order `by` ((column, descending), …).

        Exact on every engine. None if `count` is 0 or larger than the frame.
        """

    def schema(self, frame: Frame) -> pa.Schema:
        """Return the frame's columns."""

    def count(self, frame: Frame) -> int:
        """Return the number of rows."""

    def write(self, frame: Frame, path: str, sort_by: Sequence[str]) -> int:
        """Write a folder of Parquet parts sorted by `sort_by`; return the rows."""

    def clear(self) -> None:
        """Drop what the engine keeps between verbs; frames made so far are void."""

    def collect(self, frame: Frame, max_rows: int) -> pa.Table:
        """Bring a bounded frame to the driver; raises RunError above `max_rows`."""
