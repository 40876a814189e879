"""Near copies: imagededup's pictures; photographs smaller, cropped, encoded again."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
from PIL import Image
from winnow import api
from winnow.flows.what_if import tried
from winnow.reports.explain import explain
from winnow.reports.run_view import RunView

Winnow = Callable[..., Any]
Write = Callable[..., Path]


def hashed(
    winnow: Winnow, pool: Path, out: Path, steps: tuple[str, ...] = (), **settings: Any
) -> Any:
    given = {"path": str(pool), "max_quarantined": 1.0, "columns": {"text": None}}
    names = [*steps, "perceptual_hash", "apply"]
    return winnow(pool, out, names, input=given, perceptual_hash=settings)


def jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def test_imagededups_pictures(
    winnow: Winnow, write_shards: Write, shared: Path, tmp_path: Path
):
    """A resized and a grey copy go; flipped and turned ones are other pictures."""
    folder = shared / "data/outside/imagededup"
    files = [*sorted(folder.glob("mixed_images/*")), folder / "ukbench00120_gray.jpg"]
    table = pa.table(
        {"uid": [f.stem for f in files], "image": [f.read_bytes() for f in files]}
    )
    run = hashed(winnow, write_shards(tmp_path / "p", table), tmp_path / "r")
    ledger = run.ledger("perceptual_hash")
    gone = {uid: row["kept_twin"] for uid, row in ledger.items() if not row["keep"]}
    assert gone == {
        "ukbench00120_gray": "ukbench00120",
        "ukbench00120_resize": "ukbench00120",
    }
    assert [row["uid"] for row in run.quarantine()] == ["ukbench09268_corrupt"]


@pytest.fixture(scope="module")
def copies(
    shared: Path, write_shards: Write, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a pool: photographs, and each of them smaller, worse, cropped."""
    file = sorted((shared / "data/photos").glob("*.parquet"))[0]
    rows: dict[str, bytes] = {}
    for number, data in enumerate(
        pq.read_table(file, columns=["image"])["image"].to_pylist()[:120]
    ):
        image = Image.open(io.BytesIO(data)).convert("RGB")
        width, height = image.size
        # Uids put copies first, so that nothing but the keeper saves the original.
        rows[f"{number:03d} z original"] = data
        rows[f"{number:03d} a smaller"] = jpeg(image.resize((120, 120)), 90)
        rows[f"{number:03d} b encoded"] = jpeg(image, 55)
        box = (width // 20, height // 20, width - width // 20, height - height // 20)
        rows[f"{number:03d} c cropped"] = jpeg(image.crop(box), 90)
    table = pa.table({"uid": list(rows), "image": list(rows.values())})
    return write_shards(tmp_path_factory.mktemp("copies"), table, 100)


@pytest.mark.slow
def test_the_original_of_copies_stays(
    winnow: Winnow, copies: Path, tmp_path: Path, read_run: Callable[..., Any]
):
    keeper = ["pixels desc", "bytes desc"]
    run = hashed(winnow, copies, tmp_path / "r", keeper=keeper)
    kept = run.kept("perceptual_hash")
    originals = [uid for uid in kept if uid.endswith("original")]
    assert len(originals) >= 0.99 * 120
    for kind in ("smaller", "encoded", "cropped"):
        left = [uid for uid in kept if uid.endswith(kind)]
        assert len(left) <= 0.03 * 120, kind
    for uid, row in run.ledger("perceptual_hash").items():
        if not row["keep"]:
            assert row["kept_twin"][:3] == uid[:3]
    with tried(run.path, ["perceptual_hash.crops=false"], api.make_engine) as other:
        kept = read_run(other.path).kept("perceptual_hash")
        assert sum(uid.endswith("cropped") for uid in kept) > 0.3 * 120


@pytest.mark.slow
def test_the_original_stays_whatever_finds_its_copies(
    winnow: Winnow, copies: Path, write_shards: Write, shared: Path, tmp_path: Path
):
    """By their one caption, or by a model's vectors; but for the cropped ones.

    At this epsilon copies of pictures this small are one, different pictures are not.
    """
    pictures = pq.read_table(copies)
    names = [uid for uid in pictures["uid"].to_pylist() if "cropped" not in uid]
    table = pictures.filter(pa.compute.is_in(pictures["uid"], pa.array(names)))
    table = table.append_column("text", pa.array([f"photo {n[:3]}" for n in names]))
    pool = write_shards(tmp_path / "p", table, 100)
    keeper = {"keeper": ["pixels desc", "bytes desc"]}
    lite0 = f"local-dir:{shared / 'models' / 'lite0'}"
    run = winnow(
        pool,
        tmp_path / "vectors",
        ["embed", "cluster", "semantic"],
        model={"name": lite0, "precision": "bfloat16"},
        embed={"modalities": ["image"], "image_column": None, "text_column": None},
        semantic={**keeper, "epsilon": 0.2},
    )
    by_caption = winnow(
        pool, tmp_path / "captions", ["exact"], exact={**keeper, "by": ["caption"]}
    )
    originals = {name for name in names if name.endswith("original")}
    assert by_caption.kept("exact") == originals
    kept, ledger = run.kept("semantic"), run.ledger("semantic")
    assert len(kept & originals) >= 0.99 * len(originals)
    assert len(kept - originals) <= 0.02 * len(names)
    for uid in set(names) - kept:
        assert ledger[uid]["kept_twin"][:3] == uid[:3]


@pytest.mark.slow
def test_a_remedy_keeps_the_row(winnow: Winnow, copies: Path, tmp_path: Path):
    run = hashed(winnow, copies, tmp_path / "r", max_bits=10)
    view, tried_rows = RunView(run.path), 0
    gone = [u for u, r in run.ledger("perceptual_hash").items() if not r["keep"]]
    for uid in gone[::60]:
        words = explain(view, uid)["steps"][-1]["would_be_kept"]
        if "taken out" in words:
            continue
        bits = words.rpartition(" ")[2]
        with tried(
            run.path, [f"perceptual_hash.max_bits={bits}"], api.make_engine
        ) as other:
            assert explain(RunView(other.path), uid)["fate"] == "kept"
        tried_rows += 1
    assert tried_rows


def test_pictures_without_contrast_are_no_copies(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    flat = [jpeg(Image.new("RGB", (60, 60), c), 90) for c in ("white", "black", "red")]
    table = pa.table({"uid": list("abc"), "image": flat})
    run = hashed(winnow, write_shards(tmp_path / "p", table), tmp_path / "r")
    reasons = {row["reason"] for row in run.ledger("perceptual_hash").values()}
    assert reasons == {"without_contrast"}


def test_exact_keeps_what_its_keeper_says(
    winnow: Winnow,
    write_shards: Write,
    make_picture: Callable[..., bytes],
    tmp_path: Path,
):
    picture = make_picture(1)
    rows = [
        ("a", picture, 2.5, "x"),
        ("b", picture, None, "y"),
        ("c", picture, 7.0, "x"),
        ("d", picture, 7.0, "w"),
        ("e", make_picture(2), 1.0, "x"),
    ]
    uid, image, stars, letter = zip(*rows, strict=True)
    table = pa.table({"uid": uid, "image": image, "stars": stars, "letter": letter})
    pool = write_shards(tmp_path / "p", table, 2)
    expected = {
        "stars desc": "c",
        "stars": "a",
        "letter desc": "b",
        "letter": "d",
        "uid desc": "d",
    }
    for number, (keeper, stays) in enumerate(expected.items()):
        run = winnow(
            pool,
            tmp_path / f"r{number}",
            ["exact"],
            input={"path": str(pool), "columns": {"text": None}},
            exact={"keeper": [keeper]},
        )
        assert run.kept("exact") == {stays, "e"}, keeper
        twins = {row["kept_twin"] for row in run.ledger("exact").values()}
        assert twins == {stays, None}
