"""What a machine or a library raises is one sentence with the file and a remedy."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from winnow.cli import main as command
from winnow.core.errors import InputError
from winnow.core.faults import in_words, unexpected
from winnow.core.terminal import as_cell, of_cell, plain

SYSTEM = [
    (errno.ENOSPC, "disk is full"),
    (errno.EROFS, "read-only"),
    (errno.EACCES, "may not"),
    (errno.ENAMETOOLONG, "too long"),
    (errno.ENOENT, "no such file"),
    (errno.EMFILE, "ulimit"),
    (errno.ELOOP, "links"),
    (errno.EXDEV, "Invalid cross-device link"),
]


@pytest.mark.parametrize(("number", "words"), SYSTEM)
def test_an_error_of_the_system_names_the_file_and_a_remedy(number: int, words: str):
    import os

    told = in_words(OSError(number, os.strerror(number), "/out/x"))
    assert told is not None
    assert told.exit_code == 3
    assert "/out/x" in told.text
    assert words in told.text


def test_what_rust_says_of_the_system_is_told_like_the_rest():
    import os

    from safetensors import SafetensorError

    said = f"Error while serializing: {os.strerror(errno.ENOSPC)} (os error 28)"
    told = in_words(SafetensorError(said))
    assert told is not None
    assert told.exit_code == 3
    assert "the disk is full" in told.text


def test_what_numpy_says_of_a_full_disk_is_told_like_the_rest():
    told = in_words(OSError("5376 requested and 4032 written"))
    assert told is not None
    assert "the disk is full" in told.text


def test_a_folder_that_cannot_be_copied_is_told_like_its_first_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import os
    import shutil

    (tmp_path / "a").mkdir()
    for name in ("x", "y"):
        (tmp_path / "a" / name).write_text("x")

    def full(source: str, target: str) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)

    with pytest.raises(shutil.Error) as raised:
        shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=full)
    told = in_words(raised.value)
    assert told is not None
    assert told.text.startswith(f"{tmp_path / 'b'}{os.sep}")
    assert "the disk is full" in told.text
    assert "[" not in told.text
    assert in_words(shutil.Error("no list")) is not None


@pytest.mark.parametrize(
    "error",
    [
        pa.ArrowInvalid("Parquet magic bytes not found"),
        pa.ArrowNotImplementedError("a type"),
        json.JSONDecodeError("Expecting value", "", 0),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        MemoryError(),
        EOFError("Compressed file ended"),
        BlockingIOError(),
    ],
)
def test_what_libraries_raise_on_bad_data_is_no_defect(error: Exception):
    told = in_words(error)
    assert told is not None
    assert "\n" not in told.text
    assert told.text


def test_a_store_without_credentials_is_told_as_such():
    botocore = pytest.importorskip("botocore.exceptions")
    told = in_words(botocore.NoCredentialsError())
    assert told is not None
    assert told.exit_code == 3
    assert "credentials" in told.text


def test_a_defect_is_one_line_and_its_traceback_lies_in_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fails(*_: object) -> None:
        raise KeyError("x\x1b[2J")

    monkeypatch.setattr("winnow.config.recipes.copy_shipped", fails)
    assert command.main(["init", str(tmp_path / "conf")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("winnow: unexpected KeyError")
    assert "\x1b" not in line
    (log,) = tmp_path.glob("winnow-error-*.txt")
    assert str(log) in line
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (KeyboardInterrupt(), 130),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 3),
        (InputError("a\x1b[31mb"), 3),
        (BrokenPipeError(), 0),
    ],
)
def test_every_way_to_fail_has_its_exit_code(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    raised: BaseException,
    code: int,
):
    def fails(*_: object) -> None:
        raise raised

    monkeypatch.setattr("winnow.cli.main._without_reader", lambda: 0)
    monkeypatch.setattr("winnow.config.recipes.copy_shipped", fails)
    assert command.main(["init", "conf"]) == code
    error = capfd.readouterr().err
    assert "Traceback" not in error
    assert "\x1b" not in error


def test_ctrl_c_while_the_command_loads_is_no_traceback():
    code = (
        "import sys\n"
        "class Stop:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'winnow.cli.main': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stop())\n"
        "from winnow.__main__ import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert done.stderr == "winnow: stopped\n"


def test_unexpected_tells_the_first_line_alone():
    told = unexpected(ValueError("one\ntwo"))
    assert "one" in told.text
    assert "two" not in told.text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb", "a\\u202eb"),
        ("a\rb\x00\x7f", "a\\rb\\x00\\x7f"),
        ("é 猫 👨‍👩‍👧\n\tx", "é 猫 👨‍👩‍👧\n\tx"),
    ],
)
def test_a_terminal_obeys_nothing(text: str, shown: str):
    assert plain(text) == shown


@pytest.mark.parametrize(
    "text", ["=cmd()", "+1", "-x", "@a", "\tb", "'=c", "''=d", "'e", "", "a=b"]
)
def test_a_spreadsheet_computes_nothing_and_nothing_is_lost(text: str):
    cell = as_cell(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t"))
    assert of_cell(cell) == text
