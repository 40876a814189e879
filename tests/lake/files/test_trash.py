"""Moves out of a lake and back, cut off at every step."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from winnow.core.errors import RunError
from winnow.core.saved_files import DamagedError
from winnow.lake.files import trash as module
from winnow.lake.files.files import Files
from winnow.lake.files.journal import Journal
from winnow.lake.files.trash import Trash
from winnow.lake.kernels.tables import Table

FILES = {"": b"one file"}
FOLDER = {"k=1/a.parquet": b"first", "k=2/b.parquet": b"second", "_SUCCESS": b""}


class KilledError(BaseException):
    """Stands for a kill: nothing in the library catches it."""


@pytest.fixture(params=["rename", "copy", "remote"])
def places(request, tmp_path, monkeypatch) -> Iterator[tuple[str, str]]:
    """(lake, trash) on one disk, on two, and behind a URL."""
    if request.param == "remote":
        root = f"memory://{uuid.uuid4().hex}"
        yield f"{root}/lake", f"{root}/trash"
        fsspec.filesystem("memory").rm(root, recursive=True)
        return
    if request.param == "copy":
        rename = os.rename

        def refuse(source, target):
            if Path(source).parts[:-1] != Path(target).parts[:-1]:
                raise OSError(errno.EXDEV, "another disk")
            rename(source, target)

        monkeypatch.setattr(module.os, "rename", refuse)
    yield str(tmp_path / "lake"), str(tmp_path / "trash")


def write(root: str, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = f"{root}/{name}".rstrip("/")
        fs, inner = fsspec.url_to_fs(path)
        fs.makedirs(fs._parent(inner), exist_ok=True)
        with fs.open(inner, "wb") as out:
            out.write(content)


def read(root: str) -> dict[str, bytes]:
    """All files below a place, or the one file it is."""
    fs, inner = fsspec.url_to_fs(root)
    if not fs.exists(inner):
        return {}
    return {
        path.removeprefix(inner).lstrip("/"): fs.cat_file(path)
        for path in fs.find(inner)
        if not path.endswith(".winnow-part")
    }


def table(lake: str) -> Table:
    return Table("d/t", "parquet", f"{lake}/d/t", fingerprint="f")


def opened(tmp_path: Path) -> Trash:
    return Trash(Journal(tmp_path / "applied.jsonl"), Files())


@pytest.mark.parametrize("files", [FILES, FOLDER], ids=["file", "folder"])
def test_a_table_moves_and_comes_back(places, files, tmp_path):
    lake, root = places
    write(f"{lake}/d/t", files)
    trash = opened(tmp_path)
    move = trash.move(table(lake), root, {"parent": "p"})
    assert read(f"{lake}/d/t") == {}
    assert read(f"{root}/d/t") == files
    assert trash.moves()["d/t"].facts == {"parent": "p"}
    trash.restore(move)
    assert read(f"{lake}/d/t") == files
    assert read(f"{root}/d/t") == {}
    assert trash.moves() == {}


# What touches the disk, by whom it is found.
STEPS = [
    (Journal, "add"),
    (module.os, "rename"),
    (module.os, "replace"),
    (module.shutil, "copy2"),
    (module.shutil, "copyfileobj"),
    (module.Trash, "_copy_file"),
    (module.Trash, "_remove"),
    (fsspec.AbstractFileSystem, "rm_file"),
    (LocalFileSystem, "rm_file"),
]


def killing(monkeypatch, at: int) -> None:
    """Let the `at`-th touch end the process, before it is done or after (odd ones)."""
    count = 0

    def wrap(owner, name):
        original = getattr(owner, name)

        def step(*args, **kwargs):
            nonlocal count
            count += 1
            if count == at:
                raise KilledError
            result = original(*args, **kwargs)
            count += 1
            if count == at:
                raise KilledError
            return result

        monkeypatch.setattr(owner, name, step)

    for owner, name in STEPS:
        wrap(owner, name)


def killed_everywhere(action: Callable[[], None], again: Callable[[int], None]) -> int:
    """Run `action`, killed at each of its steps in turn, and `again` after each."""
    step = 0
    while True:
        step += 1
        with pytest.MonkeyPatch.context() as patch:
            killing(patch, step)
            try:
                action()
            except KilledError:
                pass
            else:
                return step
        again(step)


@pytest.mark.parametrize("files", [FILES, FOLDER], ids=["file", "folder"])
def test_a_move_that_is_killed_loses_nothing_and_can_be_undone(places, files, tmp_path):
    lake, root = places
    write(f"{lake}/d/t", files)

    def undo(at: int) -> None:
        for move in opened(tmp_path).moves().values():
            opened(tmp_path).restore(move)
        assert read(f"{lake}/d/t") == files, at

    steps = killed_everywhere(lambda: opened(tmp_path).move(table(lake), root), undo)
    assert steps > 4
    assert read(f"{root}/d/t") == files


@pytest.mark.parametrize("files", [FILES, FOLDER], ids=["file", "folder"])
def test_a_move_that_is_killed_is_completed(places, files, tmp_path):
    lake, root = places
    write(f"{lake}/d/t", files)

    def complete(at: int) -> None:
        trash = opened(tmp_path)
        done = [trash.finish(move) for move in trash.moves().values()]
        if not any(done):
            # It never left: it is whole, and is moved from the start.
            assert read(f"{lake}/d/t") == files, at
            trash.move(table(lake), root)
        assert read(f"{root}/d/t") == files, at
        assert read(f"{lake}/d/t") == {}, at
        (move,) = trash.moves().values()
        trash.restore(move)

    assert killed_everywhere(lambda: opened(tmp_path).move(table(lake), root), complete)


def cut(data: bytes) -> bytes:
    return data[:2]


def flipped(data: bytes) -> bytes:
    return bytes([*data[:-1], data[-1] ^ 1]) if data else data


@pytest.mark.parametrize("damage", [cut, flipped])
@pytest.mark.parametrize("files", [FILES, FOLDER], ids=["file", "folder"])
def test_what_was_damaged_in_the_trash_is_named_and_stays_there(
    places, files, damage, tmp_path
):
    lake, root = places
    write(f"{lake}/d/t", files)
    opened(tmp_path).move(table(lake), root)
    name = next(iter(files))
    write(f"{root}/d/t", {name: damage(files[name])})
    (move,) = opened(tmp_path).moves().values()
    with pytest.raises(RunError, match="is not what was moved there"):
        opened(tmp_path).restore(move)
    assert read(f"{lake}/d/t") == {}
    write(f"{root}/d/t", {name: files[name]})
    opened(tmp_path).restore(move)
    assert read(f"{lake}/d/t") == files


def test_a_copy_that_came_out_other_than_what_was_read_takes_nothing_away(
    tmp_path, monkeypatch
):
    lake, root = f"memory://{uuid.uuid4().hex}", str(tmp_path / "trash")
    write(f"{lake}/d/t", FOLDER)
    copied = module.shutil.copyfileobj

    def copy_badly(source, target, block):
        copied(io.BytesIO(flipped(source.read())), target, block)

    monkeypatch.setattr(module.shutil, "copyfileobj", copy_badly)
    with pytest.raises(RunError, match="changed while it was copied"):
        opened(tmp_path).move(table(lake), root)
    assert read(f"{lake}/d/t") == FOLDER


@pytest.mark.parametrize("files", [FILES, FOLDER], ids=["file", "folder"])
def test_a_restoration_that_is_killed_goes_on(places, files, tmp_path):
    lake, root = places
    write(f"{lake}/d/t", files)
    opened(tmp_path).move(table(lake), root)

    def restore() -> None:
        for move in opened(tmp_path).moves().values():
            opened(tmp_path).restore(move)

    def go_on(at: int) -> None:
        restore()
        assert read(f"{lake}/d/t") == files, at
        assert read(f"{root}/d/t") == {}, at
        opened(tmp_path).move(table(lake), root)

    killed_everywhere(restore, go_on)


def test_nothing_is_overwritten(places, tmp_path):
    lake, root = places
    write(f"{lake}/d/t", FILES)
    trash = opened(tmp_path)
    move = trash.move(table(lake), root)
    write(f"{lake}/d/t", {"": b"new"})
    with pytest.raises(RunError, match="would overwrite"):
        trash.restore(move)
    assert read(f"{lake}/d/t") == {"": b"new"}
    with pytest.raises(RunError, match="exists; empty the trash"):
        trash.move(table(lake), root)
    assert read(f"{root}/d/t") == FILES


def test_a_file_that_grows_while_it_is_copied_stays(tmp_path, monkeypatch):
    lake, root = f"memory://{uuid.uuid4().hex}", str(tmp_path / "trash")
    write(f"{lake}/d/t", FILES)
    copy = shutil.copyfileobj

    def grow(read, write, length):
        copy(read, write, length)
        write.write(b"more")

    monkeypatch.setattr(module.shutil, "copyfileobj", grow)
    with pytest.raises(RunError, match="changed while it was copied"):
        opened(tmp_path).move(table(lake), root)
    assert read(f"{lake}/d/t") == FILES


def test_the_journal_survives_a_line_that_was_cut_off(tmp_path):
    journal = Journal(tmp_path / "j.jsonl")
    journal.add({"a": 1})
    with open(journal.path, "ab") as file:
        file.write(b'{"a": 2')
    assert [e["a"] for e in journal.events()] == [1]
    journal.add({"a": 3})
    assert [e["a"] for e in journal.events()] == [1, 3]


def test_a_line_of_the_journal_that_was_changed_is_named(tmp_path):
    journal = Journal(tmp_path / "j.jsonl")
    for number in range(3):
        journal.add({"source": f"/lake/{number}", "state": "moved"})
    whole = journal.path.read_bytes()
    events, named = journal.events(), 0
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        journal.path.write_bytes(changed)
        told = None
        with contextlib.suppress(DamagedError):
            told = [{n: e[n] for n in ("source", "state")} for e in journal.events()]
        if told is None:
            named += 1
            continue
        # The key of a checksum, or the end of the last line, which then does not count.
        wanted = [{n: e[n] for n in ("source", "state")} for e in events]
        assert told in (wanted, wanted[:2])
    assert named > 0.8 * len(whole)
