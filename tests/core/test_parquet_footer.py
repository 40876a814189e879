"""Damaged footers of Parquet files: told, and never the end of the process."""

from __future__ import annotations

import ast
import decimal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
from winnow.core.parquet_footer import DamagedFooter, column_chunks, footer_bytes

from tests.parquet_footers import DAMAGES, ask, damage, joined, split

PACKAGE = Path(winnow.__file__).parent
TOOL = Path(__file__).parents[1] / "parquet_footers.py"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    table = pa.table(
        {
            "n": pa.array([1, 2, None], pa.int64()),
            "u": pa.array([1, 2, 3], pa.uint8()),
            "text": ["x", "y", None],
            "list": [[1], [2, 3], None],
            "real": [1.0, 2.0, 3.0],
            "half": pa.array([1, 2, 3], pa.float16()),
            "yes": [True, False, None],
            "money": pa.array([decimal.Decimal("1.23")] * 3, pa.decimal128(30, 2)),
            "bytes": pa.array([b"aa", b"bb", b"cc"], pa.binary(2)),
            "day": pa.array([1, 2, 3], pa.date32()),
            "deep": [{"a": 1, "b": ["x"]}] * 3,
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    return tmp_path / "a.parquet"


def test_footers_taken_apart_come_together_again(file: Path):
    data = file.read_bytes()
    assert joined(*split(data)) == data
    assert ask(data) == "sound"


@pytest.mark.parametrize("kind", sorted(DAMAGES))
@pytest.mark.parametrize("group", [0, 1])
def test_what_would_end_the_process_is_refused(file: Path, kind: str, group: int):
    damage(file, group, 0, kind)
    assert ask(file.read_bytes()) == "refused"


def test_footers_damaged_at_random_end_no_process(file: Path):
    words = [sys.executable, str(TOOL), "20261202", "600", str(file)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    _, refused, sound = map(int, ended.stdout.split())
    assert refused > 20
    assert sound > 100


@pytest.mark.parametrize(
    "end", [b"", b"PAR1", b"\xff\xff\xff\x7fPAR1", b"\0\0\0\0PAR2"]
)
def test_a_file_that_ends_otherwise_has_no_footer(tmp_path: Path, end: bytes):
    (tmp_path / "x").write_bytes(end)
    with (tmp_path / "x").open("rb") as source, pytest.raises(DamagedFooter):
        footer_bytes(source)


@pytest.mark.parametrize("footer", [b"", b"\x19", b"\x49\xfc" + b"\xff" * 9 + b"\x01"])
def test_what_is_no_footer_is_damaged(footer: bytes):
    with pytest.raises(DamagedFooter):
        column_chunks(footer)


def test_one_module_alone_asks_pyarrow_for_row_groups():
    """Their chunks end the process where a footer is damaged: it looks first."""
    asking = {
        module.name
        for module in PACKAGE.rglob("*.py")
        if "row_group" in (source := module.read_text())
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr == "row_group"
    }
    assert asking == {"parquet_footer.py"}
