"""What a step is: what it needs, what it gives, and how it runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from winnow.config.model import ModelConfig
from winnow.core.engine import Engine, Frame
from winnow.core.schemas import DECISIONS, REJECTS
from winnow.formats.reader import SampleReader
from winnow.models.checkpoint import local_files
from winnow.models.encoder import ModelSpec

#: Bytes of a decision in the ledger, and of a vector of 512 numbers.
LEDGER_BYTES = 30
VECTOR_BYTES = 2 * 512
#: What turns images and captions into vectors, weights apart.
ENCODER_LIBRARIES = frozenset({"open_clip_torch", "pillow", "torch"})
#: Rows per second that a model embeds on two cores.
EMBED_RATE = 100


@dataclass(frozen=True)
class Contract:
    """What a step reads and provides under given settings.

    `needs` and `provides` name artifacts: image_vectors, text_vectors, clusters.
    """

    modalities: frozenset[str] = frozenset()
    columns: tuple[str, ...] = ()
    #: Those of `columns` that have to hold lists of numbers.
    vectors: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    provides: frozenset[str] = frozenset()
    #: Sections of the recipe besides the step's own that its result depends on.
    depends_on: frozenset[str] = frozenset()
    decides: bool = True
    #: Whether it makes other texts of some, which no later step reads.
    cuts_text: bool = False
    #: Fingerprint of files outside the pool that the result depends on.
    version: str = ""
    #: Distributions whose version decides what is computed and stored.
    libraries: frozenset[str] = frozenset()
    #: Rows per second, where these settings make it another than the step's own.
    rate: int | None = None
    #: Bytes that the step stores for each row that enters.
    row_bytes: int = LEDGER_BYTES
    #: Told the pool's columns before anything runs, once `columns` are known to be
    #: among them; raises ConfigError or InputError if their types are none to work on.
    fits: Callable[[pa.Schema], None] | None = None


@dataclass(frozen=True)
class Context:
    """What a running step is given."""

    engine: Engine
    step: str
    config: Any
    samples: Frame
    rows: int
    pool_rows: int
    reader: SampleReader
    shard_rows: Mapping[str, int]
    schema: pa.Schema
    artifacts: Mapping[str, Path]
    model: ModelConfig
    seed: int
    #: Folder to write artifacts in; it gets its final name when the step is done.
    folder: Path
    #: Folder whose content survives a crash, for work done in parts.
    parts: Path
    #: Artifacts of an earlier run of this step that still hold, or None.
    reusable: Path | None
    #: Artifacts of runs over any pool that hold for samples of equal contents.
    alike: tuple[Path, ...]

    def scan(self, artifact: str) -> Frame:
        """Return a frame over an artifact of an earlier step."""
        return self.engine.scan(os.fspath(self.artifacts[artifact]))

    def vectors(self, modality: str) -> Frame:
        """Return (uid, vector) of one modality."""
        columns = {"uid": "uid", "vector": f"{modality}_vector"}
        return self.engine.select(self.scan(f"{modality}_vectors"), columns)


@dataclass(frozen=True)
class Outcome:
    """What a step hands back.

    decisions: a frame with the columns of DECISIONS, one row for each sample that
    entered and was not rejected; None for a step that does not decide.
    rejects: a frame of (uid, reason), or None.
    artifacts: name → path below the step's folder.
    facts: what the manifest should say about this step.
    outputs: name in the run's folder → path below the step's folder.
    """

    decisions: Frame | None = None
    rejects: Frame | None = None
    artifacts: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reuse:
    """When artifacts of an earlier run of a step still hold in part.

    settings: what must be equal; same_rows: whether also the rows that enter must;
    by_content: whether some of it holds for equal samples of other pools, too.
    """

    settings: Any
    same_rows: bool
    by_content: bool = False


#: DECISIONS, and whether the row is rejected instead of decided.
JUDGED = DECISIONS.append(pa.field("rejected", pa.bool_(), nullable=False))


def judged(
    uid: pa.Array, keep: pa.Array | bool, reason: pa.Array | str, **others: Any
) -> pa.RecordBatch:
    """Return a batch of JUDGED rows.

    `others` are the remaining columns (score, threshold, kept_twin, rejected): arrays,
    or one value for all rows. What is not given is null, and nothing is rejected.
    """
    values = {"uid": uid, "keep": keep, "reason": reason, "rejected": False, **others}
    columns = []
    for field_ in JUDGED:
        value = values.get(field_.name)
        if not isinstance(value, pa.Array):
            value = pa.repeat(pa.scalar(value, field_.type), len(uid))
        columns.append(value.cast(field_.type))
    return pa.RecordBatch.from_arrays(columns, schema=JUDGED)


def judge_marked(
    batches: Iterator[pa.RecordBatch], *, unmarked: str, threshold: float | None
) -> Iterator[pa.RecordBatch]:
    """Yield JUDGED rows of marks joined to all rows: those without one are kept.

    unmarked: the reason of rows that have no mark.
    """
    for batch in batches:
        yield judged(
            batch.column("uid"),
            keep=pc.coalesce(batch.column("keep"), pa.scalar(True)),
            reason=pc.coalesce(batch.column("reason"), pa.scalar(unmarked)),
            score=batch.column("score"),
            threshold=threshold,
            kept_twin=batch.column("kept_twin"),
            rejected=pc.coalesce(batch.column("rejected"), pa.scalar(False)),
        )


def decisions_of(engine: Engine, frame: Frame) -> Frame:
    """Return the decided rows of a JUDGED frame."""
    decided = engine.where(frame, "rejected", False)
    return engine.select(decided, {name: name for name in DECISIONS.names})


def rejects_of(engine: Engine, frame: Frame) -> Frame:
    """Return the rejected rows of a JUDGED frame."""
    rejected = engine.where(frame, "rejected", True)
    return engine.select(rejected, {name: name for name in REJECTS.names})


def model_spec(model: ModelConfig) -> ModelSpec:
    """Return the encoder that a `model` section describes."""
    return ModelSpec(
        name=model.name,
        pretrained=model.pretrained,
        precision=model.precision,
        batch_size=model.batch_size,
        max_pixels=model.max_pixels,
        background=model.background,
        exact_decode=model.exact_decode,
        runtime=model.runtime,
        files=" ".join(local_files(model.name, model.pretrained)),
    )
