"""Poor pictures, judged without a model: dark, light, blurred, of odd size or shape.

What is measured on each picture is stored, so that a run with other thresholds opens
no picture again. Sizes are odd against the quartiles of all pictures that entered,
which are exact: four cuts of the engine.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.filter.image_quality import (
    Measures,
    SizeBounds,
    first_issue,
    quality_scores,
    size_bounds,
)
from winnow.config.image_steps import ImageQualityConfig
from winnow.core.engine import Frame
from winnow.core.run_log import told_of
from winnow.formats.reader import SampleReader
from winnow.models.image_measures import brightness_percentile, edge_strength
from winnow.models.images import ImageRejected, decode_plain
from winnow.steps.contract import (
    JUDGED,
    Context,
    Contract,
    Outcome,
    Reuse,
    decisions_of,
    judged,
)

_MEASURED = pa.schema(
    [
        ("uid", pa.string()),
        *((name, pa.float64()) for name in Measures._fields),
        ("reason", pa.string()),
        ("valid", pa.bool_()),
    ]
)


def contract(config: ImageQualityConfig) -> Contract:
    """Return that the image is read and decoded."""
    return Contract(
        frozenset({"image"}),
        depends_on=frozenset({"model.max_pixels", "model.background"}),
        libraries=frozenset({"pillow"}),
    )


def reuse(config: ImageQualityConfig) -> Reuse:
    """Return that what was measured holds under any thresholds."""
    return Reuse({}, same_rows=True)


def run(context: Context) -> Outcome:
    """Measure every picture, find the pool's usual sizes, judge each row."""
    engine, config = context.engine, context.config
    known = context.reusable / "measures" if context.reusable else None
    measured = engine.scan(os.fspath(known)) if known else _measured(context)
    folder = os.fspath(context.folder / "measures")
    engine.write(measured, folder, ["uid"])
    measured = engine.scan(folder)
    valid = engine.where(measured, "valid", True)
    unread = engine.where(measured, "valid", False)
    lower, upper = _quartiles(context, valid)
    bounds = size_bounds(lower, upper, config.odd_size)
    judging = partial(judge_measures, config=config, bounds=bounds)
    return Outcome(
        decisions=decisions_of(engine, engine.map_batches(valid, judging, JUDGED)),
        rejects=engine.select(unread, {"uid": "uid", "reason": "reason"}),
        artifacts={"measures": "measures"},
        facts={"measures_reused": known is not None, "size_quartiles": [lower, upper]},
    )


def _measured(context: Context) -> Frame:
    kernel = partial(
        measure_images,
        reader=context.reader,
        max_pixels=context.model.max_pixels,
        background=context.model.background,
    )
    return context.engine.map_batches(
        context.samples, kernel, _MEASURED, order_by=("source", "row")
    )


def measure_images(
    batches: Iterator[pa.RecordBatch],
    *,
    reader: SampleReader,
    max_pixels: int,
    background: str,
) -> Iterator[pa.RecordBatch]:
    """Yield what is measured on each picture; the reason where it cannot be read."""
    for part in reader.read(batches, ("image",)):
        rows: list[list[float] | None] = []
        faults: list[str | None] = []
        for data in told_of(part["uid"].to_pylist(), part["image"].to_pylist()):
            row, fault = None, None
            try:
                row = measures_of(data, max_pixels, background)
            except ImageRejected as rejected:
                fault = str(rejected)
            rows.append(row)
            faults.append(fault)
        reason = pc.coalesce(part.column("reason"), pa.array(faults, pa.string()))
        columns = [
            pa.array([row and row[number] for row in rows], pa.float64())
            for number in range(len(Measures._fields))
        ]
        arrays = [part.column("uid"), *columns, reason, pc.is_null(reason)]
        yield pa.RecordBatch.from_arrays(arrays, schema=_MEASURED)


def measures_of(data: bytes | None, max_pixels: int, background: str) -> list[float]:
    """Return a picture's `Measures`; raises ImageRejected."""
    if data is None:
        raise ImageRejected("image_missing")
    image = decode_plain(data, max_pixels, background)
    width, height = image.size
    darkest, brightest = brightness_percentile(image, (5, 99)).tolist()
    edges, spread = edge_strength(image)
    measures = {
        "brightest": brightest,
        "darkest": darkest,
        "aspect": min(width / height, height / width),
        "entropy": image.entropy(),
        "edges": edges,
        "spread": spread,
        "size": math.sqrt(width) * math.sqrt(height),
        "grey": float(image.mode == "L"),
    }
    return [measures[name] for name in Measures._fields]


def _quartiles(context: Context, valid: Frame) -> tuple[float, float]:
    """Return the first and third quartile of all sizes, as `numpy.percentile` does."""
    engine, rows = context.engine, context.engine.count(valid)
    if not rows:
        return 0.0, 0.0

    def quartile(share: float) -> float:
        position = share * (rows - 1)
        nth = [math.floor(position), min(math.floor(position) + 1, rows - 1)]
        cuts = [engine.cut(valid, [("size", False)], n + 1) or {} for n in nth]
        sizes = [cut["size"] for cut in cuts]
        return float(np.percentile([sizes[0], sizes[1]], 100 * (position - nth[0])))

    return quartile(0.25), quartile(0.75)


def thresholds_of(config: ImageQualityConfig, bounds: SizeBounds) -> dict[str, float]:
    """Return the score below which each issue drops a row."""
    return {
        "dark": config.dark,
        "light": config.light,
        "odd_aspect_ratio": config.odd_aspect_ratio,
        "low_information": config.low_information,
        "blurry": config.blurry,
        "grayscale": 1.0,
        "odd_size": bounds.threshold,
    }


def judge_measures(
    batches: Iterator[pa.RecordBatch], *, config: ImageQualityConfig, bounds: SizeBounds
) -> Iterator[pa.RecordBatch]:
    """Yield JUDGED rows: the first issue, its score, and the least that is enough."""
    thresholds = thresholds_of(config, bounds)
    for batch in batches:
        measures = Measures(
            *(batch.column(name).to_numpy() for name in Measures._fields)
        )
        scores = quality_scores(measures, bounds, config.blurry_flat)
        issue, score, threshold = first_issue(scores, thresholds, config.issues)
        poor = pa.array(issue, pa.string())
        yield judged(
            batch.column("uid"),
            keep=pc.is_null(poor),
            reason=pc.coalesce(poor, pa.scalar("no_issue")),
            score=pa.array(score, pa.float64(), from_pandas=True),
            threshold=pa.array(threshold, pa.float64(), from_pandas=True),
        )


def remedy(run: Any, marker: Any, entry: dict[str, Any]) -> str:
    """Return what every issue that a row has would have to become."""
    config = ImageQualityConfig.model_validate(run.config[marker.step])
    lower, upper = marker.facts["size_quartiles"]
    bounds = size_bounds(lower, upper, config.odd_size)
    stored = run.artifact(marker.step, "measures")
    row = stored.filter(uid=entry["uid"]).collect()
    measures = Measures(*(row[name].to_numpy() for name in Measures._fields))
    scores = quality_scores(measures, bounds, config.blurry_flat)
    thresholds = thresholds_of(config, bounds)
    changes = []
    for issue in config.issues:
        score = float(scores[issue][0])
        if score >= thresholds[issue]:
            continue
        least = math.floor(score * 1e6) / 1e6
        if issue == "odd_size" and upper > lower:
            beyond = max(lower - measures.size[0], measures.size[0] - upper)
            ranges = math.ceil(beyond / (upper - lower) * 1e6) / 1e6
            changes.append(f"{marker.step}.odd_size at least {ranges:.12g}")
        elif issue in ("odd_size", "grayscale") and len(config.issues) == 1:
            changes.append(f"{marker.step} taken out of steps")
        elif issue in ("odd_size", "grayscale"):
            changes.append(f"'{issue}' taken out of {marker.step}.issues")
        else:
            changes.append(f"{marker.step}.{issue} at most {least:.12g}")
    return " and ".join(changes)
