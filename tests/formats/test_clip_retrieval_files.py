"""Files of numbers in any order of bytes; whatever else stands there is named."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from winnow.core.errors import InputError
from winnow.formats.clip_retrieval import map_numbers, native


def header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    padded = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode()


DAMAGED = {
    "negative": header("(-1, 4)") + bytes(64),
    "negative both": header("(-2, -2)") + bytes(64),
    "huge": header("(9223372036854775807, 9)"),
    "deep": header("(" * 90),
    "no shape": header("None"),
    "words": header("('a',)"),
    "objects": header("(2, 2)", "'|O'") + bytes(64),
    "records": header("(2,)", "[('a', '<f4')]") + bytes(64),
    "wide": header("(2, 2)", "'<f16'") + bytes(64),
    "complex": header("(2, 2)", "'<c8'") + bytes(64),
    "cut": header("(4, 4)") + bytes(3),
    "empty": b"",
    "magic": b"\x93NUMPY",
    "text": b"1 2 3",
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_file_that_is_no_matrix_of_numbers_is_named(tmp_path: Path, data: bytes):
    file = tmp_path / "x.npy"
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"x\.npy"):
        map_numbers(file)


def test_an_archive_is_named(tmp_path: Path):
    archive = io.BytesIO()
    np.savez(archive, a=np.zeros(2))
    (tmp_path / "x.npy").write_bytes(archive.getvalue())
    with pytest.raises(InputError, match="archive"):
        map_numbers(tmp_path / "x.npy")


@pytest.mark.parametrize("kind", ["<f4", ">f4", ">f8", ">i2", "<f2", "|u1"])
def test_numbers_are_read_in_any_order_of_bytes(tmp_path: Path, kind: str):
    wanted = np.arange(12).reshape(4, 3)
    np.save(tmp_path / "x.npy", wanted.astype(kind))
    rows = native(map_numbers(tmp_path / "x.npy")[1:3])
    assert pa.array(rows.reshape(-1)).to_pylist() == wanted[1:3].reshape(-1).tolist()
