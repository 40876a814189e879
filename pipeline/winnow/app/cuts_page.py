"""Thresholds to try: a step's scores, and what another one would keep, at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from winnow.app.row_arrays import Mask, RowArrays, column_of
from winnow.app.rows import IndexedRows, Row
from winnow.config.lock_file import load_lock
from winnow.config.recipes import dump
from winnow.config.step_kinds import APPLY, INDEX, OVERRIDES, shown
from winnow.core.errors import QueryError, did_you_mean
from winnow.core.extensions import load_part
from winnow.core.marker import Marker
from winnow.reports.cut_settings import Moved
from winnow.reports.cuts import (
    CutAnswer,
    Ids,
    ShareChange,
    ShareCounts,
    StepScores,
    answer,
    kept_before,
    nearest_to,
    share_counts,
    shares,
    step_scores,
)
from winnow.reports.database import RunDatabase
from winnow.reports.run_view import RunView

#: Pictures on each side, and values of a column, that an answer shows.
_SHOWN, _VALUES = 8, 10
#: Columns whose values are held in the order of a step's scores: four bytes a row each.
_HELD = 12
#: Rows that are remembered, since the next answer shows most of them, too.
_KNOWN = 2_000
#: Columns of an answer's rows: no more is read, so that it comes at once.
_CARD = "n, uid, source, row, fate, step, reason, score, threshold, kept_twin"


@dataclass(frozen=True)
class CutStep:
    """A step with one threshold: what a page says of it.

    before: how many rows of the order's beginning the run keeps, see `kept_before`.
    """

    marker: Marker
    scores: StepScores
    before: Ids
    scale: str
    alone: bool
    later: list[str]

    @property
    def name(self) -> str:
        """What the recipe calls the step."""
        return self.marker.step


@dataclass(frozen=True)
class TriedCut:
    """What another threshold does: counts, shares, rows that change sides, settings."""

    step: CutStep
    answer: CutAnswer
    clusters: list[ShareChange]
    column: list[ShareChange]
    gained: list[Row]
    lost: list[Row]
    settings: list[str]


class CutsPage:
    """The thresholds of one run's steps; several threads may ask."""

    def __init__(
        self,
        view: RunView,
        database: RunDatabase,
        rows: IndexedRows,
        arrays: RowArrays,
    ) -> None:
        self._view, self._database = view, database
        self._rows, self._arrays = rows, arrays
        self._steps: dict[str, CutStep] = {}
        self._counted: OrderedDict[tuple[str, str], ShareCounts] = OrderedDict()
        self._known: dict[int, Row] = {}
        self._lock = Lock()

    @cached_property
    def names(self) -> list[str]:
        """The steps that have one threshold, in the order of the run."""
        return [m.step for m in self._view.markers if m.step in self._thresholds]

    @cached_property
    def without(self) -> dict[str, str]:
        """Why each other step that decides has no threshold that can be moved."""
        return {
            m.step: self._why_not(m)
            for m in self._view.markers
            if m.decides
            and m.kind not in (INDEX, OVERRIDES, APPLY)
            and m.step not in self._thresholds
        }

    def _why_not(self, marker: Marker) -> str:
        ledger = self._ledgers.get(marker.step)
        said = shown(marker.kind)
        if ledger is None or (said.one_cut and not said.graded):
            return "a row is in or out; it has no score to move a threshold over"
        if not said.one_cut or ledger["low"] != ledger["high"]:
            return "it has several thresholds: one for each rule, criterion or cluster"
        if ledger["low"] is None:
            return "it scores rows, but no threshold on the score decided about them"
        return "no threshold on its score alone says what it kept"

    @cached_property
    def _ledgers(self) -> dict[str, Any]:
        """Each step's scored rows and thresholds; rows on the wrong side of the one."""
        asked = self._database.query(
            """WITH bounds AS (
                SELECT step, min(threshold) AS low, max(threshold) AS high
                FROM ledger WHERE score IS NOT NULL GROUP BY step)
            SELECT step, any_value(low) AS low, any_value(high) AS high,
                count(score) AS scores,
                count_if(score > low AND NOT keep) AS dropped_above,
                count_if(score < low AND NOT keep) AS dropped_below,
                count_if(score > low AND keep) AS kept_above,
                count_if(score < low AND keep) AS kept_below
            FROM ledger JOIN bounds USING (step) GROUP BY step"""
        )
        return {row["step"]: row for row in asked.to_pylist()}

    @cached_property
    def _thresholds(self) -> dict[str, float]:
        """The one threshold of each step that has one, and scores worth a look."""
        kinds = {m.step: shown(m.kind) for m in self._view.markers}
        return {
            step: row["low"]
            for step, row in self._ledgers.items()
            if row["low"] is not None
            and row["low"] == row["high"]
            and (
                row["dropped_above"] == row["kept_below"] == 0
                or row["dropped_below"] == row["kept_above"] == 0
            )
            and kinds[step].graded
            and self._rows.index.column(f"score.{step}") is not None
        }

    def step(self, name: str) -> CutStep:
        """Return a step; raises QueryError if it has no threshold that can be moved."""
        if name in self.without:
            raise QueryError(f"{name} has no threshold to try: {self.without[name]}")
        if name not in self._thresholds:
            raise QueryError(
                f"no step '{name}' with one threshold; "
                f"{did_you_mean(name, self._thresholds)}"
            )
        with self._lock:
            if name not in self._steps:
                self._steps[name] = self._read(name)
            return self._steps[name]

    def _read(self, name: str) -> CutStep:
        markers = self._view.markers
        marker = next(m for m in markers if m.step == name)
        column = column_of(self._rows, f"score.{name}")
        dropped = self._is("step", name) & self._is("fate", "dropped")
        scores = self._arrays.numbers(column)
        # What a person decided is not what the threshold did.
        scores = np.where(self._is("step", OVERRIDES), np.nan, scores)
        ruled = step_scores(scores, dropped, self._thresholds[name])
        if ruled is None:
            raise QueryError(
                f"{name}: no threshold alone says what it kept, so none can be tried "
                "here; `winnow what-if` decides under other settings"
            )
        later = [m.step for m in markers[markers.index(marker) + 1 :] if m.decides]
        said, before = shown(marker.kind), kept_before(ruled, self._is("fate", "kept"))
        return CutStep(marker, ruled, before, said.scale, said.alone, later)

    def _is(self, column: str, value: str) -> Mask:
        coded = self._arrays.coded(column_of(self._rows, column))
        if value not in coded.values:
            return np.zeros(self._arrays.size, np.bool_)
        mask: Mask = coded.codes == coded.values.index(value)
        return mask

    def tried(self, name: str, cut: float, by: str) -> TriedCut:
        """Return what a threshold of a step does; by: a column whose shares are told.

        A threshold that has to be whole is rounded. Raises QueryError for what does not
        exist.
        """
        step = self.step(name)
        if shown(step.marker.kind).whole:
            cut = float(round(cut))
        told = answer(step.scores, cut, step.before)
        near = [
            nearest_to(step.scores, side, _SHOWN) for side in (told.gained, told.lost)
        ]
        rows = self._cards([n for side in near for n in side])
        return TriedCut(
            step=step,
            answer=told,
            clusters=self._shares(step, told, self._cluster or ""),
            column=self._shares(step, told, by),
            gained=[rows[n] for n in near[0]],
            lost=[rows[n] for n in near[1]],
            settings=self.settings(step, cut),
        )

    @cached_property
    def _cluster(self) -> str | None:
        columns = self._rows.index.columns
        return next((c.name for c in columns if c.role == "cluster"), None)

    @cached_property
    def columns(self) -> list[Any]:
        """The columns whose shares can be told: those of few values."""
        return [
            c
            for c in self._rows.index.columns
            if (c.role == "input" and c.kind in ("text", "flag", "whole"))
            and c.name != "caption"
        ]

    def _shares(self, step: CutStep, told: CutAnswer, by: str) -> list[ShareChange]:
        if not by:
            return []
        coded = self._arrays.coded(column_of(self._rows, by))
        key = step.name, by
        with self._lock:
            if key not in self._counted:
                count = len(coded.values)
                self._counted[key] = share_counts(step.scores, coded.codes, count)
            self._counted.move_to_end(key)
            if len(self._counted) > _HELD:
                self._counted.popitem(last=False)
            now = self._counted[key]
        return shares(now, told, coded.values, _VALUES)

    def _cards(self, numbers: Sequence[int]) -> dict[int, Row]:
        """Return rows by number; while a threshold moves on, they stay the same."""
        with self._lock:
            if len(self._known) > _KNOWN:
                self._known.clear()
            known = {n: self._known[n] for n in numbers if n in self._known}
        caption = ", caption" if self._rows.index.column("caption") else ""
        unknown = [n for n in numbers if n not in known]
        rows = self._rows.numbered(unknown, _CARD + caption)
        with self._lock:
            self._known.update(rows)
        return known | rows

    def settings(self, step: CutStep, cut: float) -> list[str]:
        """Return the changes of the recipe that make a score the threshold."""
        part = shown(step.marker.kind).cut
        if part is None or cut == step.scores.cut:
            return []
        section = self._view.config.get(step.name) or {}
        moved = Moved(step.name, section, cut, len(step.scores.passing(cut)))
        changes: list[str] = load_part(part)(moved)
        return changes

    def recipe(self, name: str, cut: float) -> str:
        """Return the run's recipe with a threshold changed, as YAML.

        Raises ConfigError for a threshold that the step does not take.
        """
        step = self.step(name)
        folder = self._view.folder
        return dump(load_lock(folder, self.settings(step, cut), None))
