"""Write what survived: kept shards and DataComp's subset file."""

from __future__ import annotations

import os
from functools import partial

import numpy as np

from pipeline.config.steps import ApplyConfig
from pipeline.core.engine import Engine, Frame
from pipeline.steps.step import Context, Contract, Outcome
from pipeline.store.outputs import WRITTEN, ShardSize, datacomp_subset, write_kept
from pipeline.store.reader import single
from pipeline.store.run_folder import remove


def contract(config: ApplyConfig) -> Contract:
    """Return that nothing but the surviving rows matters."""
    return Contract(decides=False)


def run(context: Context) -> Outcome:
    """Copy surviving rows, all columns untouched, in the order of the input."""
    engine, config = context.engine, context.config
    folder = context.folder / "kept"
    remove(folder)
    kernel = partial(
        write_kept,
        reader=context.reader,
        schema=context.schema,
        folder=os.fspath(folder),
        size=ShardSize(config.shard_rows, config.shard_mb * 2**20),
    )
    written = engine.map_batches(
        context.samples, kernel, WRITTEN, order_by=("source", "row")
    )
    files = engine.count(written)
    outputs = {"kept": "kept"}
    if _write_subset(engine, context.samples, context):
        outputs["subset.npy"] = "subset.npy"
    return Outcome(
        outputs=outputs,
        facts={"files": files, "datacomp_subset": "subset.npy" in outputs},
    )


def _write_subset(engine: Engine, samples: Frame, context: Context) -> bool:
    uids = engine.collect(engine.select(samples, {"uid": "uid"}), context.rows)
    subset = datacomp_subset(single(uids["uid"]))
    if subset is None:
        return False
    np.save(context.folder / "subset.npy", subset)
    return True
