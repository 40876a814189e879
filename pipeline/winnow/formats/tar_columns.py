"""Members of a tar's samples as columns: their types, and their values."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from winnow.formats.jsonl_fields import LINE, column_of, parse_object, schema_of

#: A sample's members by ending.
Sample = Mapping[str, bytes]

#: In the order in which a sample's picture is looked for.
IMAGES = ("jpg", "png", "jpeg", "webp", "jfif", "gif", "bmp", "tif", "tiff", "ppm")
TEXTS = ("txt", "text", "caption")
#: As WebDataset's own decoder takes them.
_NUMBERS = ("cls", "cls2", "class", "count", "index", "inx", "id")

KEY, PLACE, UID, IMAGE, TEXT = "__key__", "__path__", "uid", "image", "text"
#: The column that holds a sample's members, names and bytes.
MEMBERS = "__members__"
MEMBERS_TYPE = pa.list_(pa.struct([("name", pa.string()), ("data", pa.binary())]))
_JSON = "json"


def columns_of(endings: Sequence[str], sample: Sequence[Sample]) -> pa.Schema:
    """Return the columns of a tar.

    endings: all that its members have. sample: its first samples, of which the fields
    of `json` and the types of arrays are taken.
    """
    kinds = {KEY: pa.string(), PLACE: pa.string(), UID: pa.string()}
    fields = schema_of([s[_JSON] for s in sample if _JSON in s])
    if any(ending in endings for ending in IMAGES):
        kinds[IMAGE] = pa.binary()
    if any(ending in endings for ending in TEXTS) or "caption" in fields.names:
        kinds[TEXT] = pa.string()
    for ending in endings:
        kinds.setdefault(ending, _kind(ending, sample))
    for field in fields:
        if field.name != LINE:
            kinds.setdefault(field.name, field.type)
    kinds[MEMBERS] = MEMBERS_TYPE
    return pa.schema(list(kinds.items()))


def endings_for(column: str, endings: Sequence[str]) -> list[str]:
    """Return the endings of the members that a column is made of; `json` if of none."""
    if column in (KEY, PLACE):
        return []
    if column == MEMBERS:
        return list(endings)
    wanted = {IMAGE: IMAGES, TEXT: (*TEXTS, _JSON)}.get(column)
    if wanted is None:
        wanted = (column,) if column in endings else (_JSON,)
    return [ending for ending in wanted if ending in endings]


def column(field: pa.Field, samples: Sequence[Sample], endings: set[str]) -> pa.Array:
    """Return a column of samples; raises ValueError if a member is not what it says.

    endings: all of the shard's, so that a field of `json` is told from a member.
    """
    name = field.name
    if name == IMAGE:
        return pa.array([_first(sample, IMAGES) for sample in samples], field.type)
    if name == TEXT:
        return _raw([_text(sample) for sample in samples], field.type)
    if name not in endings:
        objects = [_object(sample) for sample in samples]
        return column_of([entry.get(name) for entry in objects], field)
    values = [sample.get(name) for sample in samples]
    if not (pa.types.is_string(field.type) or pa.types.is_binary(field.type)):
        parse = _array if name == "npy" else _number
        parsed = [None if v is None else _named(name, parse, v) for v in values]
        return column_of(parsed, field)
    return _raw(values, field.type)


def uids(keys: Sequence[str], samples: Sequence[Sample]) -> pa.Array:
    """Return each sample's uid: its `json` says, else its key."""
    given = (_object(sample).get(UID) for sample in samples)
    named = [
        key if uid is None or uid == "" else str(uid)
        for key, uid in zip(keys, given, strict=True)
    ]
    return pa.array(named, pa.string())


def _kind(ending: str, sample: Sequence[Sample]) -> pa.DataType:
    if ending in TEXTS or ending in (_JSON, "jsn", "transcript"):
        return pa.string()
    if ending in _NUMBERS:
        return pa.int64()
    if ending == "npy":
        for members in sample:
            if ending in members:
                return _vector_type(members[ending])
    return pa.binary()


def _vector_type(data: bytes) -> pa.DataType:
    try:
        array = _array(data)
    except ValueError:
        return pa.binary()
    return pa.list_(pa.from_numpy_dtype(array.dtype))


def _array(data: bytes) -> Any:
    """Return a vector of numbers; raises ValueError for anything else."""
    try:
        # Untrusted input: np.load's default refuses pickled objects.
        array = np.load(io.BytesIO(data))
    except Exception as error:  # a header may hold any text, a shape any number
        raise ValueError(str(error)[:120]) from error
    if not isinstance(array, np.ndarray) or array.ndim != 1:
        raise ValueError("no vector")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"holds {array.dtype}, not numbers")
    return array.astype(array.dtype.newbyteorder("="))


def _number(data: bytes) -> int:
    return int(data)


def _named(name: str, parse: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return parse(data)
    except ValueError as error:
        raise ValueError(f"{name}: {str(error)[:120]}") from error


def _first(sample: Sample, endings: Sequence[str]) -> bytes | None:
    return next((sample[ending] for ending in endings if ending in sample), None)


def _text(sample: Sample) -> bytes | None:
    text = _first(sample, TEXTS)
    if text is not None:
        return text
    caption = _object(sample).get("caption")
    return None if caption is None else str(caption).encode("utf-8", "surrogatepass")


def _object(sample: Sample) -> dict[str, Any]:
    data = sample.get(_JSON)
    try:
        return {} if data is None else parse_object(data)
    except RecursionError as error:
        raise ValueError(f"json: {error}") from error


def _raw(values: Sequence[bytes | None], kind: pa.DataType) -> pa.Array:
    """Return bytes as a column; of text, whatever reads it checks that it is UTF-8."""
    column = pa.array(values, pa.binary())
    if not pa.types.is_string(kind):
        return column
    return pa.Array.from_buffers(pa.string(), len(column), column.buffers())
