"""What a run did with a pool whose defects are known."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from winnow.demo.pool import COPIES, DEFECTS

#: Steps that choose among sound data to meet a budget; what they drop is no defect.
BUDGET_STEPS = frozenset({"prototypes", "complexity", "random", "uniform"})


@dataclass(frozen=True, slots=True)
class DefectVerdict:
    """One class of planted defects; planted = caught + by_budget + missed."""

    defect: str
    planted: int
    #: Taken out by a cleaning step, or for a copy: instead of it, its original was.
    caught: int
    #: Taken out by a budget step only.
    by_budget: int
    missed: int
    #: Cleaning step that caught most of them; empty if none did.
    mostly_by: str

    @property
    def recall(self) -> float:
        """Share of the planted that a cleaning step caught."""
        return self.caught / self.planted


@dataclass(frozen=True, slots=True)
class StepVerdict:
    """One step; dropped = planted + good, each row counted in the role it played."""

    step: str
    #: Rows dropped or quarantined.
    dropped: int
    #: Defects, and originals of which a copy was kept instead.
    planted: int
    #: Good rows, and copies that had been kept instead of one.
    good: int
    budget: bool

    @property
    def precision(self) -> float:
        """Share of the dropped rows that it was no loss to drop."""
        return 1 - self.good / self.dropped


@dataclass(frozen=True, slots=True)
class DemoVerdict:
    """A run judged: defect classes in the order of the pool's table, steps as run."""

    defects: tuple[DefectVerdict, ...]
    steps: tuple[StepVerdict, ...]
    good: int
    #: Good rows lost to cleaning steps, and to budget steps.
    good_lost: int
    good_beyond_budget: int

    @property
    def recall(self) -> float:
        """Share of all planted defects that a cleaning step caught."""
        planted = sum(row.planted for row in self.defects)
        return sum(row.caught for row in self.defects) / planted if planted else 1.0


def judge(
    truth: pa.Table,
    decisions: pa.Table,
    *,
    budget_steps: Collection[str] = BUDGET_STEPS,
) -> DemoVerdict:
    """Compare what a run decided with what was planted.

    `truth` is `make_pool`'s table. `decisions` has the columns uid, step and fate
    (`kept`, `dropped` or `quarantined`), with the steps in the order in which they
    ran; a row that is kept to the end may appear any number of times. Copies are
    judged by group: of a good row and its copies one may survive, no matter which.
    Raises ValueError if a sample has no decision, or is taken out twice.
    """
    removed_by = _removals(truth, decisions)
    order = dict.fromkeys(decisions["step"].to_pylist())
    defect_of: dict[str, str | None] = dict(_rows(truth, "uid", "defect"))
    heirs = _heirs(truth, removed_by, budget_steps)
    # An heir takes its original's place, and the original that of the copy.
    fates = {uid: removed_by.get(heirs.get(uid, uid)) for uid in defect_of}
    taken = set(fates.values())
    steps = tuple(
        _judge_step(step, fates, defect_of, step in budget_steps)
        for step in order
        if step in taken
    )
    lost = Counter(
        step in budget_steps
        for uid, step in fates.items()
        if step is not None and defect_of[uid] is None
    )
    return DemoVerdict(
        defects=_judge_defects(fates, defect_of, budget_steps),
        steps=steps,
        good=sum(defect is None for defect in defect_of.values()),
        good_lost=lost[False],
        good_beyond_budget=lost[True],
    )


def _rows(table: pa.Table, *names: str) -> Iterable[tuple[Any, ...]]:
    return zip(*(table[name].to_pylist() for name in names), strict=True)


def _removals(truth: pa.Table, decisions: pa.Table) -> dict[str, str]:
    """Return the step that took each row out, for those that were."""
    removed: dict[str, str] = {}
    seen: set[str] = set()
    for uid, step, fate in _rows(decisions, "uid", "step", "fate"):
        seen.add(uid)
        if fate == "kept":
            continue
        if uid in removed:
            raise ValueError(f"{uid} is taken out by {removed[uid]} and by {step}")
        removed[uid] = step
    unseen = set(truth["uid"].to_pylist()) - seen
    if unseen:
        raise ValueError(
            f"{len(unseen)} samples have no decision, among them {min(unseen)}"
        )
    return removed


def _heirs(
    truth: pa.Table, removed_by: dict[str, str], budget_steps: Collection[str]
) -> dict[str, str]:
    """Map originals that cleaning dropped to the copy kept instead, and back."""
    copies: defaultdict[str, list[str]] = defaultdict(list)
    for uid, defect, original in _rows(truth, "uid", "defect", "original"):
        if defect in COPIES:
            copies[original].append(uid)

    def cleaned(uid: str) -> bool:
        return uid in removed_by and removed_by[uid] not in budget_steps

    heirs: dict[str, str] = {}
    for original, group in copies.items():
        survivors = sorted(uid for uid in group if not cleaned(uid))
        if cleaned(original) and survivors:
            heirs |= {original: survivors[0], survivors[0]: original}
    return heirs


def _judge_step(
    step: str,
    fates: dict[str, str | None],
    defect_of: dict[str, str | None],
    budget: bool,
) -> StepVerdict:
    gone = [uid for uid, by in fates.items() if by == step]
    good = sum(defect_of[uid] is None for uid in gone)
    return StepVerdict(step, len(gone), len(gone) - good, good, budget)


def _judge_defects(
    fates: dict[str, str | None],
    defect_of: dict[str, str | None],
    budget_steps: Collection[str],
) -> tuple[DefectVerdict, ...]:
    by_step: defaultdict[str, Counter[str | None]] = defaultdict(Counter)
    for uid, defect in defect_of.items():
        if defect is not None:
            by_step[defect][fates[uid]] += 1
    rows = []
    for defect in dict.fromkeys([*DEFECTS, *sorted(by_step)]):
        if defect not in by_step:
            continue
        steps = by_step[defect]
        caught = Counter(
            {s: n for s, n in steps.items() if s is not None and s not in budget_steps}
        )
        missed = steps[None]
        planted = steps.total()
        rows.append(
            DefectVerdict(
                defect=defect,
                planted=planted,
                caught=caught.total(),
                by_budget=planted - caught.total() - missed,
                missed=missed,
                mostly_by=max(caught, key=lambda s: (caught[s], s), default=""),
            )
        )
    return tuple(rows)


def render(verdict: DemoVerdict) -> str:
    """Return the verdict as two plain text tables and a closing line."""
    defects = [("planted defect", "rows", "caught", "recall", "budget", "left", "by")]
    defects += [
        (
            row.defect.replace("_", " "), str(row.planted), str(row.caught),
            f"{row.recall:.1%}", str(row.by_budget), str(row.missed), row.mostly_by,
        )
        for row in verdict.defects
    ]  # fmt: skip
    steps = [("step", "taken out", "defects", "good lost")]
    steps += [
        (
            f"{row.step} (budget)" if row.budget else row.step, str(row.dropped),
            str(row.planted), str(row.good),
        )
        for row in verdict.steps
    ]  # fmt: skip
    share = verdict.good_lost / verdict.good if verdict.good else 0.0
    closing = (
        f"Cleaning caught {verdict.recall:.1%} of the planted defects and lost "
        f"{verdict.good_lost} of {verdict.good} good rows ({share:.1%}); the budget "
        f"then left out {verdict.good_beyond_budget} more."
    )
    return "\n\n".join((_columns(defects), _columns(steps), closing))


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Align the columns: numbers to the right, words to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numeric = [
        all(cell[:1].isdigit() for cell in column[1:])
        for column in zip(*rows, strict=True)
    ]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines)
