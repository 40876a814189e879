"""Keep captions of which a word names a given synset: DataComp's text-based filter.

Gadre et al. 2023 (arXiv 2304.14108): a word of the caption whose first synset in
WordNet is one of ImageNet-21k's.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from winnow.config.column_steps import SynsetsConfig
from winnow.core.hashing import fingerprint
from winnow.formats.reader import SampleReader
from winnow.models.wordnet import open_wordnet, read_synsets
from winnow.steps.contract import (
    JUDGED,
    Context,
    Contract,
    Outcome,
    decisions_of,
    judged,
    rejects_of,
)


def contract(config: SynsetsConfig) -> Contract:
    """Return that captions are read; raises InputError if a file cannot be used."""
    wanted = read_synsets(config.synsets)
    open_wordnet(config.wordnet)
    files = sorted(Path(config.wordnet).glob("*.*"))
    stated = [(file.name, file.stat().st_size) for file in files]
    return Contract(
        modalities=frozenset({"text"}),
        version=fingerprint(repr((sorted(wanted), stated))),
    )


def run(context: Context) -> Outcome:
    """Look every caption's words up."""
    engine, config = context.engine, context.config
    wanted = read_synsets(config.synsets)
    kernel = partial(
        judge_captions,
        reader=context.reader,
        wordnet=config.wordnet,
        wanted=wanted,
    )
    frame = engine.map_batches(
        context.samples, kernel, JUDGED, order_by=("source", "row")
    )
    return Outcome(
        decisions_of(engine, frame),
        rejects_of(engine, frame),
        facts={"synsets": len(wanted)},
    )


def judge_captions(
    batches: Iterator[pa.RecordBatch],
    *,
    reader: SampleReader,
    wordnet: str,
    wanted: frozenset[int],
) -> Iterator[pa.RecordBatch]:
    """Yield JUDGED rows; words are what white space separates."""
    first = open_wordnet(wordnet).first_synset
    known: dict[str, bool] = {}
    for part in reader.read(batches, ("text",)):
        keep = np.zeros(len(part), bool)
        for row, caption in enumerate(part.column("text").to_pylist()):
            for word in (caption or "").split():
                if word not in known:
                    known[word] = first(word) in wanted
                if known[word]:
                    keep[row] = True
                    break
        fault, named = part.column("reason"), pa.array(keep)
        yield judged(
            part.column("uid"),
            keep=named,
            reason=pc.coalesce(
                fault, pc.if_else(named, "names_a_synset", "names_no_synset")
            ),
            rejected=pc.is_valid(fault),
        )
