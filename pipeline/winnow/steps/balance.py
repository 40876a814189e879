"""At most so many rows of each concept, exactly: MetaCLIP's balance by uid hash.

Xu et al. 2023 (arXiv 2309.16671, §3): every entry of a list keeps each of the n_e
texts that it matches with probability min(1, t / n_e), and a text stays if any of its
entries keeps it. Here an entry keeps exactly min(t, n_e) texts, those of its lowest
hashes, so that the same rows stay on every machine and a larger t only adds some.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from winnow.config.balance_steps import CLUSTERS, NGRAMS, BalanceConfig
from winnow.core.engine import Frame
from winnow.core.extras import require
from winnow.core.hashing import digest, keys
from winnow.steps.cluster_ranks import RANKED, rank_rows
from winnow.steps.concepts import (
    FOUND,
    MOST,
    find_concepts,
    ngrams_of_pool,
    read_concepts,
)
from winnow.steps.contract import Context, Contract, Outcome, Reuse, decisions_of
from winnow.steps.selection import Cut, Words, budget_rows, count_unscored, keep_best

_DRAWN = pa.schema([*RANKED.remove(3), ("key", pa.float64())])
_PLACED = pa.schema(
    [("uid", pa.string()), ("concept", pa.int32()), ("place", pa.float64())]
)
#: Concepts that the manifest names.
_SHOWN = 20


def contract(config: BalanceConfig) -> Contract:
    """Return that captions are read, or clusters; a faulty list raises InputError."""
    draws = frozenset({"seed"})
    if config.concepts == CLUSTERS:
        return Contract(needs=frozenset({"clusters"}), depends_on=draws)
    require("concepts", f"balance.concepts: {config.concepts}")
    listed = [] if config.concepts == NGRAMS else read_concepts(config.concepts)
    return Contract(
        modalities=frozenset({"text"}),
        depends_on=draws,
        version=digest("\n".join(listed).encode()).hex() if listed else "",
    )


def reuse(config: BalanceConfig) -> Reuse:
    """Return what the stored places depend on: not how many are kept."""
    settings = config.model_dump(exclude={"limit", "keep_fraction", "keep_count", "of"})
    listed = config.concepts not in (CLUSTERS, NGRAMS)
    return Reuse([settings, contract(config).version if listed else ""], same_rows=True)


def run(context: Context) -> Outcome:
    """Give every row its best place among the rows of its concepts, and cut."""
    engine, config = context.engine, context.config
    folder = os.fspath(context.folder)
    known = context.reusable / "places" if context.reusable else None
    if known is not None:
        for name in ("places", "concepts", "unread"):
            engine.write(
                engine.scan(os.fspath(known.parent / name)), f"{folder}/{name}", ()
            )
    else:
        _place(context)
    places = engine.scan(f"{folder}/places")
    unread = engine.scan(f"{folder}/unread")
    samples = engine.select(context.samples, {"uid": "uid"})
    samples = engine.join(samples, engine.select(unread, {"uid": "uid"}), "uid", "anti")
    best = engine.select(places, {"uid": "uid", "score": "place"})
    scored = engine.join(samples, best, "uid", "left")
    count = budget_rows(context, config) if config.has_budget else None
    bound = None if config.limit is None else float(config.limit)
    decided = keep_best(
        engine,
        scored,
        Cut(count, bound),
        descending=False,
        words=Words("within_concept_limit", "over_concept_limit", "no_concept"),
    )
    return Outcome(
        decisions_of(engine, decided),
        rejects=unread,
        artifacts={name: name for name in ("places", "concepts", "unread")},
        facts={
            "budget": count,
            "without_concept": count_unscored(engine, scored),
            "places_reused": known is not None,
            **_told(engine.collect(engine.scan(f"{folder}/concepts"), MOST)),
        },
    )


def _place(context: Context) -> None:
    """Write `places/`, `concepts/` (with their rows) and `unread/`."""
    engine, folder = context.engine, os.fspath(context.folder)
    matches, names = _found(context)
    engine.write(
        engine.select(
            engine.where(matches, "valid", False), {"uid": "uid", "reason": "reason"}
        ),
        f"{folder}/unread",
        ["uid"],
    )
    pairs = engine.select(
        engine.where(matches, "valid", True), {"uid": "uid", "cluster": "cluster"}
    )
    kernel = partial(draw_rows, salt=f"{context.seed}:{context.step}")
    ranked = rank_rows(engine, engine.map_batches(pairs, kernel, _DRAWN))
    placed = engine.map_batches(ranked, place_rows, _PLACED)
    engine.write(placed, f"{folder}/pairs", ["uid"])
    placed = engine.scan(f"{folder}/pairs")
    best = engine.aggregate(placed, "uid", {"least": ("place", "min")})
    least = engine.map_batches(
        engine.join(placed, best, "uid", "inner"), least_places, _PLACED
    )
    engine.write(least, f"{folder}/places", ["uid"])
    counted = engine.aggregate(placed, "concept", {"rows": ("uid", "count")})
    table = engine.collect(counted, MOST).sort_by("concept")
    numbers = table["concept"].to_pylist()
    called = [str(n) if names is None else names[n] for n in numbers]
    table = table.append_column("name", pa.array(called, pa.string()))
    engine.write(engine.from_table(table), f"{folder}/concepts", ["concept"])


def _found(context: Context) -> tuple[Frame, list[str] | None]:
    """Return FOUND, and what the concepts are called; None: clusters, by number."""
    engine, config = context.engine, context.config
    if config.concepts == CLUSTERS:
        samples = engine.select(context.samples, {"uid": "uid"})
        members = engine.join(context.scan("clusters"), samples, "uid", "semi")
        return engine.map_batches(members, as_found, FOUND), None
    if config.concepts == NGRAMS:
        names = ngrams_of_pool(context)
    else:
        names = read_concepts(config.concepts)
    kernel = partial(
        find_concepts, reader=context.reader, concepts=names, config=config
    )
    matches = engine.map_batches(
        context.samples, kernel, FOUND, order_by=("source", "row")
    )
    folder = os.fspath(context.folder / "found")
    engine.write(matches, folder, ())
    return engine.scan(folder), names


def as_found(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield FOUND of rows of clusters."""
    for batch in batches:
        columns = [batch.column("uid"), batch.column("cluster")]
        columns += [pa.nulls(len(batch), pa.string()), pa.repeat(True, len(batch))]
        yield pa.RecordBatch.from_arrays(columns, schema=FOUND)


def draw_rows(
    batches: Iterator[pa.RecordBatch], *, salt: str
) -> Iterator[pa.RecordBatch]:
    """Give each row of each concept a number in [0, 1), by hash of both."""
    for batch in batches:
        concept = batch.column("cluster").to_numpy().astype(np.uint64)
        mixed = keys(batch.column("uid").to_pylist(), salt)
        mixed = _mixed(mixed ^ _mixed(concept + np.uint64(1)))
        drawn = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
        # First come the largest, so that places, rank + 1 − number, go up.
        columns = [batch.column("uid"), batch.column("cluster")]
        columns += [pa.array(drawn), pa.array(-drawn)]
        yield pa.RecordBatch.from_arrays(columns, schema=_DRAWN)


def _mixed(numbers: np.ndarray[Any, np.dtype[np.uint64]]) -> Any:
    """Return SplitMix64's finaliser of each number."""
    with np.errstate(over="ignore"):
        numbers = numbers * np.uint64(0x9E3779B97F4A7C15)
        numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return numbers ^ (numbers >> np.uint64(31))


def place_rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield places: above r − 1 and up to r for the r-th row of a concept."""
    for batch in batches:
        rank = batch.column("rank").to_numpy()
        first = rank + 1.0 - batch.column("value").to_numpy()
        columns = [batch.column("uid"), batch.column("cluster"), pa.array(first)]
        yield pa.RecordBatch.from_arrays(columns, schema=_PLACED)


def least_places(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Keep of each row its least place."""
    for batch in batches:
        best = batch.filter(pc.equal(batch.column("place"), batch.column("least")))
        yield best.select(_PLACED.names)


def _told(concepts: pa.Table) -> dict[str, Any]:
    """Return what the manifest says of concepts that rows have."""
    largest = concepts.sort_by([("rows", "descending"), ("concept", "ascending")])
    return {
        "concepts_found": len(concepts),
        "largest_concepts": {
            row["name"]: row["rows"] for row in largest.slice(0, _SHOWN).to_pylist()
        },
    }
