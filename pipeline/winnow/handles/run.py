"""A run of samples, opened: what it kept and dropped, why, and what else it could."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from winnow.config.settings import as_overrides
from winnow.core.errors import ConfigError, RunError
from winnow.core.extras import require_package
from winnow.core.other_kind import is_scan
from winnow.handles import markup
from winnow.handles.engine import make_engine
from winnow.handles.facts import Facts
from winnow.handles.rows import ArrowRows
from winnow.handles.run_tables import RunTables
from winnow.stores.copies import local_run

if TYPE_CHECKING:
    import datasets

    from winnow.handles.app_frame import AppFrame
    from winnow.handles.torch_rows import KeptDataset
    from winnow.reports.notebook import Chart, Samples


class Run(RunTables):
    """A run's folder, opened to be read; nothing of it is changed.

    path: the folder, of a run that is finished or not, or the URL of one on an object
        store, of which the version of this moment is copied to the cache and read.

    Rows come as ArrowRows, which turn into Arrow, polars or pandas; findings as Facts,
    dictionaries that print as text.

    Raises RunError if the folder holds no run.

    >>> run = winnow.Run("runs/first")
    >>> run.finished
    True
    >>> sum(row["dropped"] for row in run.steps()) == len(run.dropped())
    True
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        folder = local_run(path)
        if is_scan(folder):
            raise RunError(f"{path} holds a scan of a lake; open it by open_lake")
        super().__init__(folder)

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return (self.path / "manifest.json").is_file()

    @cached_property
    def config(self) -> dict[str, Any]:
        """The recipe of the run, every default written out."""
        return self._left.config

    def explain(self, uid: str) -> Facts:
        """Return a row's story: each step, its score against the cut, its twin's fate.

        uid: the row's, as in the ledger.

        Raises InputError if the run has no such row.

        >>> story = run.explain(uid)
        >>> story["fate"], story["at_step"]
        ('dropped', 'semantic')
        >>> text = str(story)  # as `winnow explain` tells it
        """
        from winnow.reports.explain import explain, tell

        return Facts(explain(self._left, str(uid)), tell)

    def what_if(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        examples: int = 10,
        allow_embedding: bool = False,
        **sections: Any,
    ) -> Facts:
        """Return how the decisions would differ under other settings.

        They are decided anew from stored scores and vectors, as a full run would; the
        run itself is not touched.

        settings: by dotted key, as in `run`.
        examples: rows shown of each kind.
        allow_embedding: embed rows that have no vector yet, which takes the model.
        sections: settings by section: `semantic={"epsilon": 0.1}`, `seed=1`.

        Raises ConfigError if the settings are wrong or rows would have to be embedded,
        RunError if the run is not finished.

        >>> difference = run.what_if(semantic={"epsilon": 0.3})
        >>> difference["ran"]
        ['semantic', 'score']
        >>> difference["kept"]["a"] == len(run.kept(()))
        True
        """
        from winnow.flows.what_if import tell, what_if

        overrides = as_overrides(settings) + as_overrides(sections)
        if not overrides:
            raise ConfigError(
                "what_if: name a setting, as in semantic={'epsilon': 0.1}"
            )
        difference = what_if(
            self.path, overrides, make_engine, embed=allow_embedding, examples=examples
        )
        return Facts(difference, tell)

    def sweep(self, key: str, values: Sequence[object]) -> ArrowRows:
        """Return what the run would keep under each value of one setting.

        key: the setting, as in `semantic.epsilon`.
        values: those to try, as a recipe holds them.

        A row for each: `value`, rows `kept`, `gained` and `lost` against the run as it
        is, and the selections' Jaccard similarity. Raises what `what_if` raises.

        >>> run.sweep("score.keep_fraction", [0.5, 0.8]).column_names
        ['value', 'kept', 'gained', 'lost', 'jaccard']
        """
        from winnow.flows.what_if import sweep

        return ArrowRows.of(
            pa.Table.from_pylist(sweep(self.path, key, values, make_engine))
        )

    def diff(self, other: Run | str | os.PathLike[str], *, examples: int = 10) -> Facts:
        """Return how the selection differs from that of another run.

        other: the other run, or its folder; it is B, this one A.
        examples: rows shown of each kind.

        Raises RunError if one of the two is not finished.

        >>> run.diff("runs/first")["kept"]["jaccard"]
        1.0
        """
        from winnow.reports.diff import diff, tell

        path = other.path if isinstance(other, Run) else local_run(other)
        return Facts(diff(self.path, path, examples), tell)

    def export(
        self,
        to: str,
        out: str | os.PathLike[str],
        *,
        scores: bool = False,
        shard_rows: int = 10_000,
    ) -> Path:
        """Write what the run keeps as training code reads it; return where.

        to: `webdataset`, `hf`, `parquet`, `uids` or `clip-retrieval`.
        out: a new folder; for `uids` a file (.npy, or .txt for one uid to a line).
        scores: add `winnow_STEP` for each step that scored or clustered.
        shard_rows: the most rows of a shard.

        It is there whole or not at all. Raises ConfigError for an unknown format or if
        `out` exists, RunError if the run is not finished, InputError if its input is
        gone.

        >>> run.export("uids", "subset.txt").name
        'subset.txt'
        """
        from winnow.reports.export.export import export

        export(self.path, to, Path(out), with_scores=scores, shard_rows=shard_rows)
        return Path(out)

    def to_hf(self, *, scores: bool = False) -> datasets.Dataset:
        """Return the kept rows as a `datasets.Dataset`, pictures as an Image feature.

        scores: add `winnow_STEP` for each step that scored or clustered.

        The rows lie in a temporary file that is mapped into memory and goes with the
        process. Raises MissingExtraError if `datasets` is not installed, and what
        `export` raises.

        >>> run.to_hf().num_rows == len(run.kept(()))
        True
        """
        from winnow.handles.hf_rows import as_dataset

        return as_dataset(self.path, scores=scores)

    def kept_in_kind(self, spark: Any = None) -> Any:
        """Return the kept rows, whole, as the run's pool was given in memory.

        spark: the SparkSession that reads them, for a pool of Spark. None: the active
            one.

        An Arrow table, a frame of polars or pandas (with its index), a list of
        dictionaries (a key that a row lacked is None), a `datasets.Dataset` with its
        features, or a DataFrame of Spark, which `write.saveAsTable` makes a table of.
        A row that was drawn several times stands once. Raises ConfigError for a pool of
        files, whose kept rows lie in `kept/`, RunError if the run is not finished.

        >>> pool = [{"uid": "a", "text": "one"}, {"uid": "b", "text": "one"}]
        >>> recipe = {"input": {"path": pool}, "steps": ["exact", "apply"],
        ...           "exact": {"by": ["caption"]}, "output": {"path": "runs/memory"}}
        >>> winnow.run(recipe).run.kept_in_kind()
        [{'uid': 'a', 'text': 'one'}]
        """
        from winnow.handles.memory_pool import kept_in_kind

        return kept_in_kind(self.path, spark)

    def to_torch(
        self, columns: Sequence[str] | None = None, *, decode: bool = True
    ) -> KeptDataset:
        """Return the kept rows as an iterable dataset for a torch DataLoader.

        columns: of the input, as in `kept`.
        decode: give pictures as PIL images (RGB, upright); otherwise as encoded bytes.

        Each row is a dictionary. Workers share the rows among them, and so do the
        processes of a distributed training; rows come in the order of the input, one
        that was drawn several times that often. Raises MissingExtraError if torch is
        not installed, and what `kept` raises.

        >>> first = next(iter(run.to_torch(["text"])))
        >>> sorted(first)
        ['text', 'uid']
        """
        require_package("torch", "Run.to_torch")
        from winnow.handles.torch_rows import KeptDataset

        return KeptDataset(self.path, columns, decode=decode)

    def report(
        self,
        out: str | os.PathLike[str] | None = None,
        columns: Sequence[str] = (),
    ) -> Path:
        """Write the run's page and return where.

        out: the file. None: `report.html` in the run's folder.
        columns: what to look for bias in: columns of the input, `language`, `aspect` or
            `source`; without any, the usual ones that the input has.

        Raises ConfigError for an unknown column.

        >>> run.report("page.html").name
        'page.html'
        """
        from winnow.reports.page.report import write_report

        return write_report(self.path, out if out is None else Path(out), columns)

    def histogram(self, step: str) -> Chart:
        """Return the histogram of a step's scores with its cut, for a notebook.

        step: a step that scores.

        Raises ConfigError for a step that the run does not have.
        """
        from winnow.reports.notebook import scores

        self._known(step)
        return scores(self._sql(), step)

    def samples(self, uids: Sequence[str]) -> Samples:
        """Return samples with picture and caption, for a notebook to show.

        uids: of the rows to show, in this order.
        """
        from winnow.reports.notebook import Samples

        return Samples(self._sql(), list(uids))

    def map(self) -> Chart:
        """Return the map of the rows, coloured by fate, for a notebook.

        Rows whose vectors are alike lie side by side. The layout is that of
        `winnow map`, which the first call makes in the run's folder. Of more than
        5,000 rows, so many by uid hash are drawn; the app shows all of them.

        Raises QueryError for a run without vectors, MissingExtraError without the
        extra `map`.

        >>> run.map()._repr_svg_()[:4]
        '<svg'
        """
        from winnow.flows.embedding_map import layout_of
        from winnow.reports.notebook import fates_map

        return fates_map(self._sql(), layout_of(self.path))

    def show(self, height: int = 800) -> AppFrame:
        """Return the local app over the run, which a notebook shows in a frame.

        height: of the frame, in pixels.

        Raises MissingExtraError without the extra `ui`, ConfigError for a height of 0.

        >>> shown = run.show()
        >>> shown.url.startswith("http://localhost:")
        True
        >>> shown.close()
        """
        from winnow.handles.app_frame import AppFrame

        return AppFrame(self.path, height)

    def __reduce__(self) -> tuple[type[Run], tuple[Path]]:
        return Run, (self.path,)

    def _repr_html_(self) -> str:
        steps = self.steps()
        rows = [tuple(row.values()) for row in steps]
        state = "" if self.finished else " (not finished)"
        return markup.line(f"{self.path}{state}") + markup.table(
            steps.column_names, rows
        )
