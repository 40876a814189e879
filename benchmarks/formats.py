"""Embedding from tars beside embedding from Parquet, and what a tar's index costs.

    python benchmarks/formats.py POOL MODEL [--rows 600] [--rounds 6]

POOL: a folder of Parquet with `uid`, `image` (bytes) and `text`; the same rows are
written as tars beside it. MODEL: as `model.name`. Both are embedded in turn, in one
process, and the Parquet files a second time as a control: what it differs by from the
first is what the machine adds. Figures are CPU seconds, the median of all rounds, which
go through the pools forwards and backwards by turns. The index is timed on the tars
repeated until they are --index-mb, by the bytes of the tar.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from winnow.formats.reader import SampleReader
from winnow.formats.shard_discovery import common_root, find_pool, read_footers
from winnow.formats.tar_index import index_of
from winnow.models.embed import embed_batches
from winnow.models.encoder import ModelSpec
from winnow.steps.index import references

_SHARD_ROWS = 300


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path)
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--index-mb", type=int, default=512)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ["WINNOW_CACHE"] = str(folder / "cache")
        table = _rows(given.pool, given.rows)
        pools = {"parquet": folder / "parquet", "webdataset": folder / "tars"}
        _write(table, pools)
        readers = {name: _reader(pool) for name, pool in pools.items()}
        readers["control"] = readers["parquet"]
        spec = ModelSpec(given.model, batch_size=32)
        _embedded(readers["parquet"], spec)
        embed = _median(readers, spec, given.rounds)
        read = _median(readers, None, given.rounds)
        figures = {
            "rows": len(table),
            "embed_cpu_s": embed,
            "tars_over_parquet": round(embed["parquet"] / embed["webdataset"], 3),
            "tars_over_control": round(embed["control"] / embed["webdataset"], 3),
            "read_cpu_s": read,
            "index": _index(folder, table, given.index_mb),
        }
    print(json.dumps(figures, indent=1))


def _rows(pool: Path, rows: int) -> pa.Table:
    files = sorted(pool.glob("*.parquet"))
    names = ["uid", "image", "text"]
    return pa.concat_tables([pq.read_table(f, columns=names) for f in files])[:rows]


def _write(table: pa.Table, pools: dict[str, Path]) -> None:
    for pool in pools.values():
        pool.mkdir()
    for number, start in enumerate(range(0, len(table), _SHARD_ROWS)):
        part = table.slice(start, _SHARD_ROWS)
        pq.write_table(part, pools["parquet"] / f"{number:05d}.parquet")
        _tar(pools["webdataset"] / f"{number:05d}.tar", part.to_pylist(), 1)


def _tar(file: Path, rows: list[dict[str, Any]], times: int) -> None:
    with tarfile.open(file, "w") as tar:
        for number in range(len(rows) * times):
            row = rows[number % len(rows)]
            about = json.dumps({"uid": row["uid"]}).encode()
            texts = {"txt": row["text"].encode(), "json": about}
            for ending, data in {"jpg": row["image"], **texts}.items():
                info = tarfile.TarInfo(f"{number:09d}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def _reader(pool: Path) -> SampleReader:
    pool_shards = find_pool(str(pool))
    shards, schema, _ = read_footers(pool_shards.paths, kind=pool_shards.kind)
    paths = {shard.name: shard.path for shard in shards}
    root = common_root(pool_shards.paths)
    return SampleReader(root, paths, "image", "text", schema, (), pool_shards.kind)


def _batches(reader: SampleReader) -> Iterator[pa.RecordBatch]:
    for source, path in reader.paths.items():
        rows = reader.format.footer(path).rows
        for batch in reader.read(references(source, rows), ("image", "text"), ["uid"]):
            uids = batch["extra.uid"]
            yield pa.RecordBatch.from_arrays(
                [uids, batch["image"], batch["text"]], ["uid", "image", "text"]
            )


def _embedded(reader: SampleReader, spec: ModelSpec | None) -> int:
    batches = _batches(reader)
    made = embed_batches(batches, spec=spec) if spec is not None else batches
    return sum(len(batch) for batch in made)


def _median(
    readers: dict[str, SampleReader], spec: ModelSpec | None, rounds: int
) -> dict[str, float]:
    """Return each pool's median time; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in readers}
    for number in range(rounds):
        for name in list(readers)[:: 1 if number % 2 == 0 else -1]:
            start = time.process_time()
            _embedded(readers[name], spec)
            times[name].append(time.process_time() - start)
    return {name: round(statistics.median(spent), 3) for name, spent in times.items()}


def _index(folder: Path, table: pa.Table, size_mb: int) -> dict[str, Any]:
    file = folder / "index.tar"
    images = sum(len(image.as_py()) for image in table["image"])
    _tar(file, table.to_pylist(), max(1, (size_mb << 20) // images))
    start = time.process_time()
    index = index_of(str(file))
    spent, size = time.process_time() - start, file.stat().st_size
    return {
        "tar_gb": round(size / 1e9, 3),
        "members": len(index.members),
        "cpu_s": round(spent, 2),
        "cpu_s_per_gb": round(spent / size * 1e9, 2),
        "us_per_member": round(spent / len(index.members) * 1e6, 1),
        "index_bytes_per_member": round(
            sum(f.stat().st_size for f in (folder / "cache" / "tars").iterdir())
            / (len(index.members) + 3 * len(table)),
            1,
        ),
    }


if __name__ == "__main__":
    main()
