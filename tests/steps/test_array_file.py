"""Arrays in files, read and written in stretches, against arrays in memory."""

from __future__ import annotations

from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from winnow.core.errors import RunError
from winnow.steps import array_file
from winnow.steps.array_file import ArrayFile, flags_of, inverted

KIND = np.dtype([("value", np.float64), ("twin", np.int64), ("keep", np.bool_)])


@pytest.fixture(params=[(1, 17), (7, 40), (1000, 4096)])
def stretch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(array_file, "STRETCH_ROWS", request.param[0])
    monkeypatch.setattr(array_file, "_GAP_BYTES", request.param[1])
    return int(request.param[0])


def records(rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out = np.zeros(rows, KIND)
    out["value"], out["twin"] = rng.random(rows), rng.integers(-1, rows, rows)
    out["keep"] = rng.random(rows) < 0.5
    return out


@pytest.mark.parametrize("rows", [0, 1, 100])
def test_read_and_written_as_an_array_is(tmp_path: Path, stretch: int, rows: int):
    rng, expected = np.random.default_rng(rows), records(rows, 0)
    file = ArrayFile.blank(str(tmp_path / "rows"), KIND, rows)
    assert len(file) == rows
    assert (file.read(0, rows) == np.zeros(rows, KIND)).all()
    file.write(rows // 2, expected[rows // 2 :])
    file.write(0, expected[: rows // 2])
    assert (file.read(0, rows) == expected).all()
    changed = rng.permutation(rows)[: rows // 2]
    values = rng.random(len(changed))
    expected["value"][changed], expected["twin"][changed] = values, -7
    file.change(changed, value=values, twin=np.full(len(changed), -7))
    assert (file.mapped() == expected).all()
    asked = rng.integers(0, max(rows, 1), 60 if rows else 0)
    assert (file.at(asked) == expected[asked]).all()
    parts = list(file.stretches())
    assert [start for start, _ in parts] == list(range(0, rows, stretch))
    assert sum(len(part) for _, part in parts) == rows
    assert all((part == expected[a : a + stretch]).all() for a, part in parts)
    assert (flags_of(file, lambda part: part["keep"]) == expected["keep"]).all()


@pytest.mark.parametrize("held", [1, 3, 100])
def test_numbers_of_places(tmp_path: Path, stretch: int, held: int):
    rng = np.random.default_rng(held)
    places = rng.permutation(40)[:25]
    file = ArrayFile.of(places, str(tmp_path / "places"))
    numbers = inverted(file, str(tmp_path / "numbers"), 40, held).read(0, 40)
    assert (numbers[places] == np.arange(25)).all()
    assert (np.delete(numbers, places) == -1).all()


def test_a_file_that_ends_early_is_an_error(tmp_path: Path):
    file = ArrayFile.of(np.arange(5), str(tmp_path / "five"))
    with pytest.raises(RunError, match="ends before its row 6"):
        file.read(3, 6)


class Grudging(FileIO):
    """A file that takes and gives seven bytes at a time, as a kernel may."""

    def readinto(self, buffer: Any) -> int:
        return super().readinto(memoryview(buffer)[:7])

    def write(self, data: Any) -> int:
        return super().write(memoryview(data)[:7])


def test_a_kernel_may_take_and_give_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def opened(path: str, mode: str, buffering: int) -> FileIO:
        return Grudging(path, mode)

    monkeypatch.setattr(array_file, "open", opened, raising=False)
    file = ArrayFile.blank(str(tmp_path / "rows"), np.int64, 20)
    file.write(3, np.arange(9))
    assert file.read(0, 20).tolist() == [0] * 3 + list(range(9)) + [0] * 8
    with pytest.raises(RunError, match="ends before its row 22"):
        file.read(18, 22)


def test_rows_near_one_another_are_read_a_stretch_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stretch: int
):
    values = np.random.default_rng(1).integers(0, 9, 3_000)
    file, read = ArrayFile.of(values, str(tmp_path / "rows")), []
    whole = ArrayFile._read

    def watched(self: ArrayFile, source: FileIO, start: int, stop: int) -> np.ndarray:
        read.append(stop - start)
        return whole(self, source, start, stop)

    monkeypatch.setattr(ArrayFile, "_read", watched)
    asked = np.random.default_rng(2).permutation(3_000)
    assert (file.at(asked) == values[asked]).all()
    assert max(read) <= stretch
