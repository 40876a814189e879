"""Decontamination: planted copies go with their evaluation item, all others stay."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from winnow.core.errors import ConfigError, InputError

Winnow = Callable[..., Any]
Write = Callable[..., Path]

STEP = "decontaminate"
COPIES = ("resized", "recompressed", "cropped")


def changed(data: bytes, kind: str) -> bytes:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = image.size
    quality = 90
    if kind == "resized":
        image = image.resize((width * 3 // 4, height * 3 // 4))
    elif kind == "recompressed":
        quality = 50
    else:
        # 90 % of each side, from the middle.
        image = image.crop(
            (width // 20, height // 20, width - width // 20, height - height // 20)
        )
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@pytest.mark.shared
@pytest.mark.parametrize(
    ("items", "others", "copies"),
    [(30, 60, 6), pytest.param(200, 1000, 20, marks=pytest.mark.slow)],
)
def test_planted_copies_of_photographs_go_and_all_others_stay(
    winnow: Winnow,
    write_shards: Write,
    shared: Path,
    tmp_path: Path,
    items: int,
    others: int,
    copies: int,
):
    photos = pq.read_table(shared / "data" / "photos")
    order = np.random.default_rng(0).permutation(len(photos))
    evaluation = photos.take(pa.array(order[:items]))
    chosen = pa.array(order[items : items + others])
    rest = photos.take(chosen).select(["uid", "text", "image"])
    images = evaluation["image"].to_pylist()[:copies]
    planted = pa.table(
        {
            "uid": [f"copy-{i}" for i in range(copies)],
            # Another person's words: only the picture gives the copy away.
            "text": rest["text"].to_pylist()[:copies],
            "image": [changed(d, COPIES[i % 3]) for i, d in enumerate(images)],
        }
    )
    write_shards(tmp_path / "eval", evaluation, 100)
    pool = write_shards(tmp_path / "pool", pa.concat_tables([rest, planted]), 300)
    run = winnow(
        pool,
        tmp_path / "run",
        ["embed", STEP],
        embed={"image_column": None, "text_column": None, "modalities": ["image"]},
        model={"name": f"local-dir:{shared / 'models' / 'lite0'}"},
        decontaminate={
            "against": [{"path": str(tmp_path / "eval"), "text": "captions"}]
        },
    )
    dropped = {u: r for u, r in run.ledger(STEP).items() if not r["keep"]}
    assert set(dropped) == {f"copy-{i}" for i in range(copies)}
    uids = evaluation["uid"].to_pylist()
    for number in range(copies):
        row = dropped[f"copy-{number}"]
        assert row["kept_twin"] == f"eval:{uids[number]}"
        assert row["reason"].startswith("contaminated_")
    listed = run.artifact(STEP, "removed").to_pylist()
    assert {row["uid"] for row in listed} == set(dropped)


@pytest.fixture(scope="module")
def pictures(
    picture_table: Callable[..., pa.Table],
    write_shards: Write,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Path]:
    """Return a pool of 60 pictures and an evaluation set with the first five."""
    folder = tmp_path_factory.mktemp("pictures")
    table = picture_table(60)
    first = table.slice(0, 5)
    items = pa.table(
        {
            "id": list(range(5)),
            "photo": first["image"],
            "said": [[None, text] for text in first["text"].to_pylist()],
        }
    )
    return write_shards(folder / "pool", table, 25), write_shards(
        folder / "bench", items, 3
    )


def clean(winnow: Winnow, pool: Path, out: Path, bench: Path, **settings: Any) -> Any:
    given = {"path": str(bench), "uid": "id", "image": "photo", "text": "said"}
    return winnow(
        pool,
        out,
        [STEP],
        decontaminate={"against": [{**given, **settings.pop("set", {})}], **settings},
    )


def test_each_criterion_alone_finds_the_same_rows(
    winnow: Winnow, pictures: tuple[Path, Path], tmp_path: Path
):
    pool, bench = pictures
    table = pq.read_table(pool)
    same_image = set(pq.read_table(bench)["photo"].to_pylist())
    same_text = {said[1] for said in pq.read_table(bench)["said"].to_pylist()}
    by_hash = clean(
        winnow, pool, tmp_path / "a", bench, by=["perceptual_hash"], max_bits=0
    )
    by_text = clean(winnow, pool, tmp_path / "b", bench, by=["captions"], ngram=4)
    for run, column, known in (
        (by_hash, "image", same_image),
        (by_text, "text", same_text),
    ):
        expected = {
            uid
            for uid, value in zip(
                table["uid"].to_pylist(), table[column].to_pylist(), strict=True
            )
            if value in known
        }
        assert len(expected) >= 5
        ledger = run.ledger(STEP)
        assert {u for u, row in ledger.items() if not row["keep"]} == expected
        assert {row["score"] for u, row in ledger.items() if u in expected} == {1.0}
        assert all(
            row["kept_twin"] is None and row["score"] is None
            for u, row in ledger.items()
            if u not in expected
        )


def test_all_hits_are_listed_and_the_first_criterion_is_the_reason(
    winnow: Winnow,
    pictures: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    from winnow.cli.main import main

    pool, bench = pictures
    by = ["captions", "perceptual_hash"]
    run = clean(winnow, pool, tmp_path / "r", bench, by=by, ngram=4, max_bits=0)
    listed: dict[str, list[str]] = {}
    for row in run.artifact(STEP, "removed").to_pylist():
        listed.setdefault(row["uid"], []).append(row["criterion"])
        assert row["item"] in {f"bench:{n}" for n in range(5)}
    both = [uid for uid, hits in listed.items() if len(hits) == 2]
    assert len(both) >= 5
    assert {run.ledger(STEP)[uid]["reason"] for uid in both} == {
        "contaminated_captions"
    }
    assert main(["explain", str(run.path), both[0], "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)["steps"][-1]
    assert entry["twin_fate"] == "in an evaluation set"
    assert "'captions' taken out" in entry["would_be_kept"]
    assert "'perceptual_hash' taken out" in entry["would_be_kept"]


def test_ready_made_vectors_are_compared_with_a_matrix(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    table = pq.read_table(planted_pool)
    vectors = np.array(table["iv"].to_pylist())
    np.save(tmp_path / "bench.npy", vectors[[3, 77]])
    run = winnow(
        planted_pool,
        tmp_path / "r",
        ["embed", STEP],
        decontaminate={
            "against": [str(tmp_path / "bench.npy")],
            "by": ["image_vectors"],
            "max_distance": 1e-4,
        },
    )
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = (unit @ unit[[3, 77]].T).max(axis=1) > 1 - 1e-4
    uids = np.array(table["uid"].to_pylist())
    dropped = {u for u, row in run.ledger(STEP).items() if not row["keep"]}
    assert dropped == set(uids[near])
    assert run.ledger(STEP)[uids[77]]["kept_twin"] == "bench.npy:1"


def test_images_that_cannot_be_read_are_quarantined_and_counted(
    winnow: Winnow, pictures: tuple[Path, Path], write_shards: Write, tmp_path: Path
):
    pool, bench = pictures
    table = pq.read_table(pool)
    images = table["image"].to_pylist()
    images[7] = images[7][:60]
    images[8] = None
    column = table.schema.get_field_index("image")
    bad = table.set_column(column, "image", pa.array(images, pa.binary()))
    worse = write_shards(tmp_path / "pool", bad)
    run = clean(winnow, worse, tmp_path / "r", bench, by=["perceptual_hash"])
    uids = table["uid"].to_pylist()
    reasons = {row["uid"]: row["reason"] for row in run.quarantine()}
    assert reasons == {uids[7]: "image_truncated", uids[8]: "image_missing"}
    items = pq.read_table(bench)
    broken = items.set_column(1, "photo", pa.array([b"x", *images[1:5]]))
    faulty = write_shards(tmp_path / "bench", broken)
    out = clean(winnow, worse, tmp_path / "q", faulty, by=["perceptual_hash"])
    facts = json.loads((out.path / "manifest.json").read_text())["steps"][STEP]
    assert facts["perceptual_hash"]["bench"]["images"] == 4
    assert sum(facts["perceptual_hash"]["bench"]["unusable"].values()) == 1


@pytest.mark.parametrize(
    ("given", "kind", "error"),
    [
        ({"set": {"image": "phto"}}, InputError, "no column 'phto'; did you mean"),
        ({"set": {"image": None}}, ConfigError, "perceptual_hash needs images"),
        ({"by": ["captions"], "set": {"text": None}}, ConfigError, "needs captions"),
        ({"by": []}, ConfigError, "by"),
        ({"set": {"path": "nowhere"}}, InputError, "no shard at .nowhere|nowhere: no"),
    ],
)
def test_sets_that_cannot_be_compared_say_why(
    winnow: Winnow,
    pictures: tuple[Path, Path],
    tmp_path: Path,
    given: Any,
    kind: type[Exception],
    error: str,
):
    pool, bench = pictures
    with pytest.raises(kind, match=error):
        clean(
            winnow,
            pool,
            tmp_path / "r",
            bench,
            **{"by": ["perceptual_hash"], **given},
        )
