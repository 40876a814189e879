"""Pools on an S3 server (moto's, on loopback) and behind http: read by ranges."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow as api
from winnow.core.errors import InputError
from winnow.handles.run import Run
from winnow.reports.export.export import export

from tests.formats.tars import sample, write_tar
from tests.s3_server import Fetched, s3_server

Winnow = Callable[..., Any]
STEPS = ["exact", "apply"]


@pytest.fixture(scope="module")
def folder(
    picture_table: Callable[..., pa.Table], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a folder of one pool in two formats."""
    root = tmp_path_factory.mktemp("pools")
    rows = picture_table(12).select(["uid", "image", "text"]).to_pylist()
    (root / "parquet").mkdir()
    (root / "tars").mkdir()
    for number in range(2):
        part = rows[6 * number : 6 * number + 6]
        pq.write_table(pa.Table.from_pylist(part), root / "parquet" / f"{number}.pq")
        members = [
            member
            for place, row in enumerate(part)
            for member in sample(
                f"{number}{place}", row["image"], row["text"], uid=row["uid"]
            )
        ]
        write_tar(root / "tars" / f"{number}.tar", members)
    return root


@pytest.fixture(scope="module")
def s3(folder: Path) -> Iterator[str]:
    with s3_server("winnow") as files:
        files.put(f"{folder}/", "winnow/", recursive=True)
        yield "s3://winnow"


@pytest.fixture(scope="module")
def web(folder: Path) -> Iterator[str]:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _same(winnow: Winnow, url: str, local: Path, work: Path) -> None:
    run = winnow(url, work / "r", STEPS)
    here = winnow(local, work / "l", STEPS)
    assert run.ledger("exact") == here.ledger("exact")
    kept = [(run.path / "kept").iterdir(), (here.path / "kept").iterdir()]
    remote, near = ([file.read_bytes() for file in sorted(files)] for files in kept)
    assert remote == near
    with Run(run.path) as opened:
        rows = opened.query("SELECT uid, text FROM samples").to_pylist()
    assert len(rows) == 12
    assert export(run.path, "webdataset", work / "tars")["rows"] == run.result.kept


@pytest.mark.slow
@pytest.mark.parametrize("name", ["parquet", "tars"])
def test_a_pool_on_s3_gives_the_decisions_of_its_copy(
    winnow: Winnow, s3: str, folder: Path, tmp_path: Path, monkeypatch, name: str
):
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / "cache"))
    _same(winnow, f"{s3}/{name}", folder / name, tmp_path)


@pytest.mark.slow
def test_a_pool_behind_http_can_be_asked_and_exported(
    winnow: Winnow, web: str, folder: Path, tmp_path: Path
):
    _same(winnow, f"{web}/parquet/", folder / "parquet", tmp_path)


def test_tars_behind_a_server_without_ranges_are_one_clear_line(
    winnow: Winnow, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match=r"0\.tar: its members cannot be read by off"):
        winnow(f"{web}/tars/0.tar", tmp_path / "r", STEPS)


@pytest.mark.slow
def test_of_a_large_shard_on_s3_no_engine_holds_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spark: Any
):
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / "cache"))
    made = np.random.default_rng(5)
    images = [made.bytes(400_000) for _ in range(60)]
    uids = [f"u{i:02d}" for i in range(60)]
    table = pa.table({"uid": uids, "image": images, "text": uids})
    file = tmp_path / "0.parquet"
    settings = {"use_dictionary": False, "write_batch_size": 1}
    pq.write_table(table, file, row_group_size=12, **settings)
    size, fates = file.stat().st_size, []
    fetched = Fetched(monkeypatch)
    with s3_server("winnow-large") as files:
        for key in (k for k in os.environ if k.startswith("AWS_")):
            # As whoever starts a cluster's workers gives them.
            monkeypatch.setitem(spark.sparkContext.environment, key, os.environ[key])
        files.pipe_file("winnow-large/pool/0.parquet", file.read_bytes())
        for name in ("here", "spark"):
            fetched.gets.clear()
            recipe = {
                "input": {"path": "s3://winnow-large/pool"},
                "output": {"path": str(tmp_path / name), "report": False},
                "steps": ["exact", "apply"],
                "exact": {"by": ["image_bytes"]},
                "engine": {"name": "local" if name == "here" else "spark"},
            }
            run = api.run(recipe, spark=None if name == "here" else spark)
            assert run.kept == 60
            fates.append(run.run.fates().polars().sort("uid"))
            gets = [get for get in fetched.gets if get[0].endswith("/0.parquet")]
            # A column of a row group, 4.8 MB.
            assert max(got for _, _, got in gets) < 5_000_000 < size / 4
            assert all(span is not None for _, span, _ in gets)
            # Read by `exact` and by `apply`; on Spark two tasks may share a row group.
            assert (
                sum(got for _, _, got in gets) < (2.1 if name == "here" else 4) * size
            )
    assert fates[0].equals(fates[1])
