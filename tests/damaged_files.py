"""A folder with one file damaged, asked by commands: named, mended, or as before."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from winnow.cli.main import main

Capture = pytest.CaptureFixture[str]
Commands = list[list[str]]
Damage = Callable[[Path, random.Random], None]

SEED = 20261130
#: What is there for people, for another process, or may be made again by whoever reads.
NO_PART = {
    "report.html",
    "README.md",
    "winnow.log",
    ".lock",
    "lock",
    ".checked.json",
}
#: Whether a file that is gone or cut was part of a run that ended cannot be told.
_UNFINISHED = ("not finished", "was stopped at", "is under way", " makes one")


def flip(file: Path, rng: random.Random) -> None:
    """Change one bit; length and time stay as they were."""
    state = file.stat()
    data = bytearray(file.read_bytes())
    data[rng.randrange(len(data))] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


def cut(file: Path, rng: random.Random) -> None:
    """Leave a first part of a file."""
    data = file.read_bytes()
    file.write_bytes(data[: rng.randrange(len(data))])


def empty(file: Path, rng: random.Random) -> None:
    """Leave nothing in a file."""
    file.write_bytes(b"")


def lose(file: Path, rng: random.Random) -> None:
    """Remove a file; half of the time with a folder that held nothing else."""
    file.unlink()
    if rng.random() < 0.5 and not any(file.parent.iterdir()):
        file.parent.rmdir()


DAMAGES: dict[str, Damage] = {"flip": flip, "cut": cut, "empty": empty, "lose": lose}


@dataclass
class Damaged:
    """Copies of a whole folder, each with one of its files damaged.

    whole: the folder as it was written. copy: where the copies lie, one at a time, so
    that commands name the same folder. passed_over: how names of files begin that are
    no part of it.
    """

    whole: Path
    copy: Path
    passed_over: tuple[str, ...] = ()
    rng: random.Random = field(default_factory=lambda: random.Random(SEED))

    def renew(self) -> None:
        """Make the copy whole, to the times of its files."""
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.whole, self.copy)

    def names(self) -> list[str]:
        """Return the files that are part of it, by their path below the folder."""
        return [
            name
            for file in sorted(self.whole.rglob("*"))
            if file.is_file() and file.name not in NO_PART and file.stat().st_size
            if not (name := str(file.relative_to(self.whole))).startswith(
                self.passed_over or "\0"
            )
        ]

    def others_changed(self, name: str) -> list[str]:
        """Return the files but for `name` that are not, or no longer, as written."""
        return [
            other
            for other in self.names()
            if other != name
            and not (
                (self.copy / other).is_file()
                and (self.copy / other).read_bytes()
                == (self.whole / other).read_bytes()
            )
        ]

    def each(self, damage: Damage) -> Iterator[str]:
        """Yield each file's name, while it is damaged in the copy."""
        for name in self.names():
            self.renew()
            damage(self.copy / name, self.rng)
            yield name


def answer(
    words: Sequence[str], folders: dict[Path, str], capsys: Capture
) -> tuple[int, str]:
    """Return exit code and what was printed, with names for folders."""
    capsys.readouterr()
    code = main(list(words))
    out, err = capsys.readouterr()
    assert "unexpected" not in err, (words, err)
    assert "Traceback" not in err, (words, err)
    told = out if code == 0 else err
    for folder, name in folders.items():
        told = told.replace(str(folder), name)
    return code, told


def believed(
    damaged: Damaged,
    commands: Callable[[str, Path], Commands],
    damage: Damage,
    capsys: Capture,
    draw: int,
) -> list[Any]:
    """Return the answers about damaged copies that neither name nor survive the damage.

    A command that fails leaves every other file as it was, or is one of them.

    commands: given the copy and a folder for outputs, what is asked of it. One whose
    `--out` is the copy makes again what is damaged, and may end well. draw: commands
    for each file.
    """
    out = damaged.copy.parent / "out"
    names = {damaged.copy: "IT", damaged.copy.parent: "TMP"}
    damaged.renew()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    listed = commands(str(damaged.copy), out)
    sound = [answer(words, names, capsys) for words in listed]
    refused = [(w, s) for w, s in zip(listed, sound, strict=True) if s[0]]
    assert not refused, refused
    faulty: list[Any] = []
    for name in damaged.each(damage):
        drawn = damaged.rng.sample(range(len(listed)), min(len(listed), draw))
        shutil.rmtree(out)
        out.mkdir()
        for number in sorted(drawn):
            words = listed[number]
            code, told = came = answer(words, names, capsys)
            renewed = code == 0 and words[-2:] == ["--out", str(damaged.copy)]
            right = came == sound[number] or _named(name, damage, came)
            if not (renewed or right):
                faulty.append((name, words, code, told[-400:]))
            if code and (harmed := damaged.others_changed(name)):
                faulty.append((name, words, "harmed", harmed[:5]))
    return faulty


def _named(name: str, damage: Damage, came: tuple[int, str]) -> bool:
    """Whether an answer names the damaged file, or says that the run has no end."""
    code, told = came
    if code in (2, 3) and Path(name).name in told:
        return True
    return damage is not flip and any(words in told for words in _UNFINISHED)


def left_damaged(
    damaged: Damaged, repair: Callable[[str], list[str]], capsys: Capture
) -> list[Any]:
    """Flip a byte of every file; return the files that a command leaves as they are.

    repair: given the copy, the command that has to find and to make again whatever is
    damaged. What holds no times has to come out byte for byte.
    """
    faulty: list[Any] = []
    names = {damaged.copy: "IT"}
    for name in damaged.each(flip):
        file = damaged.copy / name
        flipped = file.read_bytes()
        code, told = answer(repair(str(damaged.copy)), names, capsys)
        if code or not file.is_file() or file.read_bytes() == flipped:
            faulty.append((name, code, told[-300:]))
    return faulty
