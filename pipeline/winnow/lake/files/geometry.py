"""What a Parquet file says of columns that hold geometries: their CRS above all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow.parquet as pq

from winnow.lake.kernels.tables import Column, Family

_TYPES = ("Geometry", "Geography")
#: What GeoParquet says of a column that does not depend on its rows.
_FIXED = ("crs", "edges", "encoding", "epoch", "orientation")


def with_geometry(
    columns: Sequence[Column], first: Sequence[int], metadata: pq.FileMetaData
) -> tuple[Column, ...]:
    """Return a file's leaf columns with the metadata of their geometries.

    From Parquet's own types GEOMETRY and GEOGRAPHY, and from GeoParquet's `geo`.
    first: where each column begins in the file.
    """
    by_name = _geoparquet(metadata)
    told = []
    for column, number in zip(columns, first, strict=True):
        said = dict(by_name.get(column.name, {}))
        if column.family is Family.BINARY:
            kind = str(metadata.schema.column(number).logical_type)
            if kind.startswith(_TYPES):
                said["logical type"] = kind
        if said:
            metadata_of = tuple(sorted({**said, **dict(column.metadata)}.items()))
            told.append(replace(column, metadata=metadata_of))
        else:
            told.append(column)
    return tuple(told)


def _geoparquet(metadata: pq.FileMetaData) -> Mapping[str, Mapping[str, str]]:
    try:
        columns: Any = json.loads((metadata.metadata or {})[b"geo"])["columns"]
        return {
            name: {
                key: value if isinstance(value, str) else json.dumps(value)
                for key, value in entry.items()
                if key in _FIXED
            }
            for name, entry in columns.items()
        }
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}  # none, or none that can be read
