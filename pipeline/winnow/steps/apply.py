"""Write what survived: kept shards and DataComp's subset file.

A row that was drawn several times is written once; `repeats/` says how often, and its
uid stands that often in the subset file, which is how DataComp repeats a sample.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from winnow.config.steps import ApplyConfig
from winnow.core.engine import Frame
from winnow.core.errors import ConservationError
from winnow.core.run_folder import remove
from winnow.formats.outputs import (
    MAX_FILES,
    UNREAD,
    WRITTEN,
    ShardSize,
    join_subset,
    settle,
    write_kept,
    write_subset,
)
from winnow.steps.contract import Context, Contract, Outcome


def contract(config: ApplyConfig) -> Contract:
    """Return that nothing but the surviving rows matters."""
    return Contract(decides=False)


def run(context: Context) -> Outcome:
    """Copy surviving rows, all columns untouched, in the order of the input.

    Rows of which a column that no step has read is damaged are rejects.
    """
    engine = context.engine
    files, rejects = _write_kept(context)
    if rejects is not None:
        samples = engine.join(context.samples, rejects, "uid", "anti")
        context = replace(context, samples=samples)
    outputs = {"kept": "kept"}
    repeats = _repeats(context)
    if repeats is not None:
        engine.write(repeats, os.fspath(context.folder / "repeats"), ["uid"])
        outputs["repeats"] = "repeats"
    if _write_subset(context, repeats):
        outputs["subset.npy"] = "subset.npy"
    return Outcome(
        rejects=rejects,
        outputs=outputs,
        facts={"files": files, "datacomp_subset": "subset.npy" in outputs},
    )


def _write_kept(context: Context) -> tuple[int, Frame | None]:
    """Write kept shards; return their number, and what cannot be read whole, if any."""
    engine, config = context.engine, context.config
    folder, unread = context.folder / "kept", context.parts / "unread"
    remove(folder)
    remove(unread)
    kernel = partial(
        write_kept,
        reader=context.reader,
        schema=context.schema,
        folder=os.fspath(folder),
        unread=os.fspath(unread),
        size=ShardSize(config.shard_rows, config.shard_mb * 2**20),
    )
    written = engine.map_batches(
        context.samples, kernel, WRITTEN, order_by=("source", "row")
    )
    parts = engine.collect(written, MAX_FILES)
    if not len(parts):
        # An engine need not call a kernel that nothing reaches.
        parts = pa.Table.from_batches(list(kernel(iter(()))))
    copied = pc.sum(parts["rows"]).as_py()
    if copied != context.rows:
        raise ConservationError(
            f"{context.step}: {context.rows} rows survived, but {copied} were written "
            "or could not be read; please report this"
        )
    rejected = pc.starts_with(parts["file"], UNREAD)
    files = settle(folder, parts.filter(pc.invert(rejected)))
    kind, schema = context.reader.format, context.schema
    whole = [schema.field(name) for name in kind.whole(schema)]
    kind.seal(folder, pa.schema(whole, schema.metadata))
    names = parts.filter(rejected)["file"].to_pylist()
    if not names:
        return files, None
    # What a task wrote that was tried again is not to be read.
    for stray in set(os.listdir(unread)) - {n.removeprefix(UNREAD) for n in names}:
        (unread / stray).unlink()
    return files, engine.scan(os.fspath(unread))


def _repeats(context: Context) -> Frame | None:
    """Return (uid, count) of the surviving rows, if rows were drawn repeatedly.

    A row that was rescued from not being drawn counts once.
    """
    if "repeats" not in context.artifacts:
        return None
    engine, drawn = context.engine, context.scan("repeats")
    survivors = engine.select(context.samples, {"uid": "uid"})
    uids = engine.select(drawn, {"uid": "uid"})
    rescued = engine.join(survivors, uids, "uid", "anti")
    kernel = partial(drawn_once, schema=engine.schema(drawn))
    return engine.union(
        [
            engine.join(drawn, survivors, "uid", "semi"),
            engine.map_batches(rescued, kernel, engine.schema(drawn)),
        ]
    )


def drawn_once(
    batches: Iterator[pa.RecordBatch], *, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Count each row once."""
    for batch in batches:
        once = pa.repeat(pa.scalar(1, schema.field("count").type), len(batch))
        uid = batch.column("uid").cast(schema.field("uid").type)
        yield pa.RecordBatch.from_arrays([uid, once], schema=schema)


def _write_subset(context: Context, repeats: Frame | None) -> bool:
    engine = context.engine
    chosen = context.samples if repeats is None else repeats
    names = ["uid"] if repeats is None else ["uid", "count"]
    folder = context.folder / "subset"
    # Of 32 hexadecimal digits, the order as strings is that of the numbers.
    written = engine.map_batches(
        engine.select(chosen, {name: name for name in names}),
        partial(write_subset, folder=os.fspath(folder)),
        WRITTEN,
        order_by=("uid",),
    )
    parts = engine.collect(written, MAX_FILES)
    done = join_subset(folder, parts, context.folder / "subset.npy")
    remove(folder)
    return done
