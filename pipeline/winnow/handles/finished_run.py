"""What a run came to, and the way to what it left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.core.words import number_of
from winnow.flows.runner import RunResult

if TYPE_CHECKING:
    from winnow.handles.run import Run


@dataclass(frozen=True, repr=False)
class FinishedRun(RunResult):
    """What a run came to: figures, and `run` to ask it more.

    path: the run's folder; of a run on an object store, where it was made.
    rows: rows of the input; they are `kept`, `dropped` or `quarantined`.
    kept: rows that are left.
    dropped: rows that a step decided against.
    quarantined: rows that could not be read.
    steps: what each step says of itself.
    ran: names of the steps that this call had to run.
    url: where the run lies, if that is an object store; else ''.

    >>> result = winnow.run(recipe)
    >>> result.rows == result.kept + result.dropped + result.quarantined
    True
    >>> result.run.explain(uid)["fate"]
    'dropped'
    """

    @property
    def run(self) -> Run:
        """The run, opened."""
        from winnow.handles.run import Run  # with it come all that reads a run

        return Run(self.url or self.path)

    def __repr__(self) -> str:
        return (
            f"{number_of(self.rows, 'row')}: {self.kept:,} kept, "
            f"{self.dropped:,} dropped, "
            f"{self.quarantined:,} quarantined; see {self.url or self.path}"
        )

    def _repr_html_(self) -> str:
        return self.run._repr_html_()
