"""What Pillow warns of stands in a log, with the row, whoever decodes."""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
from PIL import Image
from winnow.core.run_log import DECODERS, LineFormatter, about_row
from winnow.models.images import ImageRejected, decode_rgb


def grumbled_at(colour: int) -> bytes:
    """A PNG that says it is an animation of no frames; Pillow warns, and decodes it."""
    out = io.BytesIO()
    Image.new("RGB", (40, 40), (colour, 90, 10)).save(out, "PNG")
    chunk = b"acTL" + struct.pack(">II", 0, 0)
    animated = struct.pack(">I", 8) + chunk + struct.pack(">I", zlib.crc32(chunk))
    header = 8 + 4 + 4 + 13 + 4
    return out.getvalue()[:header] + animated + out.getvalue()[header:]


@pytest.fixture
def lines() -> Iterator[list[str]]:
    kept: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(self.format(record))

    handler = Kept()
    handler.setFormatter(LineFormatter("%(message)s"))
    DECODERS.addHandler(handler)
    yield kept
    DECODERS.removeHandler(handler)


def test_warnings_of_decoders_name_the_row_and_others_are_the_programs(
    lines: list[str], monkeypatch: pytest.MonkeyPatch
):
    others: list[str] = []

    def shown(message: Warning | str, *_: object) -> None:
        others.append(str(message))

    monkeypatch.setattr(warnings, "showwarning", shown)
    warnings.simplefilter("always")

    def decode(number: int) -> tuple[int, int]:
        with about_row(f"row-{number}"):
            size = decode_rgb(grumbled_at(number)).size
        warnings.warn(f"program {number}", stacklevel=1)
        return size

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(decode, range(40))) == {(40, 40)}
    assert sorted(others) == sorted(f"program {n}" for n in range(40))
    names = sorted(line.partition(": UserWarning: Invalid APNG")[0] for line in lines)
    assert names == sorted(f"row-{n}" for n in range(40))


def cut_tiff() -> bytes:
    """A TIFF whose pixels, packed by LZW, lie behind its end; libtiff says so."""
    out = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(out, "TIFF", compression="tiff_lzw")
    with Image.open(out) as image:
        (start,) = image.tag_v2[273]  # type: ignore[attr-defined]
    where = out.getvalue().index(struct.pack("<HHII", 273, 4, 1, start)) + 8
    data = bytearray(out.getvalue())
    data[where : where + 4] = struct.pack("<I", 10**7)
    return bytes(data)


def test_what_libtiff_prints_goes_the_same_way(
    lines: list[str], capfd: pytest.CaptureFixture[str]
):
    with about_row("cut"), pytest.raises(ImageRejected):
        decode_rgb(cut_tiff())
    assert lines
    assert all(line.startswith("cut: ") for line in lines)
    assert any("TIFF" in line and "expected" in line for line in lines)
    assert "".join(capfd.readouterr()) == ""
    # A program's own pictures are its own.
    with (
        pytest.raises(OSError, match="decoder error"),
        Image.open(io.BytesIO(cut_tiff())) as image,
    ):
        image.load()
    assert "TIFF" in capfd.readouterr().err


def test_a_run_from_python_writes_them_to_its_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    images = [grumbled_at(n) for n in (1, 2, 3)]
    pool = {"uid": ["r1", "r2", "r3"], "image": images, "text": ["a", "b", "c"]}
    (tmp_path / "pool").mkdir()
    pq.write_table(pa.table(pool), tmp_path / "pool" / "0.parquet")
    recipe = {
        "input": {"path": str(tmp_path / "pool")},
        "output": {"path": str(tmp_path / "r"), "report": True},
        "steps": ["exact", "image_quality", "apply"],
        "exact": {"by": ["image_pixels"]},
    }
    result = winnow.run(recipe)
    assert result.rows == 3
    log = (tmp_path / "r" / "winnow.log").read_text()
    # Both steps decode each image.
    for uid in pool["uid"]:
        assert log.count(f"WARNING {uid}: UserWarning: Invalid APNG") >= 2
    assert "APNG" not in "".join(capfd.readouterr())


@pytest.mark.slow
def test_sparks_workers_bring_them_to_the_drivers_log(tmp_path: Path, spark: Any):
    uids = [f"r{n}" for n in range(4)]
    images = [*map(grumbled_at, range(3)), cut_tiff()]
    (tmp_path / "pool").mkdir()
    table = pa.table({"uid": uids, "image": images, "text": uids})
    pq.write_table(table, tmp_path / "pool" / "0.parquet")
    recipe = {
        "input": {"path": str(tmp_path / "pool")},
        "output": {"path": str(tmp_path / "r"), "report": False},
        "steps": ["exact", "apply"],
        "exact": {"by": ["image_pixels"]},
        "engine": {"name": "spark", "partitions": 2},
    }
    assert winnow.run(recipe, spark=spark).kept == 3
    log = (tmp_path / "r" / "winnow.log").read_text()
    assert all(f"{uid}: " in log for uid in uids)
    assert "TIFFFillStrip" in log
