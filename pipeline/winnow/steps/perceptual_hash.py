"""Near copies of pictures by perceptual hashes, every pair verified bit by bit.

Hashes are made where the rows are, and stored, so that a run with another distance,
mode or keeper opens no picture again. They are compared on the driver: a hash and a
uid for each row, no pictures.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.dedup.multi_index import Copies, fewest_bits, near_copies
from winnow.algorithms.dedup.perceptual_hash import GREY_SIZE, HASHES, contrast
from winnow.config.image_steps import PerceptualHashConfig
from winnow.core.engine import Frame
from winnow.core.run_log import told_of
from winnow.formats.reader import SampleReader, single
from winnow.models.images import ImageRejected, decode_rgb, grey_pixels
from winnow.steps.contract import (
    JUDGED,
    Context,
    Contract,
    Outcome,
    Reuse,
    decisions_of,
    judge_marked,
)
from winnow.steps.evaluation_items import CROPS, WHOLE
from winnow.steps.keeper import preferences, with_keeper

_MARKS = pa.schema(
    [
        ("uid", pa.string()),
        ("keep", pa.bool_()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("kept_twin", pa.string()),
        ("rejected", pa.bool_()),
    ]
)
_BITS = 64


def contract(config: PerceptualHashConfig) -> Contract:
    """Return that the image is read and decoded, and what the keeper goes by."""
    depends_on = frozenset({"model.max_pixels", "model.background"})
    without_keeper = Contract(
        frozenset({"image"}), depends_on=depends_on, libraries=frozenset({"pillow"})
    )
    return with_keeper(without_keeper, config.keeper)


def reuse(config: PerceptualHashConfig) -> Reuse:
    """Return the settings that the stored hashes depend on."""
    return Reuse({"hash": config.hash, "crops": config.crops}, same_rows=True)


def run(context: Context) -> Outcome:
    """Hash every picture, then decide all rows at once on the driver."""
    engine, config = context.engine, context.config
    known = context.reusable / "hashes" if context.reusable else None
    hashed = engine.scan(os.fspath(known)) if known else _hashed(context)
    folder = os.fspath(context.folder / "hashes")
    engine.write(hashed, folder, ["uid"])
    hashed = engine.scan(folder)
    unread = engine.where(hashed, "valid", False)
    table = _ordered(context, engine.where(hashed, "valid", True))
    comparable = table.filter(pc.greater_equal(table["contrast"], config.min_contrast))
    flat = table.filter(pc.less(table["contrast"], config.min_contrast))
    _store_order(context, comparable)
    copies = _copies(comparable, config)
    marks = pa.concat_tables([_marks_of_flat(flat), _marks_of(comparable, copies)])
    samples = engine.join(
        engine.select(context.samples, {"uid": "uid"}),
        engine.select(unread, {"uid": "uid"}),
        "uid",
        "anti",
    )
    joined = engine.join(samples, engine.from_table(marks), "uid", "left")
    least = 1.0 - config.max_bits / _BITS
    kernel = partial(judge_marked, unmarked="unique", threshold=least)
    return Outcome(
        decisions=decisions_of(engine, engine.map_batches(joined, kernel, JUDGED)),
        rejects=engine.select(unread, {"uid": "uid", "reason": "reason"}),
        artifacts={"hashes": "hashes", "order": "order"},
        facts={
            "hashes_reused": known is not None,
            "without_contrast": len(flat),
            "near_copies": len(marks) - len(flat),
        },
    )


def _schema(boxes: int) -> pa.Schema:
    return pa.schema(
        [
            ("uid", pa.string()),
            # Bits as signed numbers: not every engine has unsigned ones.
            *((f"hash_{number}", pa.int64()) for number in range(boxes)),
            ("contrast", pa.int64()),
            ("reason", pa.string()),
            ("valid", pa.bool_()),
        ]
    )


def _hashed(context: Context) -> Frame:
    boxes = CROPS if context.config.crops else WHOLE
    kernel = partial(
        hash_samples,
        reader=context.reader,
        config=context.config,
        max_pixels=context.model.max_pixels,
        background=context.model.background,
    )
    return context.engine.map_batches(
        context.samples, kernel, _schema(len(boxes)), order_by=("source", "row")
    )


def hash_samples(
    batches: Iterator[pa.RecordBatch],
    *,
    reader: SampleReader,
    config: PerceptualHashConfig,
    max_pixels: int,
    background: str,
) -> Iterator[pa.RecordBatch]:
    """Yield the hashes of each picture and of its parts, or why it has none."""
    boxes = CROPS if config.crops else WHOLE
    width, height = GREY_SIZE[config.hash]
    for part in reader.read(batches, ("image",)):
        pixels = np.zeros((len(part), len(boxes), height, width), np.uint8)
        faults: list[str | None] = []
        images = told_of(part["uid"].to_pylist(), part["image"].to_pylist())
        for row, data in enumerate(images):
            fault = None
            try:
                if data is None:
                    raise ImageRejected("image_missing")
                image = decode_rgb(data, max_pixels, background)
                pixels[row] = grey_pixels(image, (width, height), boxes)
            except ImageRejected as rejected:
                fault = str(rejected)
            faults.append(fault)
        hashes = HASHES[config.hash](pixels.reshape(-1, height, width))
        by_box = hashes.view(np.int64).reshape(len(part), len(boxes)).T
        reason = pc.coalesce(part.column("reason"), pa.array(faults, pa.string()))
        columns = [
            part.column("uid"),
            *(pa.array(np.ascontiguousarray(column)) for column in by_box),
            pa.array(contrast(pixels[:, 0])),
            reason,
            pc.is_null(reason),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=_schema(len(boxes)))


def _ordered(context: Context, hashed: Frame) -> pa.Table:
    """Return all rows with hashes, those first that are to stay."""
    engine, keeper = context.engine, context.config.keeper
    if keeper:
        hashed = engine.join(hashed, preferences(context, keeper), "uid", "inner")
    table = engine.collect(hashed, engine.driver_rows)
    return table.sort_by("preference" if keeper else "uid")


def _store_order(context: Context, rows: pa.Table) -> None:
    """Write which rows were compared, and in which order: `explain` asks."""
    order = pa.table({"uid": rows["uid"], "position": np.arange(len(rows))})
    folder = os.fspath(context.folder / "order")
    context.engine.write(context.engine.from_table(order), folder, ["uid"])


def _hashes_of(rows: Any) -> npt.NDArray[np.uint64]:
    """Return the hashes of a table's rows, (n, boxes)."""
    schema_names = rows.column_names if isinstance(rows, pa.Table) else rows.columns
    names = [name for name in schema_names if name.startswith("hash_")]
    return np.stack([rows[name].to_numpy().view(np.uint64) for name in names], axis=1)


def _copies(rows: pa.Table, config: PerceptualHashConfig) -> Copies:
    hashes = _hashes_of(rows)
    return near_copies(
        np.ascontiguousarray(hashes[:, 0]),
        hashes[:, 1:],
        config.max_bits,
        components=config.mode == "components",
    )


def _marks_of_flat(rows: pa.Table) -> pa.Table:
    return _marks(rows["uid"], True, "without_contrast", None, None)


def _marks_of(rows: pa.Table, copies: Copies) -> pa.Table:
    gone = np.flatnonzero(copies.keeper != np.arange(len(rows)))
    uid = single(rows["uid"])
    return _marks(
        uid.take(pa.array(gone)),
        False,
        "near_copy",
        pa.array(_similarity(copies.bits[gone])),
        uid.take(pa.array(copies.keeper[gone])),
    )


def _similarity(bits: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return 1.0 - bits / _BITS


def _marks(uid: Any, keep: bool, reason: str, score: Any, twin: Any) -> pa.Table:
    rows = len(uid)
    none = {"score": pa.nulls(rows, pa.float64()), "twin": pa.nulls(rows, pa.string())}
    columns = [
        uid,
        pa.array([keep] * rows, pa.bool_()),
        pa.array([reason] * rows, pa.string()),
        none["score"] if score is None else score,
        none["twin"] if twin is None else twin,
        pa.array([False] * rows, pa.bool_()),
    ]
    return pa.table(columns, schema=_MARKS)


def remedy(run: Any, marker: Any, entry: dict[str, Any]) -> str | None:
    """Return the distance that keeps the row, where one does."""
    step, settings = marker.step, run.config[marker.step]
    if settings["mode"] == "components":
        # A chain of other rows may link it to an earlier one at any distance.
        return None
    order = run.artifact(step, "order")
    before = order.filter(uid=entry["uid"]).collect()["position"].item()
    hashes = run.artifact(step, "hashes")
    row = hashes.filter(uid=entry["uid"]).collect()
    earlier = order.join(hashes, on="uid").collect()
    earlier = earlier.filter(earlier["position"] < before)
    # One that went itself would stay, and be near, at a smaller distance.
    bits = int(fewest_bits(_hashes_of(row)[0], _hashes_of(earlier)).min())
    if bits == 0:
        return f"{step} taken out: the two have the same hash"
    return f"{step}.max_bits at most {bits - 1}"
