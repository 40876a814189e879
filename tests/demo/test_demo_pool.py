"""The pool: reproducible, and its truth is the truth."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from winnow.core.errors import ConfigError
from winnow.demo.pool import (
    BOILERPLATE,
    COPIES,
    DEFECTS,
    SCHEMA,
    TRUTH,
    defect_counts,
    make_pool,
)

ROWS = 800
# Pillow's words for random bytes, and for files that end too early.
_UNREADABLE = "(?i)identify|truncated"


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> tuple[pa.Table, pa.Table]:
    folder = tmp_path_factory.mktemp("pool")
    truth = make_pool(folder, rows=ROWS, seed=3)
    samples = pq.read_table(folder / "shards")
    joined = samples.append_column("defect", truth["defect"])
    return joined.append_column("original", truth["original"]), truth


def _rows(pool, *defects: str | None) -> list[dict]:
    samples, _ = pool
    return [row for row in samples.to_pylist() if row["defect"] in defects]


def _by_uid(pool) -> dict[str, dict]:
    return {row["uid"]: row for row in pool[0].to_pylist()}


def _content(folder: Path) -> str:
    files = sorted(folder.rglob("*.parquet"))
    tables = [pq.read_table(file).to_pylist() for file in files]
    return hashlib.sha256(repr(tables).encode()).hexdigest()


def test_the_same_seed_writes_the_same_samples_in_any_number_of_shards(tmp_path):
    make_pool(tmp_path / "a", rows=300, seed=1)
    make_pool(tmp_path / "b", rows=300, seed=1)
    make_pool(tmp_path / "c", rows=300, seed=2)
    make_pool(tmp_path / "d", rows=300, seed=1, shards=7)
    assert _content(tmp_path / "a") == _content(tmp_path / "b")
    assert _content(tmp_path / "a") != _content(tmp_path / "c")
    assert len(list((tmp_path / "d" / "shards").iterdir())) == 7
    four, seven = (pq.read_table(tmp_path / name / "shards") for name in "ad")
    assert four.equals(seven)


def test_every_defect_is_planted_as_often_as_the_table_says(pool):
    samples, truth = pool
    counts = Counter(truth["defect"].to_pylist())
    planted = {defect: round(share * ROWS) for defect, share in DEFECTS.items()}
    assert defect_counts(ROWS) == planted
    assert counts == {**planted, None: ROWS - sum(planted.values())}
    assert 0.30 < sum(DEFECTS.values()) < 0.40
    assert len(samples) == ROWS


def test_schemas_and_uids(pool, tmp_path):
    samples, truth = pool
    assert samples.select(SCHEMA.names).schema.equals(SCHEMA)
    assert truth.schema.equals(TRUTH)
    uids = samples["uid"].to_pylist()
    assert uids == truth["uid"].to_pylist()
    assert len(set(uids)) == ROWS
    assert all(len(uid) == 32 and int(uid, 16) >= 0 for uid in uids)


def test_copies_and_only_copies_name_a_good_original(pool):
    known = _by_uid(pool)
    for row in known.values():
        assert (row["original"] is not None) == (row["defect"] in COPIES)
        if row["original"] is not None:
            assert known[row["original"]]["defect"] is None
            assert known[row["original"]]["concept"] == row["concept"]


def test_exact_copies_alone_repeat_bytes(pool):
    known = _by_uid(pool)
    for row in _rows(pool, "exact_copy"):
        assert row["image"] == known[row["original"]]["image"]
        assert row["text"] == known[row["original"]]["text"]
    others = [r["image"] for r in known.values() if r["defect"] != "exact_copy"]
    repeated = [image for image, n in Counter(others).items() if n > 1]
    assert repeated == [b""]


def test_near_copies_have_other_bytes_and_another_caption(pool):
    known = _by_uid(pool)
    for row in _rows(pool, "near_copy"):
        original = known[row["original"]]
        assert row["image"] != original["image"]
        assert row["text"] != original["text"]
        kept = Counter(row["text"].split()) & Counter(original["text"].split())
        assert kept.total() >= len(original["text"].split()) - 1


def test_good_rows_pass_the_rules_that_defects_break(pool):
    for row in _rows(pool, None):
        assert len(row["text"].split()) > 2
        assert len(row["text"]) > 5
        assert row["text"] not in BOILERPLATE
        with Image.open(io.BytesIO(row["image"])) as image:
            image.load()
            assert image.size == (row["width"], row["height"]) == (128, 128)


def test_defective_images_are_as_their_name_says(pool):
    for row in _rows(pool, "tiny_image", "extreme_aspect"):
        with Image.open(io.BytesIO(row["image"])) as image:
            image.load()
            assert image.size == (row["width"], row["height"])
            short, long = sorted(image.size)
        if row["defect"] == "tiny_image":
            assert long < 48
        else:
            assert long / short > 4
            assert short >= 80
    broken = _rows(pool, "truncated_file", "random_bytes", "empty_file")
    assert len(broken) == 16
    for row in broken:
        with (
            pytest.raises(OSError, match=_UNREADABLE),
            Image.open(io.BytesIO(row["image"])) as image,
        ):
            image.load()


def test_defective_captions_are_as_their_name_says(pool):
    assert all(row["text"] in BOILERPLATE for row in _rows(pool, "boilerplate_caption"))
    assert all(len(row["text"].split()) <= 2 for row in _rows(pool, "short_caption"))


def test_a_mismatched_caption_names_none_of_the_shapes(pool):
    for row in _rows(pool, "mismatched_caption"):
        colour, _, kind = row["concept"].partition(" ")
        if kind:
            assert f"{colour} {kind}" not in row["text"]


def test_a_pool_too_small_for_its_defects_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="200"):
        make_pool(tmp_path, rows=50)
