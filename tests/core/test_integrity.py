"""Checksums of a run's files: a flipped bit is seen, also by earlier checksums."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from winnow.core.integrity import damage, is_unchanged, seals


def earlier(file: Path) -> str:
    """Return the checksum that Winnow 0.1 noted."""
    return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()


@pytest.mark.parametrize("bit", [0, 7, 8 * 4_000_000 + 3])
def test_a_flipped_bit_is_damage(bit: int, tmp_path: Path) -> None:
    file = tmp_path / "vectors"
    file.write_bytes(bytes(range(256)) * 16_000)
    sealed, noted = seals(tmp_path, [file]), earlier(file)
    assert damage(tmp_path, sealed) == ""
    assert is_unchanged(file, noted)
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    assert "not those that were written" in damage(tmp_path, sealed)
    assert damage(tmp_path, sealed, contents=False) == ""
    assert not is_unchanged(file, noted)
