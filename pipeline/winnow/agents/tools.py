"""What an agent may ask: plan, run, and questions about runs, all answered as JSON.

Docstrings here are what an agent reads of a tool, so they say when to use it.
"""

from __future__ import annotations

from typing import Any

from winnow import api
from winnow.agents.workspace import Workspace, as_json
from winnow.core.errors import ConfigError

#: Rows of an answer unless asked for another number, and at most; seconds of a query.
_ROWS, _MOST_ROWS, _SECONDS = 50, 1_000, 30.0


class Tools:
    """The tools over one workspace.

    workspace: the folder that they may look into.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def runs(self) -> dict[str, Any]:
        """List the folders here that hold runs; begin with this."""
        root = self._workspace.root
        locks = sorted(root.rglob("config.lock.yaml"))
        folders = [lock.parent for lock in locks[:_MOST_ROWS]]
        return {
            "root": str(root),
            "runs": [
                {
                    "run": str(folder.relative_to(root)),
                    "finished": (folder / "manifest.json").is_file(),
                }
                for folder in folders
            ],
        }

    def plan(
        self, recipe: str, settings: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Say what a recipe would do to a pool, step by step, and how long it would
        take; nothing is run.

        recipe: a YAML file, or the name of a shipped one, as image_text.
        settings: by dotted key, as {"input.path": "pool", "semantic.epsilon": 0.1}.
        """
        given = self._workspace.settings(settings or {})
        return _answer(api.plan(self._workspace.recipe(recipe), given))

    def run(
        self, recipe: str, out: str, settings: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run a recipe into a folder; the same call goes on where one was stopped.

        recipe: as for plan. out: the run's folder. settings: as for plan.
        """
        given = self._workspace.settings(settings or {}, code=True)
        given["output.path"] = str(self._workspace.path(out))
        result = api.run(self._workspace.recipe(recipe), given)
        return {"run": out, "rows": result.rows, "kept": result.kept, **self.steps(out)}

    def steps(self, run: str) -> dict[str, Any]:
        """Say how many rows each step of a run took in, kept, dropped, quarantined.

        run: the run's folder, as `runs` names it.
        """
        with api.open(self._workspace.path(run)) as opened:
            return {
                "finished": opened.finished,
                "steps": as_json(opened.steps().to_pylist()),
            }

    def explain(self, run: str, uid: str) -> dict[str, Any]:
        """Tell why one row of a run was kept or dropped, with scores, cuts and twin.

        run: the run's folder. uid: the row's, as a query gives it.
        """
        with api.open(self._workspace.path(run)) as opened:
            return _answer(opened.explain(uid))

    def views(self, run: str) -> dict[str, Any]:
        """List the views that `query` reads, with their columns, and named queries.

        run: the run's folder.
        """
        with api.open(self._workspace.path(run)) as opened:
            return {
                "views": opened.views().to_pylist(),
                "named_queries": opened.named_queries().to_pylist(),
            }

    def query(self, run: str, sql: str, limit: int = _ROWS) -> dict[str, Any]:
        """Ask a run in DuckDB's SQL: one SELECT over the views that `views` lists.

        run: the run's folder. sql: the query. limit: the most rows of the answer.
        """
        if not 1 <= limit <= _MOST_ROWS:
            raise ConfigError(f"limit is a number from 1 to {_MOST_ROWS:,}")
        with api.open_database(self._workspace.path(run), seconds=_SECONDS) as database:
            batches = database.stream(sql, max_rows=limit)
            rows = [row for batch in batches for row in batch.to_pylist()]
            return {"rows": as_json(rows), "cut": batches.cut}

    def search(
        self, run: str, like: str = "", text: str = "", where: str = "", k: int = 20
    ) -> dict[str, Any]:
        """Find the rows of a run that are most like a row, or like a text.

        run: the run's folder. like: a row's uid; text: words, which need the run's
        model; one of the two. where: a condition in SQL over the input's columns, fate,
        step, reason, and each step's score under the step's name. k: the most rows.
        """
        if not 1 <= k <= _MOST_ROWS:
            raise ConfigError(f"k is a number from 1 to {_MOST_ROWS:,}")
        with api.open(self._workspace.path(run)) as opened:
            rows = opened.search(text or None, like=like or None, where=where, k=k)
            return {"rows": as_json(rows.to_pylist())}

    def what_if(self, run: str, settings: dict[str, Any]) -> dict[str, Any]:
        """Say how a finished run's decisions would differ under other settings.

        Decided anew from stored scores; nothing is embedded, the run is not changed.
        run: the run's folder. settings: by dotted key, as {"semantic.epsilon": 0.1}.
        """
        with api.open(self._workspace.path(run)) as opened:
            return _answer(opened.what_if(self._workspace.settings(settings)))

    def diff(self, a: str, b: str) -> dict[str, Any]:
        """Say what two finished runs keep alone, and why the other dropped it.

        a, b: the runs' folders.
        """
        with api.open(self._workspace.path(a)) as opened:
            return _answer(opened.diff(self._workspace.path(b)))


def _answer(facts: Any) -> dict[str, Any]:
    answer: dict[str, Any] = as_json(dict(facts))
    return answer
