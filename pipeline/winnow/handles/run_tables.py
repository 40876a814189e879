"""The rows of a run: kept, dropped and quarantined ones, decisions, vectors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa

from winnow.handles.asked import AskedFolder, known_step
from winnow.handles.rows import ArrowRows
from winnow.reports.database import RunDatabase
from winnow.reports.export.kept_rows import KeptRows, RowsWanted
from winnow.reports.export.selected import schema_of, tables_of
from winnow.reports.run_view import RunView


class RunTables(AskedFolder[RunDatabase]):
    """What a run has left, as rows."""

    def __init__(self, path: Path) -> None:
        self._left = RunView(path)
        super().__init__(path, RunDatabase)

    def steps(self) -> ArrowRows:
        """Return a row for each step: rows in, kept, dropped, quarantined, cost.

        `seconds` is its time, `peak_rss_mb` the process's peak memory in MiB.
        """
        from winnow.reports.survivors import survivors

        return ArrowRows.of(pa.Table.from_pylist(survivors(self._left)))

    def kept(
        self, columns: Sequence[str] | None = None, *, scores: bool = False
    ) -> ArrowRows:
        """Return the rows that the run keeps, in the order of the input.

        columns: of the input, by name; `uid` always comes. None: all of them, pictures
            as encoded bytes.
        scores: add `winnow_STEP` for each step that scored or clustered.

        Raises RunError if the run is not finished, ConfigError for an unknown column;
        reading raises InputError if the input is gone.

        >>> run.kept(["text"]).column_names
        ['uid', 'text']
        """
        return self._samples(RowsWanted(_names(columns), scores))

    def dropped(self, columns: Sequence[str] | None = None) -> ArrowRows:
        """Return the rows that a step decided against, and which step, and why.

        columns: of the input, as in `kept`. An input column called like one of `step`,
            `reason`, `score`, `threshold` and `kept_twin` comes as `input_NAME`.

        Raises what `kept` raises.

        >>> run.dropped(["text"]).column_names
        ['uid', 'step', 'reason', 'score', 'threshold', 'kept_twin', 'text']
        """
        return self._samples(RowsWanted(_names(columns), fate="dropped"))

    def quarantine(self) -> ArrowRows:
        """Return the rows that could not be read: uid, source, row, reason, step."""
        return self._view("quarantine")

    def ledger(self, step: str | None = None) -> ArrowRows:
        """Return the decisions, one row for each sample and deciding step.

        step: only this step's. None: those of all steps.

        Raises ConfigError for a step that the run does not have.

        >>> run.ledger("semantic").column_names
        ['uid', 'step', 'position', 'keep', 'reason', 'score', 'threshold',
         'kept_twin']
        """
        return self._view("ledger", self._known(step))

    def fates(self) -> ArrowRows:
        """Return what became of each row of the input, and at which step.

        `fate` is kept, dropped, quarantined, or undecided if the run is not finished.
        """
        return self._view("fates")

    def vectors(self, step: str | None = None) -> ArrowRows:
        """Return the vectors of `embed`: uid, step, image_vector, text_vector.

        step: only this step's. None: those of all steps.

        Raises ConfigError for a step that the run does not have.

        >>> run.vectors().numpy("text_vector").shape == (len(run.vectors()), 16)
        True
        """
        return self._view("vectors", self._known(step))

    def search(
        self,
        text: str | None = None,
        *,
        image: str | os.PathLike[str] | bytes | None = None,
        like: str | None = None,
        where: str = "",
        k: int = 20,
        rows: Literal["kept", "all"] = "kept",
    ) -> ArrowRows:
        """Return the rows nearest to a text, a picture or a row, nearest first.

        text: words; they and a picture need the run's model.
        image: a picture, as a file or as its bytes.
        like: the uid of a row, which is left out of the answer.
        where: a condition in SQL over a row's columns: those of the input, `fate`,
            `step`, `reason`, `kept_twin`, and each step's score or cluster as
            `winnow_STEP`, or as STEP where no column of the input is called so.
        k: at most so many rows.
        rows: those that the run keeps, or `all` that have a vector.

        Cosines are exact. Up to 50,000 rows, or 25,000 that may be found, all are
        compared; of more, FAISS' inverted lists nominate, which the first search makes
        in the run's folder. Raises QueryError for a condition that cannot be asked and
        where the model is not at hand, InputError for a row that has no vector.

        >>> run.search(like=kept_uid, where="fate = 'kept'", k=3).column_names
        ['rank', 'uid', 'cosine', 'fate', 'step', 'reason', 'source', 'row', 'caption']
        """
        from winnow.search.run_search import ANSWERS, search
        from winnow.search.searched_vectors import Asked, picture

        data = image if image is None or isinstance(image, bytes) else picture(image)
        asked = Asked(text, data, like)
        told = search(self.path, asked, k=k, where=where, rows=rows)
        return ArrowRows.of(pa.Table.from_pylist(told["rows"], ANSWERS))

    def _samples(self, wanted: RowsWanted) -> ArrowRows:
        # What is wrong with the question is said now, not when rows are read.
        rows = KeptRows(self._sql(), wanted)

        def opened() -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
            rows = KeptRows(self._sql(), wanted)
            schema = schema_of(rows)
            tables = tables_of(rows, repeated=False)
            return schema, (
                batch for table in tables for batch in table.cast(schema).to_batches()
            )

        return ArrowRows(opened, rows=rows.count)

    def _known(self, step: str | None) -> str | None:
        return known_step(step, [marker.step for marker in self._left.markers])


def _names(columns: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if columns is None else tuple(columns)
