"""The compiled check of footers beside the one that says what is wrong with them."""

from __future__ import annotations

import decimal
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.core.parquet_footer import DamagedFooter, footer_bytes, sound_chunks
from winnow.lake.files import footers
from winnow.lake.files.files import Files
from winnow.lake.kernels.sound_footer import certainly_sound

from tests.parquet_footers import DAMAGES, damage


@pytest.fixture
def file(tmp_path: Path) -> Path:
    table = pa.table(
        {
            "n": pa.array([1, 2, None], pa.int64()),
            "text": ["x", "y", None],
            "list": [[1], [2, 3], None],
            "yes": [True, False, None],
            "money": pa.array([decimal.Decimal("1.23")] * 3, pa.decimal128(30, 2)),
            "bytes": pa.array([b"aa", b"bb", b"cc"], pa.binary(2)),
            "deep": [{"a": 1, "b": ["x"]}] * 3,
        }
    )
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=2, write_page_index=True)
    return path


def taken(file: Path) -> tuple[bytes, pq.FileMetaData]:
    with pa.OSFile(str(file)) as source:
        return footer_bytes(source), pq.read_metadata(source)


def expected(metadata: pq.FileMetaData) -> np.ndarray:
    schema = metadata.schema
    columns = [footers._expected(schema.column(i)) for i in range(len(schema))]
    return np.array(columns, np.int64).reshape(-1, 4)


def by_python(footer: bytes, metadata: pq.FileMetaData) -> bool:
    try:
        sound_chunks(footer, metadata)
    except DamagedFooter:
        return False
    return True


def mutated(footer: bytes, rng: random.Random) -> Iterator[bytes]:
    """Yield a footer cut, and with some bytes changed, taken out or put in."""
    for place in sorted(rng.sample(range(len(footer)), len(footer) // 6)):
        yield footer[:place]
        for value in {0, rng.randrange(256), footer[place] ^ (1 << rng.randrange(8))}:
            yield footer[:place] + bytes([value]) + footer[place + 1 :]
        yield footer[:place] + footer[place + 1 :]
        yield footer[:place] + bytes([rng.randrange(256)]) + footer[place:]


def test_a_sound_footer_is_told(file: Path) -> None:
    footer, metadata = taken(file)
    assert certainly_sound(footer, expected(metadata), metadata.num_row_groups)
    assert not certainly_sound(footer, expected(metadata), 1)
    assert not certainly_sound(footer, expected(metadata)[1:], 2)


def test_nothing_is_called_sound_that_is_not(file: Path) -> None:
    footer, metadata = taken(file)
    shape, sound = expected(metadata), 0
    for other in mutated(footer, random.Random(16)):
        if certainly_sound(other, shape, metadata.num_row_groups):
            sound += 1
            # pyarrow has its own footer: only the bytes are looked at here.
            assert by_python(other, metadata)
    assert sound > 20


@pytest.mark.parametrize("kind", sorted(DAMAGES))
@pytest.mark.parametrize("group", [0, 1])
def test_what_would_end_the_process_is_refused(
    file: Path, kind: str, group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, metadata = taken(file)
    damage(file, group, 0, kind)
    with pa.OSFile(str(file)) as source:
        footer = footer_bytes(source)
    assert not certainly_sound(footer, expected(metadata), metadata.num_row_groups)
    monkeypatch.setattr(footers, "_footers_read", itertools.count(footers._FEW))
    with pytest.raises(ValueError, match=r"damaged|encrypted|lacks"):
        footers.read_footer(Files({}), str(file))


def test_footers_say_the_same_after_very_many(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for read in (0, footers._FEW):
        monkeypatch.setattr(footers, "_footers_read", itertools.count(read))
        told.append(footers.read_footer(Files({}), str(file)))
    assert told[0] == told[1]
