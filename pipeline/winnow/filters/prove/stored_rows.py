"""Rows of a run's pool, and of held-out data, as the run's model sees them.

Both are runs of the step `embed` alone: vectors that the given runs have are taken
over, and only rows that left a run before its `embed` are embedded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.config.lock_file import load_lock
from winnow.config.run import RunConfig, kind_of
from winnow.config.step_kinds import INDEX
from winnow.core.errors import ConfigError, InputError, QueryError, RunError
from winnow.core.hashing import digest, keys
from winnow.core.other_kind import is_run
from winnow.core.progress import Progress
from winnow.core.run_folder import RunFolder
from winnow.core.sql_text import identifier
from winnow.core.vectors import to_matrix
from winnow.flows.runner import EngineFactory
from winnow.flows.runner import run as run_recipe
from winnow.flows.this_machine import on_this_machine
from winnow.reports.database import RunDatabase
from winnow.reports.export.kept_rows import KeptRows, RowsWanted
from winnow.reports.run_view import RunView
from winnow.reports.vector_files import vector_files

Floats = npt.NDArray[np.float32]

#: What a proof decides again is decided on this machine, also for a run made on Spark:
#: the vectors that it trains on lie in memory here anyway.
HERE = "engine.name=local"
#: Held-out rows that are looked at; of more, those first by uid hash.
MOST_HELD_OUT = 5_000


@dataclass(frozen=True)
class ProofRows:
    """n rows in the order of their uids.

    images, texts: (n, d) and (n, e), None where the run has none. labels: (n,), None
    for a row without one; empty if none were asked for. contents: (n,) digests of the
    encoded images, or of what else the vectors are of.
    """

    uids: list[str]
    images: Floats | None
    texts: Floats | None
    labels: list[str | None]
    contents: list[bytes]

    def __len__(self) -> int:
        return len(self.uids)

    @property
    def vectors(self) -> Floats:
        """The vectors that a probe reads: of images, or of texts without them."""
        vectors = self.images if self.images is not None else self.texts
        assert vectors is not None
        return vectors

    @property
    def pairs(self) -> tuple[Floats, Floats]:
        """The vectors of images and captions; there are both."""
        assert self.images is not None
        assert self.texts is not None
        return self.images, self.texts

    def take(self, rows: npt.NDArray[np.int64]) -> ProofRows:
        """Return some of the rows, in the given order."""
        chosen = rows.tolist()
        return replace(
            self,
            uids=[self.uids[row] for row in chosen],
            images=None if self.images is None else self.images[rows],
            texts=None if self.texts is None else self.texts[rows],
            labels=[self.labels[row] for row in chosen] if self.labels else [],
            contents=[self.contents[row] for row in chosen],
        )


def embedding_recipe(run: Path, data: str | None, out: Path) -> RunConfig:
    """Return a run's recipe with its first `embed` alone, over `data` or its own pool.

    Raises RunError if the run is not finished or embeds nothing.
    """
    folder = RunFolder(run)
    markers = folder.markers()
    if not markers or not folder.finished:
        raise RunError(f"{run} is not finished; the same `winnow run` goes on")
    config = load_lock(folder, (HERE,), out)
    step = next((name for name in config.steps if kind_of(name) == "embed"), None)
    if step is None:
        raise RunError(
            f"{run} has no step `embed`, so no vectors to learn from; add one to its "
            "recipe, or let a --recipe train from images"
        )
    changed: dict[str, Any] = {
        "steps": (step,),
        "sections": {step: config.sections[step]},
        "overrides": None,
    }
    if data is not None:
        _require_own_files(config, step, data)
        changed["input"] = config.input.model_copy(
            update={"path": (data,), "format": "auto"}
        )
    return on_this_machine(config.model_copy(update=changed), markers[0].rows_in)


def _require_own_files(config: RunConfig, step: str, data: str) -> None:
    """Raise ConfigError if ready-made vectors lie in files of the pool's alone."""
    section: Any = config.sections[step]
    if section.clip_retrieval or section.npz:
        raise ConfigError(
            f"{data}: the run's vectors come from files beside its pool; make a run of "
            "the held-out data with its own, and give that run's folder as --held-out"
        )


def held_out_recipe(run: Path, data: str, out: Path) -> tuple[RunConfig, list[Path]]:
    """Return what embeds the held-out data as the run did, and runs to take from.

    data: what `input.path` takes, or the folder of a run, whose whole pool is meant.
    Raises ConfigError if that run has vectors of another model.
    """
    if not is_run(Path(data)):
        return embedding_recipe(run, data, out), [run]
    config = embedding_recipe(Path(data), None, out)
    of_run = embedding_recipe(run, None, out)
    if config.model.name != of_run.model.name:
        raise ConfigError(
            f"{data} has vectors of {config.model.name}, {run} of {of_run.model.name}; "
            "embed the held-out data by the run's model"
        )
    return config, [Path(data)]


def embed_rows(
    config: RunConfig,
    sources: Sequence[Path],
    make_engine: EngineFactory,
    progress: Progress | None,
) -> Path:
    """Run a recipe of `embedding_recipe`, or go on with it; return its folder."""
    result = run_recipe(
        config, make_engine, progress, sources=sources, replace_other=True
    )
    return result.path


def read_rows(folder: Path, label: str | None) -> ProofRows:
    """Return the embedded rows of a run of `embed_rows`.

    label: column of the input with a class for each row. Raises ConfigError for a
    column that the input lacks.
    """
    view = RunView(folder)
    uids: list[str] = []
    matrices: dict[str, Floats] = {}
    for modality in ("image", "text"):
        try:
            _, files = vector_files(view.folder, view.markers, modality)
        except QueryError:
            continue
        uids, matrices[modality] = _vectors(files, f"{modality}_vector")
    if not uids:
        raise InputError(f"{folder}: no row has a vector")
    with RunDatabase(folder) as database:
        contents = _contents(database, "image" in matrices)
        labels = _labels(database, label) if label is not None else {}
    return ProofRows(
        uids=uids,
        images=matrices.get("image"),
        texts=matrices.get("text"),
        labels=[labels.get(uid) for uid in uids] if label is not None else [],
        contents=[
            contents.get(uid) or _of_vectors(matrices, row)
            for row, uid in enumerate(uids)
        ],
    )


def _of_vectors(matrices: dict[str, Floats], row: int) -> bytes:
    """Return what a row without an image is known by: its ready-made vector."""
    return digest(next(iter(matrices.values()))[row].tobytes())


def _vectors(files: Sequence[Path], column: str) -> tuple[list[str], Floats]:
    """Return uids, ascending, and their vectors."""
    table = pa.concat_tables([pq.read_table(f, columns=["uid", column]) for f in files])
    table = table.combine_chunks().sort_by("uid")
    matrix = to_matrix(table[column]).astype(np.float32)
    return table["uid"].to_pylist(), matrix


def _contents(database: RunDatabase, of_images: bool) -> dict[str, bytes]:
    """Return a digest of each row's encoded image, or of its text; none without it."""
    if database.pool is None:
        raise InputError(database.note)
    reader = database.pool.reader
    modality = "image" if of_images else "text"
    name = reader.image if of_images else reader.text
    if name is None:
        return {}
    digests: dict[str, bytes] = {}
    rows = KeptRows(database, RowsWanted(columns=(name,)))
    for batch in rows.batches():
        values = batch[modality].to_pylist()
        for uid, value in zip(batch["uid"].to_pylist(), values, strict=True):
            if value is not None:
                plain = value.encode() if isinstance(value, str) else value
                digests[uid] = digest(plain)
    return digests


def _labels(database: RunDatabase, column: str) -> dict[str, str]:
    try:
        rows = database.query(f"SELECT uid, {identifier(column)} AS label FROM samples")
    except QueryError as error:
        raise ConfigError(f"--label {column}: {error}") from error
    pairs = zip(rows["uid"].to_pylist(), rows["label"].to_pylist(), strict=True)
    return {uid: str(label) for uid, label in pairs if label is not None}


def without_leaks(pool: ProofRows, held_out: ProofRows) -> tuple[ProofRows, list[str]]:
    """Return the held-out rows whose content the pool lacks, and the others' uids.

    At most 5,000 are left, by uid hash. Raises InputError if fewer than two are.
    """
    known = set(pool.contents)
    clean = [row for row, c in enumerate(held_out.contents) if c not in known]
    leaks = [u for u, c in zip(held_out.uids, held_out.contents, strict=True)
             if c in known]  # fmt: skip
    if len(clean) < 2:
        raise InputError(
            f"{len(leaks):,} of {len(held_out):,} held-out rows stand in the pool, "
            "content for content; hold out rows that no run was given"
        )
    rows = np.array(clean, np.int64)
    order = np.argsort(keys([held_out.uids[r] for r in clean], "held out"))
    rows = np.sort(rows[order[:MOST_HELD_OUT]])
    return held_out.take(rows), leaks


def same_pool(runs: Sequence[Path]) -> None:
    """Raise RunError if runs are not of one pool, as their first step knows it."""
    prints = {}
    for run in runs:
        marker = RunFolder(run).marker(INDEX)
        prints[run] = marker.fingerprint if marker else None
    others = [run for run in runs if prints[run] != prints[runs[0]]]
    if others:
        raise RunError(
            f"{others[0]} is of another pool than {runs[0]}, or of another state of "
            "it; prove runs of one pool together"
        )


def require_same_state(run: Path, embedded: Path) -> None:
    """Raise InputError if the pool is not what it was when the run was made."""
    ours, now = RunFolder(run).marker(INDEX), RunFolder(embedded).marker(INDEX)
    if ours is None or now is None or ours.fingerprint != now.fingerprint:
        raise InputError(
            f"the pool of {run} has changed since; the same `winnow run` brings the "
            "run up to date"
        )


def kept_draws(run: Path) -> dict[str, int]:
    """Return the rows that a run keeps, and how often each was drawn."""
    draws: dict[str, int] = {}
    with RunDatabase(run) as database:
        for batch in KeptRows(database, RowsWanted(columns=())).uids():
            draws |= dict(
                zip(batch["uid"].to_pylist(), batch["repeats"].to_pylist(), strict=True)
            )
    return draws
