"""Which row stays, as one string for each row: the smallest is preferred.

Every engine compares strings alike, byte by byte. A row's string holds the value of
each key as digits that sort as the values do, then its uid: the smallest string of a
group says which row stays, and the uid is read off its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.config.keeper import BUILT_IN, OrderKey, order_key
from winnow.core.engine import Frame
from winnow.core.errors import InputError
from winnow.core.run_log import told_of
from winnow.formats.reader import SampleReader
from winnow.models.image_measures import sharpness
from winnow.models.images import ImageRejected, decode_plain, header_size
from winnow.steps.contract import Context, Contract

RANKED = pa.schema([("uid", pa.string()), ("preference", pa.string())])
# Between keys; before every digit, and after every digit.
_ASCENDING, _DESCENDING = "!", "~"
_OF_IMAGE = ("pixels", "bytes", "sharpness")
_FLIPPED = str.maketrans("0123456789abcdef", "fedcba9876543210")


def with_keeper(contract: Contract, keeper: Sequence[str]) -> Contract:
    """Return a step's contract with what the order of its rows needs, too."""
    names = [order_key(text).name for text in keeper]
    of_image = set(names) & set(_OF_IMAGE)
    decodes = "sharpness" in names
    settings = {"model.max_pixels"} if of_image & {"pixels", "sharpness"} else set()
    settings |= {"model.background"} if decodes else set()
    columns = [name for name in names if name not in BUILT_IN]
    return replace(
        contract,
        modalities=contract.modalities | ({"image"} if of_image else set()),
        columns=tuple(dict.fromkeys([*contract.columns, *columns])),
        needs=contract.needs | ({"scores"} if "alignment" in names else set()),
        depends_on=contract.depends_on | settings,
        libraries=contract.libraries | ({"pillow"} if of_image else set()),
    )


def preferences(context: Context, keeper: Sequence[str]) -> Frame:
    """Return RANKED: a string for each sample, the preferred row's the smallest.

    Raises InputError for a column whose values have no order.
    """
    keys = [order_key(text) for text in keeper]
    for key in keys:
        if key.name not in BUILT_IN:
            _require_order(context, key.name)
    engine, samples = context.engine, context.samples
    if any(key.name == "alignment" for key in keys):
        scores = engine.select(
            context.scan("scores"), {"uid": "uid", "alignment": "score"}
        )
        samples = engine.join(samples, scores, "uid", "left")
    kernel = partial(
        rank_samples,
        reader=context.reader,
        keys=keys,
        max_pixels=context.model.max_pixels,
        background=context.model.background,
    )
    return engine.map_batches(samples, kernel, RANKED, order_by=("source", "row"))


def positions(context: Context, keeper: Sequence[str]) -> Frame:
    """Return (uid, distance): where each sample stands in the keeper's order.

    As a distance, since steps over clusters visit rows by theirs. Uids and keys of all
    rows are sorted on the driver, which takes `engine.driver_rows` of them.
    """
    engine = context.engine
    rows = engine.collect(preferences(context, keeper), engine.driver_rows)
    uids = rows.sort_by("preference")["uid"]
    table = pa.table({"uid": uids, "distance": np.arange(len(uids), dtype=np.float64)})
    return engine.from_table(table)


def kept_uid(preference: pa.Array, keys: int) -> pa.Array:
    """Return the uids at the end of preferences of this many keys."""
    if not keys:
        return preference
    uids = [text.split(" ", keys)[keys] for text in preference.to_pylist()]
    return pa.array(uids, pa.string())


def rank_samples(
    batches: Iterator[pa.RecordBatch],
    *,
    reader: SampleReader,
    keys: Sequence[OrderKey],
    max_pixels: int,
    background: str,
) -> Iterator[pa.RecordBatch]:
    """Yield RANKED; a value that cannot be had, as of a broken image, comes last."""
    names = [key.name for key in keys]
    modalities = ("image",) if set(names) & set(_OF_IMAGE) else ()
    extra = [name for name in names if name not in BUILT_IN]
    scored: dict[str, Any] = {}
    for part in reader.read(_noting(batches, scored), modalities, extra):
        uids = part.column("uid").to_pylist()
        columns = []
        for key in keys:
            if key.name in _OF_IMAGE:
                images = told_of(uids, part.column("image").to_pylist())
                values = _image_values(images, key.name, max_pixels, background)
            elif key.name == "alignment":
                values = pa.array([scored.pop(uid) for uid in uids], pa.float64())
            else:
                values = part.column(f"extra.{key.name}")
            columns.append(sortable(values, descending=key.descending))
        ranked = [" ".join(row) for row in zip(*columns, uids, strict=True)]
        yield pa.RecordBatch.from_arrays(
            [part.column("uid"), pa.array(ranked, pa.string())], schema=RANKED
        )


def _noting(
    batches: Iterator[pa.RecordBatch], scored: dict[str, Any]
) -> Iterator[pa.RecordBatch]:
    """Hand batches on, and keep the scores of rows that are not read yet."""
    for batch in batches:
        if "alignment" in batch.schema.names:
            pairs = (batch.column(name).to_pylist() for name in ("uid", "alignment"))
            scored.update(zip(*pairs, strict=True))
        yield batch.select(["uid", "source", "row"])


def _image_values(
    images: Iterable[bytes | None], name: str, max_pixels: int, background: str
) -> pa.Array:
    values: list[float | None] = []
    for data in images:
        value: float | None = None
        if data is not None and name == "bytes":
            value = len(data)
        elif data is not None:
            try:
                if name == "pixels":
                    width, height = header_size(data, max_pixels)
                    value = width * height
                else:
                    value = sharpness(decode_plain(data, max_pixels, background))
            except ImageRejected:
                value = None
        values.append(value)
    return pa.array(values, pa.float64())


def sortable(values: pa.Array, *, descending: bool) -> list[str]:
    """Return a string for each value that sorts as the value does; null and NaN last.

    Numbers, dates and truth values by their bits, in sixteen digits; strings by the
    hexadecimal of their UTF-8, with a sign behind it that lets the shorter of two with
    the same beginning come first, or last.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.cast(kind.value_type)
        kind = kind.value_type
    digits: list[str | None]
    if _is_text(kind):
        end = _DESCENDING if descending else _ASCENDING
        # Bytes, since nobody has checked that they are UTF-8.
        texts = values.cast(pa.string()).cast(pa.binary()).to_pylist()
        digits = [None if text is None else text.hex() for text in texts]
        if descending:
            digits = [d and d.translate(_FLIPPED) for d in digits]
        digits = [None if d is None else d + end for d in digits]
    else:
        bits, missing = _ordered_bits(values)
        bits = ~bits if descending else bits
        raw = bits.astype(">u8").tobytes().hex()
        digits = [raw[start : start + 16] for start in range(0, len(raw), 16)]
        digits = [None if gone else d for d, gone in zip(digits, missing, strict=True)]
    return ["1" if d is None else f"0{d}" for d in digits]


def _ordered_bits(
    values: pa.Array,
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Return numbers that sort as the values do, and which values are missing."""
    kind = values.type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        column = pc.cast(values, pa.float64())
        floats = column.to_numpy(zero_copy_only=False) + 0.0
        bits = floats.view(np.int64)
        # Negative numbers sort backwards by their bits.
        ordered = np.where(bits < 0, ~bits, bits ^ np.int64(-(2**63))).view(np.uint64)
        return ordered, np.isnan(floats)
    missing = values.is_null().to_numpy(zero_copy_only=False)
    if kind == pa.uint64():
        return pc.fill_null(values, 0).to_numpy(), missing
    if pa.types.is_boolean(kind):
        values = values.cast(pa.int8())
    elif pa.types.is_temporal(kind):
        values = values.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    whole = pc.fill_null(values.cast(pa.int64()), 0).to_numpy()
    return (whole ^ np.int64(-(2**63))).view(np.uint64), missing


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
    )


def _require_order(context: Context, name: str) -> None:
    kind = context.schema.field(name).type
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    if _is_text(inner):
        return
    ordered = (
        pa.types.is_integer(inner)
        or pa.types.is_floating(inner)
        or pa.types.is_decimal(inner)
        or pa.types.is_boolean(inner)
        or pa.types.is_date(inner)
        or pa.types.is_time(inner)
        or pa.types.is_timestamp(inner)
    )
    if not ordered:
        raise InputError(
            f"{context.step}: keeper: the column '{name}' holds {kind}; rows are "
            "ordered by numbers, strings, dates or booleans, and by "
            + ", ".join(BUILT_IN)
        )
