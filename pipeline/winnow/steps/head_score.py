"""The score `head`: a small trained model on the vectors, read from a file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa

from winnow.algorithms.filter.heads import Head, check_head, head_scores
from winnow.config.filter_steps import HeadOptions, ScoreTerm
from winnow.core.engine import Frame
from winnow.core.errors import ConfigError
from winnow.core.hashing import digest
from winnow.core.vectors import to_matrix
from winnow.steps.contract import Context
from winnow.steps.head_weights import read_layers
from winnow.steps.score_terms import SCORED, Scored, scored_batch


def head(context: Context, pairs: Frame, term: ScoreTerm) -> Scored:
    """Score one vector of each pair by the head of `term.weights`.

    Raises ConfigError if the head takes vectors of another length.
    """
    given = head_of(term)
    options = HeadOptions.model_validate(term.options)
    dim = context.engine.schema(pairs).field(options.on).type.list_size
    try:
        check_head(given, dim)
    except ValueError as error:
        raise ConfigError(
            f"{context.step}: {term.weights}: {error}; a head goes with the model it "
            "was trained on"
        ) from error
    kernel = partial(score_by_head, head=given, column=options.on)
    shapes = [list(layer.weight.shape) for layer in given.layers]
    facts = {"path": term.weights, "digest": weights_state(term), "layers": shapes}
    return Scored(context.engine.map_batches(pairs, kernel, SCORED), {"head": facts})


def head_of(term: ScoreTerm) -> Head:
    """Return the head that a term names; raises what reading it raises."""
    assert term.weights is not None
    options = HeadOptions.model_validate(term.options)
    layers = read_layers(term.weights, options.layers)
    given = Head(layers, options.activation, options.output, options.index)
    try:
        check_head(given)
    except ValueError as error:
        raise ConfigError(
            f"{term.weights}: {error}; options.layers names the layers in their order, "
            "options.index the output"
        ) from error
    return given


def weights_state(term: ScoreTerm) -> str:
    """Return the digest of a term's weights, once they are known to be usable."""
    head_of(term)
    assert term.weights is not None
    return digest(Path(term.weights).expanduser().read_bytes()).hex()


def score_by_head(
    batches: Iterator[pa.RecordBatch], *, head: Head, column: str
) -> Iterator[pa.RecordBatch]:
    """Yield what the head makes of each vector; NaN becomes null and is never kept."""
    for batch in batches:
        values = head_scores(to_matrix(batch.column(column)), head)
        yield scored_batch(batch.column("uid"), values)
