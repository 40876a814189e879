"""`winnow export`: what a run keeps, read back by the libraries that training uses."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from winnow.cli.main import main
from winnow.config.run import parse
from winnow.core.errors import ConfigError, InputError, RunError
from winnow.models.images import pixel_digest
from winnow.reports.export.export import export
from winnow.reports.export.exporters import EXPORTERS

STEPS = ["exact", "embed", "cluster", "semantic", "score", "apply"]
U16 = np.dtype("u8,u8")

Winnow = Callable[..., Any]


@pytest.fixture(scope="module")
def table(
    planted_table: Callable[..., pa.Table], make_picture: Callable[..., bytes]
) -> pa.Table:
    """Return 90 rows: pictures of three kinds, captions with what escapes, a null."""
    pool = planted_table(90)
    kinds = ["JPEG", "PNG", "WEBP"]
    images = [make_picture(i // 2 * 2, kind=kinds[i // 2 % 3]) for i in range(90)]
    captions = [f'a "red"\n{word} – {i}' for i, word in enumerate(["küche"] * 90)]
    pool = pool.set_column(2, "image", pa.array(images))
    pool = pool.set_column(1, "text", pa.array(captions))
    dotted = pa.array([f"https://example.org/{i}.a.b.jpg" for i in range(90)])
    return pool.append_column("url", dotted)


@pytest.fixture(scope="module")
def run(
    table: pa.Table,
    tmp_path_factory: pytest.TempPathFactory,
    write_shards: Callable[..., Path],
    winnow: Winnow,
) -> Any:
    folder = tmp_path_factory.mktemp("export")
    pool = write_shards(folder / "pool", table, 40, 16)
    return winnow(pool, folder / "run", STEPS)


@pytest.fixture(scope="module")
def kept(run: Any, table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows that the run keeps, in the order of the input."""
    uids = run.kept("score")
    rows = [row for row in table.to_pylist() if row["uid"] in uids]
    assert 20 < len(rows) < 60
    return rows


def test_webdataset_reads_every_sample(run: Any, kept: Any, tmp_path: Path):
    import webdataset

    out = tmp_path / "tars"
    assert export(run.path, "webdataset", out, shard_rows=9)["rows"] == len(kept)
    tars = sorted(map(str, out.glob("*.tar")))
    assert len(tars) == -(-len(kept) // 9)
    raw = list(webdataset.WebDataset(tars, shardshuffle=False))
    for sample, row in zip(raw, kept, strict=True):
        (picture,) = {"jpg", "png", "webp"} & set(sample)
        assert sample[picture] == row["image"]
        assert picture.replace("jpg", "jpeg").upper() == _kind(row["image"])
        assert sample["txt"].decode() == row["text"]
        about = json.loads(sample["json"])
        assert about["uid"] == row["uid"]
        assert about["extra"] == row["extra"]
        assert about["url"] == row["url"]
        assert "text" not in about
    # As open_clip's loader does.
    pipe = webdataset.WebDataset(tars, shardshuffle=False).decode("pilrgb")
    pairs = list(pipe.rename(image="jpg;png;jpeg;webp", text="txt").to_tuple("image"))
    assert [pair[0].size for pair in pairs] == [_size(row["image"]) for row in kept]


def test_datasets_loads_a_folder_with_pictures(
    run: Any, kept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "hf"
    export(run.path, "hf", out, shard_rows=11)
    assert len(list((out / "data").iterdir())) > 1
    loaded = datasets.load_dataset(str(out), split="train", cache_dir=tmp_path / "c")
    assert isinstance(loaded.features["image"], datasets.Image)
    assert loaded["uid"][:] == [row["uid"] for row in kept]
    assert loaded[3]["image"].size == _size(kept[3]["image"])
    assert loaded[3]["extra"] == kept[3]["extra"]
    streamed = datasets.load_dataset(str(out), split="train", streaming=True)
    assert [row["text"] for row in streamed] == [row["text"] for row in kept]


def test_parquet_has_the_inputs_columns(
    run: Any, kept: Any, table: pa.Table, tmp_path: Path
):
    out = tmp_path / "parquet"
    export(run.path, "parquet", out, shard_rows=20)
    sizes = [pq.ParquetFile(f).metadata.num_rows for f in sorted(out.iterdir())]
    assert sizes == [min(20, len(kept) - s) for s in range(0, len(kept), 20)]
    exported = pq.read_table(out)
    assert exported.schema.equals(table.schema)
    assert exported.to_pylist() == kept


def test_scores_are_those_of_the_ledger(run: Any, kept: Any, tmp_path: Path):
    out = tmp_path / "scored"
    export(run.path, "parquet", out, with_scores=True)
    exported = {row["uid"]: row for row in pq.read_table(out).to_pylist()}
    clusters = run.artifact("cluster", "clusters").to_pylist()
    cluster_of = {row["uid"]: row["cluster"] for row in clusters}
    for row in kept:
        uid = row["uid"]
        for step in ("semantic", "score"):
            assert exported[uid][f"winnow_{step}"] == run.ledger(step)[uid]["score"]
        assert exported[uid]["winnow_cluster"] == cluster_of[uid]


def test_a_resharder_finds_the_kept_uids(run: Any, table: pa.Table, tmp_path: Path):
    """DataComp's: a binary search for each uid of the pool in the mapped subset."""
    file = tmp_path / "subset.npy"
    export(run.path, "uids", file)
    subset = np.load(file, mmap_mode="r")
    assert subset.dtype == U16
    assert np.array_equal(subset, np.load(run.path / "subset.npy"))
    exported = []
    for uid in table["uid"].to_pylist():
        key = np.array([divmod(int(uid, 16), 2**64)], U16)
        left, right = (np.searchsorted(subset, key, side)[0] for side in _SIDES)
        exported += [uid] * int(right - left)
    assert set(exported) == run.kept("score")
    assert len(exported) == len(subset)
    lines = tmp_path / "uids.txt"
    export(run.path, "uids", lines)
    assert lines.read_text().split() == sorted(exported)


_SIDES = ("left", "right")


def test_clip_retrievals_files_hold_the_runs_vectors(
    run: Any, kept: Any, tmp_path: Path, winnow: Winnow
):
    out = tmp_path / "clip"
    export(run.path, "clip-retrieval", out, shard_rows=len(kept) - 9)
    vectors = {row["uid"]: row for row in run.artifact("embed", "vectors").to_pylist()}
    uids, parts = [], list(out.glob("metadata/metadata_*.parquet"))
    assert len(parts) == 2
    for number in range(2):
        about = pq.read_table(out / "metadata" / f"metadata_{number}.parquet")
        assert "image" not in about.column_names
        for kind, name in (("image", "img_emb"), ("text", "text_emb")):
            matrix = np.load(out / name / f"{name}_{number}.npy")
            assert matrix.dtype == np.float16
            want = [vectors[uid][f"{kind}_vector"] for uid in about["uid"].to_pylist()]
            assert np.array_equal(matrix, np.array(want, np.float16))
        uids += about["uid"].to_pylist()
        captions = about["caption"].to_pylist()
        assert captions == [r["text"] for r in kept][len(uids) - len(about) : len(uids)]
    assert uids == [row["uid"] for row in kept]


def test_winnow_reads_its_own_clip_retrieval_export(
    run: Any,
    kept: Any,
    tmp_path: Path,
    winnow: Winnow,
    write_shards: Callable[..., Path],
):
    out = tmp_path / "clip"
    export(run.path, "clip-retrieval", out)
    pool = write_shards(tmp_path / "pool", pa.Table.from_pylist(kept))
    embed = {"clip_retrieval": str(out), "image_column": None, "text_column": None}
    again = winnow(pool, tmp_path / "again", ["embed"], embed=embed)
    assert again.artifact("embed", "vectors").equals(
        _of(run.artifact("embed", "vectors"), [row["uid"] for row in kept])
    )


def test_a_row_that_was_drawn_several_times_stands_as_often(
    planted_pool: Path, tmp_path: Path, winnow: Winnow
):
    run = winnow(
        planted_pool,
        tmp_path / "run",
        ["embed", "score", "soft_cap", "apply"],
        score={"keep_fraction": 1.0},
        soft_cap={"total": 260, "temperature": 0.05},
    )
    table = pq.read_table(run.path / "repeats").to_pylist()
    counts = {row["uid"]: row["count"] for row in table}
    assert max(counts.values()) > 1
    for to in ("webdataset", "parquet", "uids"):
        assert export(run.path, to, tmp_path / to)["rows"] == 260
    uids = pq.read_table(tmp_path / "parquet")["uid"].to_pylist()
    assert Counter(uids) == counts
    subset = np.load(tmp_path / "uids")
    assert np.array_equal(subset, np.load(run.path / "subset.npy"))
    with tarfile.open(tmp_path / "webdataset" / "00000.tar") as tar:
        names = tar.getnames()
    assert len(names) == len(set(names)) == 3 * 260


def test_images_by_path_and_uids_by_content(
    make_picture: Callable[..., bytes], tmp_path: Path, winnow: Winnow
):
    pool = tmp_path / "pool"
    (pool / "pictures").mkdir(parents=True)
    for i in range(6):
        (pool / "pictures" / f"{i}.png").write_bytes(make_picture(i, kind="PNG"))
    rows = {
        "file": [f"pictures/{i}.png" for i in range(6)],
        "text": [f"number {i}" for i in range(6)],
    }
    pq.write_table(pa.table(rows), pool / "0.parquet")
    columns = {"uid": None, "image": "file", "text": "text"}
    run = winnow(pool, tmp_path / "r", ["exact", "apply"], input={"columns": columns})
    export(run.path, "parquet", tmp_path / "out")
    exported = pq.read_table(tmp_path / "out")
    assert exported.column_names == ["uid", "file", "text"]
    assert set(exported["uid"].to_pylist()) == run.kept("exact")
    assert exported["file"].to_pylist() == [
        make_picture(i, kind="PNG") for i in range(6)
    ]
    (pool / "pictures" / "4.png").unlink()
    with pytest.raises(InputError, match=r"image_file_unreadable: pictures/4\.png"):
        export(run.path, "webdataset", tmp_path / "tars")
    assert not (tmp_path / "tars").exists()
    assert [p.name for p in tmp_path.iterdir() if "tars" in p.name] == []


def test_text_without_pictures(tmp_path: Path, winnow: Winnow):
    import webdataset

    lines = [{"id": f"no.{i}", "text": f"line {i}"} for i in range(4)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "pool.jsonl").write_text(text)
    columns = {"uid": "id", "image": None, "text": "text"}
    given = {"columns": columns}
    exact = {"by": ["caption"]}
    run = winnow(
        tmp_path / "pool.jsonl", tmp_path / "r", ["exact"], input=given, exact=exact
    )
    export(run.path, "webdataset", tmp_path / "tars")
    samples = webdataset.WebDataset(
        str(tmp_path / "tars" / "00000.tar"), shardshuffle=False
    )
    assert [s["txt"].decode() for s in samples] == [x["text"] for x in lines]
    with pytest.raises(ConfigError, match=r"32 hexadecimal digits.*\.txt"):
        export(run.path, "uids", tmp_path / "s.npy")
    with pytest.raises(RunError, match="embedded nothing"):
        export(run.path, "clip-retrieval", tmp_path / "clip")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"pool.jsonl", "r", "tars"}


@pytest.mark.parametrize("to", EXPORTERS.names())
def test_the_command_writes_once_and_says_what(
    run: Any, kept: Any, to: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    command = ["export", str(run.path), "--to", to, "--out", str(out), "--json"]
    assert main(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"to": to, "out": str(out), "rows": len(kept)}
    before = _contents(out)
    assert main(command) == 2
    assert "exists; name another place" in capsys.readouterr().err
    assert _contents(out) == before
    other = tmp_path / "again"
    export(run.path, to, other)
    assert _contents(other) == before


def test_what_cannot_be_exported_says_why(run: Any, tmp_path: Path):
    with pytest.raises(ConfigError, match="did you mean 'webdataset'"):
        export(run.path, "webdatasets", tmp_path / "x")
    with pytest.raises(ConfigError, match="has no columns"):
        export(run.path, "uids", tmp_path / "x", with_scores=True)
    with pytest.raises(ConfigError, match="a shard has rows"):
        export(run.path, "hf", tmp_path / "x", shard_rows=0)
    assert list(tmp_path.iterdir()) == []


def test_an_export_with_scores_is_a_pool_again(
    run: Any, tmp_path: Path, winnow: Winnow
):
    export(run.path, "parquet", tmp_path / "scored", with_scores=True)
    again = winnow(tmp_path / "scored", tmp_path / "again", ["embed", "score"])
    with pytest.raises(ConfigError, match="winnow_score already"):
        export(again.path, "hf", tmp_path / "x", with_scores=True)
    assert export(again.path, "hf", tmp_path / "x")["rows"] > 0


def _contents(place: Path) -> dict[str, bytes]:
    files = [place] if place.is_file() else [f for f in place.rglob("*") if f.is_file()]
    return {str(file.relative_to(place)): file.read_bytes() for file in files}


def _of(table: pa.Table, uids: list[str]) -> pa.Table:
    return table.filter(pa.compute.is_in(table["uid"], pa.array(uids)))


def _size(image: bytes) -> tuple[int, int]:
    size: tuple[int, int] = Image.open(io.BytesIO(image)).size
    return size


def _kind(image: bytes) -> str:
    return str(Image.open(io.BytesIO(image)).format)


def test_what_open_clips_reader_drops_becomes_png_of_the_same_pixels(
    make_picture: Callable[..., bytes], tmp_path: Path, winnow: Winnow
):
    import webdataset

    kinds = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"]
    images = [make_picture(n, kind=kind) for n, kind in enumerate(kinds)]
    images.append(b"no picture")
    rows = {"uid": list("abcdefgh"), "image": images, "text": ["x"] * 8}
    pq.write_table(pa.table(rows), tmp_path / "p.parquet")
    run = winnow(tmp_path / "p.parquet", tmp_path / "r", ["exact", "apply"])
    said = export(run.path, "webdataset", tmp_path / "tars")
    assert (said["rows"], said["reencoded"], said["unreadable"]) == (8, 4, 1)
    tar = str(tmp_path / "tars" / "00000.tar")
    samples = list(webdataset.WebDataset(tar, shardshuffle=False))
    seen = {}
    for read in samples:
        picture = next((read[e] for e in ("jpg", "png", "webp") if e in read), None)
        seen[json.loads(read["json"])["uid"]] = picture
    assert seen.pop("h") is None
    for uid, given in zip("abcdefg", images, strict=False):
        assert pixel_digest(seen[uid]) == pixel_digest(given)
        assert (seen[uid] == given) == (uid in "abc")


@pytest.mark.parametrize("out", ["s3://bucket/run", "gs://b/r", "http://host/run"])
def test_exports_are_not_written_to_urls(
    run: Any, out: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["export", str(run.path), "--to", "parquet", "--out", out]) == 2
    assert "an export goes to a folder or file" in capsys.readouterr().err


def test_runs_are_not_written_to_web_servers(tmp_path: Path):
    recipe = {"input": {"path": str(tmp_path)}, "steps": ["apply"]}
    with pytest.raises(ConfigError, match=r"output\.path: a web server takes no files"):
        parse({**recipe, "output": {"path": "http://host/run"}})
