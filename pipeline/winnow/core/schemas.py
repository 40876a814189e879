"""Arrow schemas of everything that is written or handed between rooms."""

from __future__ import annotations

import pyarrow as pa

UID = pa.field("uid", pa.string(), nullable=False)
# First 64 bits of the uid's hash: the canonical order that samples are drawn in.
KEY = pa.field("key", pa.uint64(), nullable=False)
SOURCE = pa.field("source", pa.string(), nullable=False)
ROW = pa.field("row", pa.int64(), nullable=False)

#: One row per input row that entered the run: where it is, and in which order.
SAMPLES = pa.schema([UID, KEY, SOURCE, ROW])

#: One row per (sample, deciding step); the step's name is the ledger's partition.
DECISIONS = pa.schema(
    [
        UID,
        pa.field("keep", pa.bool_(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("threshold", pa.float64()),
        pa.field("kept_twin", pa.string()),
    ]
)

#: Rows that a step could not read, before their raw content is looked up.
REJECTS = pa.schema([UID, pa.field("reason", pa.string(), nullable=False)])

#: `RUN/steps.parquet`.
STEPS = pa.schema(
    [
        ("step", pa.string()),
        ("rows_in", pa.int64()),
        ("kept", pa.int64()),
        ("dropped", pa.int64()),
        ("quarantined", pa.int64()),
        ("seconds", pa.float64()),
        ("peak_rss_mb", pa.float64()),
    ]
)

#: Cluster assignment of every clustered sample.
CLUSTERS = pa.schema(
    [
        UID,
        pa.field("cluster", pa.int32(), nullable=False),
        # 1 − cosine to the assigned centroid, in float64 (see models.kmeans).
        pa.field("distance", pa.float64(), nullable=False),
    ]
)


def vectors(dim: int, *names: str) -> pa.Schema:
    """Schema of an embedding artifact: uid and float16 vectors of `dim` numbers.

    Vectors have unit length before they are rounded to float16. A null vector means
    that the sample has no such modality.
    """
    vector = pa.list_(pa.float16(), dim)
    return pa.schema([UID, *(pa.field(name, vector) for name in names)])
