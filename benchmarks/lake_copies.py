"""The deletion plan of a lake of copies: 1,395 tables, 24,870 pairs of duplicates.

Groups of 17 to 20 copies of one table, by two writers in several codecs. Scans them,
then prints the processor time of `plan_lake`.
"""

import argparse
import os
import time

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from winnow.cli.main import main
from winnow.lake.plan import plan_lake

TABLES = 1395


def write(folder: str) -> None:
    rng = np.random.default_rng(0)
    os.makedirs(folder)
    written = group = 0
    while written < TABLES:
        copies = min(int(rng.integers(17, 21)), TABLES - written)
        rows = int(rng.integers(20, 2000))
        words = pa.array([f"x{i}" for i in rng.integers(0, 50, rows)])
        ids = np.arange(rows) + group * 100_000
        table = pa.table({"id": ids, "a": rng.normal(size=rows), "w": words})
        for i in range(copies):
            path = f"{folder}/g{group:03d}_{i:02d}.parquet"
            if i % 3 == 1:
                pl.DataFrame(table).write_parquet(path, compression_level=1 + i // 3)
            else:
                codec = ["snappy", "zstd", "gzip"][i // 3 % 3 if i % 3 == 0 else 0]
                pq.write_table(table, path, compression=codec)
        written += copies
        group += 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="a new folder for the lake and its run")
    folder = parser.parse_args().folder
    write(f"{folder}/lake")
    scan = ["lake", "scan", f"{folder}/lake", "--out", f"{folder}/run"]
    main([*scan, "--set", "output.report=false"])
    start = time.process_time()
    planned = plan_lake(f"{folder}/run")
    seconds = time.process_time() - start
    print(
        f"{planned['deleted']:,} of {TABLES:,} tables go; {seconds:.1f} s of CPU time"
    )
