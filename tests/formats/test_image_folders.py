"""Folders of images with captions beside them, and COCO's captions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from winnow.core.errors import InputError
from winnow.formats.image_folders import ImageFolderFormat
from winnow.formats.shard_discovery import find_pool, read_footers

from tests.formats.tars import read

Winnow = Callable[..., Any]


@pytest.fixture
def pool(tmp_path: Path, make_picture: Callable[..., bytes]) -> Path:
    folder = tmp_path / "pool"
    for number in range(8):
        stem = folder / ("cats" if number % 2 else "dogs") / f"{number}.v1"
        stem.parent.mkdir(parents=True, exist_ok=True)
        Path(f"{stem}.jpg").write_bytes(make_picture(number))
        if number < 6:
            Path(f"{stem}.txt").write_text(f"picture number {number}\n")
        if number in (2, 6):
            about = {"caption": f"told {number}", "width": number}
            Path(f"{stem}.json").write_text(json.dumps(about))
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.jpg").write_bytes(b"x")
    (folder / "README.md").write_text("no row")
    return folder


def test_rows_are_images_with_the_captions_beside_them(pool: Path):
    assert find_pool(str(pool)).kind.name == "imagefolder"
    rows = {str(r["uid"]): r for r in read(pool, ["uid", "image", "text", "width"])}
    assert list(rows) == [
        *(f"cats/{n}.v1.jpg" for n in (1, 3, 5, 7)),
        *(f"dogs/{n}.v1.jpg" for n in (0, 2, 4, 6)),
    ]
    assert rows["cats/1.v1.jpg"]["image"] == "pool/cats/1.v1.jpg"
    texts = {uid[5]: row["text"] for uid, row in rows.items()}
    assert texts["1"] == "picture number 1"
    assert (texts["2"], texts["6"], texts["7"]) == ("picture number 2", "told 6", None)
    assert {u[5]: r["width"] for u, r in rows.items() if r["width"]} == {
        "2": 2,
        "6": 6,
    }


def test_a_file_of_fields_that_is_no_object_costs_its_row(pool: Path):
    (pool / "cats" / "3.v1.json").write_text("[1")
    rows = read(pool, ["uid", "text"])
    assert [row for row in rows if isinstance(row, str)] == [rows[1]]
    assert str(rows[1]).startswith("broken_sidecar: not JSON")


def test_kept_images_lie_in_folders_again_and_give_the_same_rows(
    winnow: Winnow, pool: Path, tmp_path: Path
):
    copy = pool / "cats" / "copy.jpg"
    copy.write_bytes((pool / "cats" / "1.v1.jpg").read_bytes())
    run = winnow(pool, tmp_path / "r", ["exact", "apply"])
    assert (run.result.rows, run.result.kept) == (9, 8)
    kept = {
        str(file.relative_to(run.path / "kept" / "part-00000")): file.read_bytes()
        for file in (run.path / "kept").rglob("*.*")
        if file.is_file()
    }
    given = {
        str(file.relative_to(pool)): file.read_bytes()
        for folder in ("cats", "dogs")
        for file in (pool / folder).iterdir()
    }
    assert kept.items() <= given.items()
    assert len(given) - len(kept) in (1, 2)
    again = winnow(run.path / "kept", tmp_path / "again", ["exact", "apply"])
    assert again.ledger("exact").keys() == run.kept("exact")
    assert again.result.kept == 8
    assert winnow(pool, tmp_path / "r", ["exact", "apply"]).result.ran == []


def test_an_image_that_changes_is_another_pool(pool: Path):
    kind = ImageFolderFormat()
    before = kind.state(str(pool))
    (pool / "cats" / "1.v1.txt").write_text("another caption")
    assert kind.state(str(pool), fresh=True) != before


def test_without_captions_steps_that_read_them_say_so(
    winnow: Winnow, tmp_path: Path, make_picture: Callable[..., bytes]
):
    (tmp_path / "p").mkdir()
    for number in range(3):
        (tmp_path / "p" / f"{number}.png").write_bytes(make_picture(number, kind="PNG"))
    with pytest.raises(InputError, match=r"no column 'text'"):
        winnow(tmp_path / "p", tmp_path / "r", ["rules", "apply"])
    by_pixels = {"by": ["image_pixels"]}
    run = winnow(tmp_path / "p", tmp_path / "r", ["exact", "apply"], exact=by_pixels)
    assert run.result.kept == 3


def test_cocos_captions_are_rows_of_images_beside_them(
    winnow: Winnow, tmp_path: Path, make_picture: Callable[..., bytes]
):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    images = [{"id": n, "file_name": f"{n:012d}.jpg", "width": 48} for n in range(4)]
    notes = [
        {"id": 10 * n + k, "image_id": n, "caption": f"caption {k} of {n} "}
        for n in range(4)
        for k in range(2)
    ]
    for number in range(3):
        file = tmp_path / "val2017" / f"{number:012d}.jpg"
        file.write_bytes(make_picture(number))
    captions = tmp_path / "annotations" / "captions_val2017.json"
    given = {"info": {}, "images": images, "annotations": notes}
    captions.write_text(json.dumps(given))
    assert find_pool(str(tmp_path)).kind.name == "coco"
    assert read(tmp_path, ["uid", "text", "captions"])[2] == {
        "uid": "2",
        "text": "caption 0 of 2",
        "captions": ["caption 0 of 2 ", "caption 1 of 2 "],
    }
    out = tmp_path.parent / f"{tmp_path.name}-run"
    run = winnow(tmp_path, out, ["exact", "apply"])
    assert (run.result.kept, run.result.quarantined) == (3, 1)
    (gone,) = run.quarantine()
    assert gone["uid"] == "3"
    assert gone["reason"].startswith("image_file_unreadable: ../val2017/0000")
    captions.write_text('{"info": 1}')
    with pytest.raises(InputError, match="no whole file of COCO's captions"):
        read_footers([str(captions)], kind=find_pool(str(tmp_path)).kind)
