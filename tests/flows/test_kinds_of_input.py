"""Images as bytes, structs or paths; one modality or two; files as people have them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Winnow = Callable[..., Any]
Write = Callable[..., Path]

NO_COLUMNS = {"image_column": None, "text_column": None}
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture(scope="session")
def embed_settings(tiny_vit: str) -> dict[str, Any]:
    return {
        "embed": NO_COLUMNS,
        "model": {"name": tiny_vit, "batch_size": 8, "precision": "float32"},
    }


def vectors(run: Any) -> dict[str, tuple]:
    rows = run.artifact("embed", "vectors").to_pylist()
    return {row.pop("uid"): tuple(map(tuple, row.values())) for row in rows}


@pytest.fixture(scope="module")
def table(picture_table: Callable[..., pa.Table]) -> pa.Table:
    return picture_table(20)


@pytest.fixture(scope="module")
def by_bytes(
    winnow: Winnow,
    table: pa.Table,
    write_shards: Write,
    embed_settings: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    folder = tmp_path_factory.mktemp("bytes")
    pool = write_shards(folder / "p", table, 7, 3)
    return winnow(pool, folder / "r", ["exact", "embed", "apply"], **embed_settings)


@pytest.mark.parametrize("layout", ["struct", "struct with paths", "paths", "nested"])
def test_every_layout_of_images_gives_the_same_vectors_and_decisions(
    winnow: Winnow,
    table: pa.Table,
    by_bytes: Any,
    write_shards: Write,
    embed_settings: dict[str, Any],
    tmp_path: Path,
    layout: str,
):
    images = table["image"].to_pylist()
    pool = tmp_path / "p"
    shards = pool / "deep" if layout == "nested" else pool
    (pool / "img").mkdir(parents=True)
    for number, image in enumerate(images):
        (pool / "img" / f"{number}.jpg").write_bytes(image)
    up = "../img" if layout == "nested" else "img"
    paths = [f"{up}/{n}.jpg" for n in range(len(images))]
    if layout == "struct":
        column = pa.array([{"bytes": i, "path": "x"} for i in images], STRUCT)
    elif layout == "struct with paths":
        column = pa.array([{"bytes": None, "path": p} for p in paths], STRUCT)
    else:
        column = pa.array(paths)
    column_number = table.schema.get_field_index("image")
    other = table.set_column(column_number, "image", column)
    write_shards(shards, other, 7, 3)
    if layout == "nested":
        # The pool reaches as far up as its shards do.
        pq.write_table(other.slice(0, 0), pool / "empty.parquet")
    run = winnow(pool, tmp_path / "r", ["exact", "embed", "apply"], **embed_settings)
    assert vectors(run) == vectors(by_bytes)
    assert run.ledger("exact") == by_bytes.ledger("exact")
    kept = set(run.output()["uid"].to_pylist())
    expected = other.filter(pa.array([u in kept for u in other["uid"].to_pylist()]))
    assert run.output().sort_by("uid").equals(expected.sort_by("uid"))


def test_a_pool_behind_a_url(
    winnow: Winnow,
    table: pa.Table,
    by_bytes: Any,
    embed_settings: dict[str, Any],
    tmp_path: Path,
):
    fs = fsspec.filesystem("memory")
    for number in range(2):
        with fs.open(f"/kinds-of-input/{number}.parquet", "wb") as file:
            pq.write_table(table.slice(10 * number, 10), file, row_group_size=4)
    try:
        steps = ["exact", "embed", "apply"]
        url = "memory://kinds-of-input"
        run = winnow(url, tmp_path / "r", steps, **embed_settings)
        assert vectors(run) == vectors(by_bytes)
        assert run.output().equals(by_bytes.output())
        assert winnow(url, tmp_path / "r", steps, **embed_settings).result.ran == []
    finally:
        fs.rm("/kinds-of-input", recursive=True)


def image_of(mode: str, kind: str, **how: Any) -> bytes:
    from PIL import Image

    image = Image.effect_noise((40, 32), 60)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 256)
    else:
        image = image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def animated() -> bytes:
    from PIL import Image

    frames = [Image.effect_noise((40, 32), n).convert("P") for n in (20, 60)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def rotated() -> bytes:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    return image_of("RGB", "JPEG", exif=exif)


def bomb() -> bytes:
    """A small PNG file whose header promises 60,000 × 60,000 pixels."""
    data = image_of("1", "PNG")
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def test_images_as_people_have_them_are_used_or_quarantined(
    winnow: Winnow, write_shards: Write, embed_settings: dict[str, Any], tmp_path: Path
):
    good = {
        "cmyk": image_of("CMYK", "JPEG"),
        "grey16": image_of("I;16", "PNG"),
        "palette": image_of("P", "PNG"),
        "alpha": image_of("RGBA", "PNG"),
        "bilevel": image_of("1", "PNG"),
        "webp": image_of("RGB", "WEBP"),
        "animated": animated(),
        "rotated": rotated(),
    }
    jpeg = image_of("RGB", "JPEG")
    bad = {
        "truncated": jpeg[: len(jpeg) // 2],
        "corrupt": b"\xff\xd8\xff" + b"\0" * 99,
        "empty": b"",
        "html": b"<html>404</html>",
        "bomb": bomb(),
        "null": None,
    }
    images = {**good, **bad}
    table = pa.table(
        {
            "uid": list(images),
            "text": ["a drawing"] * len(images),
            "image": pa.array(list(images.values()), pa.binary()),
        }
    )
    run = winnow(
        write_shards(tmp_path / "p", table, 5),
        tmp_path / "r",
        ["embed", "score", "apply"],
        score={"keep_fraction": 1.0},
        **embed_settings,
    )
    assert set(run.output()["uid"].to_pylist()) == set(good)
    reasons = {row["uid"]: row["reason"].split(":")[0] for row in run.quarantine()}
    assert set(reasons) == set(bad)
    assert reasons["truncated"] == "image_truncated"
    assert reasons["bomb"] == "image_too_large"
    assert reasons["null"] == "image_missing"
    assert reasons["empty"] == "image_empty"
    for row in run.quarantine():
        assert row["raw"]["image"] == bad[row["uid"]]


def test_captions_as_people_write_them(
    winnow: Winnow,
    write_shards: Write,
    embed_settings: dict[str, Any],
    tmp_path: Path,
):
    texts = {
        "plain": "a red cat",
        "empty": "",
        "blank": " \n\t ",
        "long": "x" * 100_000,
        "words": "word " * 20_000,
        "emoji": "👩‍👩‍👧 Größe 漢字 \u202e reversed",
        "nul": "a\0b",
        "null": None,
    }
    settings = {
        **embed_settings,
        "embed": {**NO_COLUMNS, "modalities": ["text"]},
    }
    table = pa.table({"uid": list(texts), "text": list(texts.values())})
    run = winnow(
        write_shards(tmp_path / "p", table, 3),
        tmp_path / "r",
        ["exact", "embed", "cluster", "semantic", "apply"],
        exact={"by": ["caption"]},
        cluster={"k": 2, "modality": "text"},
        semantic={"modality": "text", "epsilon": 0.0},
        input={"path": str(tmp_path / "p"), "columns": {"image": None}},
        **settings,
    )
    (row,) = run.quarantine()
    assert (row["uid"], row["reason"]) == ("null", "caption_missing")
    kept = {row["uid"]: row["text"] for row in run.output().to_pylist()}
    assert {"plain", "long", "emoji", "nul"} <= set(kept)
    assert all(kept[uid] == texts[uid] for uid in kept)


def test_images_alone(
    winnow: Winnow,
    table: pa.Table,
    by_bytes: Any,
    write_shards: Write,
    embed_settings: dict[str, Any],
    tmp_path: Path,
):
    settings = {
        **embed_settings,
        "embed": {**NO_COLUMNS, "modalities": ["image"]},
        "cluster": {"k": 3},
    }
    pool = write_shards(tmp_path / "p", table.select(["uid", "image"]), 9)
    columns = {"text": None}
    run = winnow(
        pool,
        tmp_path / "r",
        ["exact", "embed", "cluster", "semantic", "prototypes", "apply"],
        input={"path": str(pool), "columns": columns},
        **settings,
    )
    both = vectors(by_bytes)
    assert {u: v[0] for u, v in vectors(run).items()} == {
        uid: vector[0] for uid, vector in both.items()
    }
    assert 0 < run.result.kept < 20


def test_a_filter_with_its_own_model_embeds_and_scores(
    winnow: Winnow,
    table: pa.Table,
    write_shards: Write,
    embed_settings: dict[str, Any],
    tmp_path: Path,
):
    pool = write_shards(tmp_path / "p", table, 9)
    settings = {"keep_fraction": 0.5, "model": embed_settings["model"]}
    alone = winnow(pool, tmp_path / "a", ["score"], score=settings)
    shared = winnow(
        pool,
        tmp_path / "b",
        ["embed", "score"],
        score={"keep_fraction": 0.5},
        **embed_settings,
    )
    assert alone.ledger("score") == shared.ledger("score")
    assert len(alone.kept("score")) == 10
    half = alone.kept("score")
    # Another cut scores again without embedding again.
    quarter = {**settings, "keep_fraction": 0.25}
    changed = winnow(pool, tmp_path / "a", ["score"], score=quarter)
    assert len(changed.kept("score")) == 5
    assert changed.kept("score") < half
