"""A user's own scorer as a step like any other.

The function gets an Arrow record batch (uid, the named input columns, and vectors and
clusters of the steps before where `artifacts` names them) and returns
one value for each row: numbers are scores, booleans are decisions. This is how
aesthetics, NSFW or watermark models come in.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.config.steps import CustomConfig
from winnow.core.engine import Frame
from winnow.core.errors import ConfigError, WinnowError
from winnow.core.hashing import digest
from winnow.formats.clip_retrieval import map_numbers
from winnow.formats.reader import SampleReader
from winnow.steps.contract import (
    JUDGED,
    Context,
    Contract,
    Outcome,
    decisions_of,
    judged,
)
from winnow.steps.selection import Cut, Words, budget_rows, count_unscored, keep_best

_ANSWERED = pa.schema(
    [
        ("uid", pa.string()),
        ("score", pa.float64()),
        ("decision", pa.bool_()),
        ("reason", pa.string()),
        ("valid", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class Call:
    """A function by name, and what it is given; pickles to any worker."""

    function: str
    columns: tuple[str, ...]
    artifacts: tuple[str, ...] = ()
    centroids: npt.NDArray[np.float32] | None = None

    def load(self) -> Callable[[pa.RecordBatch], Any]:
        """Return the function of a batch alone."""
        function: Callable[..., Any] = load_function(self.function)
        if self.centroids is None:
            return function
        return partial(function, centroids=self.centroids)


def contract(config: CustomConfig) -> Contract:
    """Return the input columns that the function asks for.

    Raises ConfigError if the function cannot be imported.
    """
    function = load_function(config.function)
    return Contract(
        columns=config.columns,
        needs=frozenset(config.artifacts),
        version=_source(function),
    )


def _source(function: Callable[..., Any]) -> str:
    """Return the digest of the file that the function stands in."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:  # built in, or an object that is called
        file = None
    return digest(Path(file).read_bytes()).hex() if file else ""


def load_function(name: str) -> Callable[[pa.RecordBatch], Any]:
    """Import `package.module:function`, from the working directory too."""
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        function: Callable[[pa.RecordBatch], Any] = getattr(
            importlib.import_module(module), attribute
        )
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"custom.function: cannot import '{name}' ({error}); the module has to be "
            "installed or lie in the working directory"
        ) from error
    except Exception as error:
        raise ConfigError(
            f"custom.function: importing '{name}' failed: {error!r}"
        ) from error
    if not callable(function):
        raise ConfigError(f"custom.function: '{name}' is no function but {function!r}")
    return function


def run(context: Context) -> Outcome:
    """Ask the function about every row; cut its scores or follow its decisions."""
    engine, config = context.engine, context.config
    samples, names = _with_artifacts(context)
    call = Call(config.function, config.columns, names, _centroids(context))
    answered = engine.map_batches(
        samples,
        partial(ask, reader=context.reader, call=call),
        _ANSWERED,
        order_by=("source", "row"),
    )
    unread = engine.where(answered, "valid", False)
    valid = engine.where(answered, "valid", True)
    yes, no = (engine.where(valid, "decision", value) for value in (True, False))
    followed = engine.map_batches(engine.union([yes, no]), judge_decisions, JUDGED)
    scores = engine.where(valid, "decision", None)
    scored = engine.select(scores, {"uid": "uid", "score": "score"})
    count = _count(context, engine.count(scored))
    decided = keep_best(
        engine,
        scored,
        Cut(count, config.threshold, config.ties),
        descending=config.keep_high,
        words=Words("custom_passed", "custom_rejected", "score_nan"),
    )
    return Outcome(
        decisions_of(engine, engine.union([followed, decided])),
        rejects=engine.select(unread, {"uid": "uid", "reason": "reason"}),
        facts={"budget": count, "not_scored": count_unscored(engine, scored)},
    )


def _with_artifacts(context: Context) -> tuple[Frame, tuple[str, ...]]:
    """Return the samples with columns of the artifacts asked for, and their names."""
    engine, samples = context.engine, context.samples
    names: list[str] = []
    for artifact in context.config.artifacts:
        if artifact == "centroids":
            continue
        given = [artifact.removesuffix("s")]
        if artifact == "clusters":
            given.append("distance")
        columns = {name: name for name in ("uid", *given)}
        frame = engine.select(context.scan(artifact), columns)
        samples = engine.join(samples, frame, "uid", "inner")
        names += given
    return samples, tuple(names)


def _centroids(context: Context) -> npt.NDArray[np.float32] | None:
    if "centroids" not in context.config.artifacts:
        return None
    return np.asarray(map_numbers(context.artifacts["centroids"]), np.float32)


def _count(context: Context, scored: int) -> int | None:
    """Return the budget for scores; raises ConfigError if there is no cut at all."""
    config: CustomConfig = context.config
    if scored and not config.has_budget and config.threshold is None:
        raise ConfigError(
            f"{context.step}: {config.function} returns scores; give keep_fraction, "
            "keep_count or threshold"
        )
    return budget_rows(context, config) if config.has_budget else None


def ask(
    batches: Iterator[pa.RecordBatch],
    *,
    reader: SampleReader,
    call: Call,
) -> Iterator[pa.RecordBatch]:
    """Yield _ANSWERED rows.

    Raises WinnowError that names the function if it fails or answers wrongly.
    """
    answer = call.load()
    for part, artifacts in _read(batches, reader, call):
        columns = [part.column(f"extra.{name}") for name in call.columns]
        given = pa.RecordBatch.from_arrays(
            [part.column("uid"), *columns, *artifacts],
            names=["uid", *call.columns, *call.artifacts],
        )
        reason = part.column("reason")
        valid = pc.is_null(reason)
        score, decision = _answer(answer, call.function, given)
        yield pa.RecordBatch.from_arrays(
            [part.column("uid"), score, decision, reason, valid], schema=_ANSWERED
        )


def _read(
    batches: Iterator[pa.RecordBatch], reader: SampleReader, call: Call
) -> Iterator[tuple[pa.RecordBatch, list[pa.Array]]]:
    """Yield what is read of some rows, and the same rows' artifacts."""
    for batch in batches:
        start = 0
        for part in reader.read(iter([batch]), (), call.columns):
            rows = batch.slice(start, len(part))
            yield part, [rows.column(name) for name in call.artifacts]
            start += len(part)


def _answer(
    function: Callable[[pa.RecordBatch], Any], name: str, given: pa.RecordBatch
) -> tuple[pa.Array, pa.Array]:
    """Return scores and decisions; one of the two is null in each row."""
    try:
        raw = function(given)
        values = raw if isinstance(raw, pa.Array) else pa.array(np.asarray(raw))
    except Exception as error:
        raise WinnowError(f"custom: {name} failed: {error!r}") from error
    rows, kind = len(given), values.type
    if len(values) != rows:
        raise WinnowError(f"custom: {name} returned {len(values)} values for {rows}")
    if pa.types.is_boolean(kind):
        return pa.nulls(rows, pa.float64()), pc.fill_null(values, False)
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise WinnowError(
            f"custom: {name} returned {kind}; return one number or boolean per row"
        )
    numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    scores = pa.array(numbers, pa.float64(), from_pandas=True)
    return scores, pa.nulls(rows, pa.bool_())


def judge_decisions(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Follow the function's own decisions."""
    for batch in batches:
        keep = batch.column("decision")
        reason = pc.if_else(keep, "custom_passed", "custom_rejected")
        yield judged(batch.column("uid"), keep=keep, reason=reason)
