"""A pool's vectors by cluster, or as of one cluster where it is small."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from winnow.core.engine import Frame
from winnow.core.errors import ConfigError
from winnow.steps.contract import Context


def clustered(context: Context, scope: str, most: int) -> Frame:
    """Return (uid, cluster, vector) of the rows that enter; scope `pool`: one cluster.

    most: rows of a pool that is taken as one. Raises ConfigError for a larger one.
    """
    engine = context.engine
    samples = engine.select(context.samples, {"uid": "uid"})
    vectors = engine.join(
        context.vectors(context.config.modality), samples, "uid", "semi"
    )
    if scope == "cluster":
        clusters = engine.select(
            context.scan("clusters"), {"uid": "uid", "cluster": "cluster"}
        )
        return engine.join(vectors, clusters, "uid", "inner")
    if context.rows > most:
        raise ConfigError(
            f"{context.step}: scope: pool compares all pairs of {context.rows:,} rows; "
            f"above {most:,} put a step cluster before it, and scope: cluster"
        )
    field = pa.field("cluster", pa.int32())
    schema = engine.schema(vectors).append(field)
    return engine.map_batches(vectors, with_one_cluster, schema)


def with_one_cluster(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Say of all rows that they are of cluster 0."""
    for batch in batches:
        zeros = pa.repeat(pa.scalar(0, pa.int32()), len(batch))
        yield batch.append_column(pa.field("cluster", pa.int32()), zeros)
