"""Candidates kept between runs, so that another threshold reads no text twice."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from winnow.algorithms.dedup.banding import Buckets
from winnow.algorithms.dedup.verification import Pairs
from winnow.steps.contract import Context
from winnow.steps.minhash_buckets import MAX_MEMBERSHIPS
from winnow.steps.minhash_candidates import Candidates, Totals
from winnow.steps.minhash_rows import rows_again, store_rows


def store_candidates(
    context: Context, candidates: Candidates, pairs: Pairs | None
) -> None:
    """Write rows, buckets and compared pairs for a run with another threshold."""
    buckets, compared = candidates.buckets, _united(candidates.known, pairs)
    sizes = np.diff(buckets.bounds)
    tables = {
        "buckets": pa.table({"band": buckets.band, "size": sizes}),
        "members": pa.table({"row": buckets.members}),
        "pairs": pa.table(compared._asdict()),
        "origins": candidates.totals.origins,
        "units": candidates.totals.units,
    }
    store_rows(candidates.rows, candidates.uids, context.folder / "rows")
    for name, table in tables.items():
        frame = context.engine.from_table(table)
        context.engine.write(frame, os.fspath(context.folder / name), [])


def _united(known: Pairs, pairs: Pairs | None) -> Pairs:
    """Return every pair once, sorted by (member, keeper)."""
    if pairs is None or not len(known.member):
        return known if pairs is None else pairs
    member = np.concatenate([pairs.member, known.member])
    keeper = np.concatenate([pairs.keeper, known.keeper])
    key = member.astype(np.uint64) << np.uint64(32) | keeper
    first = np.unique(key, return_index=True)[1]
    return Pairs(
        member[first],
        keeper[first],
        np.concatenate([pairs.band, known.band])[first],
        np.concatenate([pairs.jaccard, known.jaccard])[first],
    )


def stored_candidates(context: Context) -> Candidates | None:
    """Return what an earlier run with the same sketches stored, or None."""
    folder, engine = context.reusable, context.engine
    parts = ("pairs", "origins", "units", "unread")
    if folder is None or not all((folder / part).is_dir() for part in parts):
        return None

    def read(name: str) -> pa.Table:
        frame = engine.scan(os.fspath(folder / name))
        return engine.collect(frame, max(context.rows, MAX_MEMBERSHIPS))

    rows, uids = rows_again(folder / "rows", context.parts / "rows")
    buckets, pairs = read("buckets"), read("pairs")
    sizes = buckets["size"].to_numpy()
    return Candidates(
        rows,
        uids,
        Buckets(
            np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]),
            read("members")["row"].to_numpy(),
            buckets["band"].to_numpy(),
        ),
        _totals_again(context, folder, Totals(read("origins"), read("units"), None)),
        Pairs(*(np.array(pairs[name].to_numpy()) for name in Pairs._fields)),
        reused=True,
    )


def _totals_again(context: Context, folder: Path, totals: Totals) -> Totals:
    """Write the rows that take no part again, of this run."""
    engine, copy = context.engine, os.fspath(context.folder / "unread")
    engine.write(engine.scan(os.fspath(folder / "unread")), copy, ())
    return replace(totals, unread=engine.scan(copy))
