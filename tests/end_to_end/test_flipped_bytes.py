"""One flipped byte in any file that is kept: named by who reads it, or made again.

A bit at an offset drawn at random, length and time as they were; every command that may
read the file is asked. Scans, and what a lake remembers: tests/lake has them.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.cli.main import main

from tests.examples import examples

pytestmark = pytest.mark.slow
Capture = pytest.CaptureFixture[str]
Commands = list[list[str]]

SEED = 20261130
#: What is there for people, for another process, or may be made again by whoever reads.
NO_PART = {"report.html", "winnow.log", ".lock", ".checked.json"}
STEPS = ["exact", "minhash", "embed", "cluster", "semantic", "complexity", "apply"]


def flip(file: Path, at: int) -> None:
    """Change one bit; length and time stay as they were."""
    state = file.stat()
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


def answer(words: Sequence[str], folders: dict[Path, str], capsys: Capture) -> Any:
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


def flipped(whole: Path, copy: Path, rng: random.Random) -> Iterator[str]:
    """Yield each file's name, while it is damaged in a copy of the folder."""
    files = [f for f in sorted(whole.rglob("*")) if f.is_file()]
    for file in files:
        size = file.stat().st_size
        if file.name in NO_PART or not size:
            continue
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        name = str(file.relative_to(whole))
        flip(copy / name, rng.randrange(size))
        yield name


def hold_answers(
    whole: Path,
    tmp_path: Path,
    commands: Callable[[str, Path], Commands],
    capsys: Capture,
) -> int:
    """Compare every answer about damaged copies with the sound one; count refusals.

    A run, which makes again what is damaged, is the last command to be asked.
    """
    rng, copy, out = random.Random(SEED), tmp_path / "copy", tmp_path / "out"
    names = {copy: "IT", tmp_path: "TMP"}
    shutil.copytree(whole, copy)
    out.mkdir()
    listed = commands(str(copy), out)
    sound = [answer(words, names, capsys) for words in listed]
    assert {code for code, _ in sound} == {0}, sound
    believed: list[Any] = []
    refused = 0
    for name in flipped(whole, copy, rng):
        drawn = rng.sample(range(len(listed)), min(len(listed), examples(1, 99)))
        shutil.rmtree(out)
        out.mkdir()
        for number in sorted(drawn):
            code, told = answer(listed[number], names, capsys)
            named = code in (2, 3) and Path(name).name in told
            refused += code != 0
            mended = code == 0 and listed[number][0] == "run"
            if not (named or mended or (code, told) == sound[number]):
                believed.append((name, listed[number], code, told[-400:]))
    assert not believed, "\n".join(map(str, believed))
    return refused


@pytest.fixture(scope="module")
def kept_run(
    tmp_path_factory: pytest.TempPathFactory,
    winnow: Callable[..., Any],
    write_shards: Callable[..., Path],
    planted_table: Callable[..., pa.Table],
) -> Path:
    folder = tmp_path_factory.mktemp("flipped")
    table = planted_table(90)
    texts = [
        f"{i // 2} " + " ".join(f"w{i // 2 + j}" for j in range(12)) for i in range(90)
    ]
    column = table.schema.get_field_index("text")
    table = table.set_column(column, "text", pa.array(texts))
    pool = write_shards(folder / "pool", table, 50)
    winnow(pool, folder / "run", STEPS, minhash={"allow_large_clusters": True})
    winnow(pool, folder / "other", ["exact", "apply"])
    return folder


def kept_rows(kept: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]]
    rows = pq.read_table(kept / "run" / "kept").select(["uid", "text"]).to_pylist()
    return rows


def of_a_run(kept: Path) -> Callable[[str, Path], Commands]:
    views = (
        "ledger",
        "fates",
        "duplicates",
        "neighbours",
        "members",
        "clusters",
        "steps",
    )

    uid = kept_rows(kept)[7]["uid"]

    def commands(run: str, out: Path) -> Commands:
        ordered = [
            ["query", run, f"SELECT * FROM {view} ORDER BY ALL", "--json"]
            for view in views
        ]
        return [
            ["steps", run, "--json"],
            ["explain", run, uid, "--json"],
            *ordered,
            ["query", run, "SELECT * FROM vectors ORDER BY uid", "--json"],
            ["duplicates", run, "--json"],
            ["what-if", run, "--set", "semantic.epsilon=0.1", "--json"],
            ["diff", run, str(kept / "other"), "--json"],
            ["export", run, "--to", "uids", "--out", str(out / "uids.txt"), "--json"],
            ["export", run, "--to", "parquet", "--out", str(out / "p"), "--json"],
            ["index", "build", run, "--out", str(out / "index"), "--json"],
            ["report", run, "--out", str(out / "page.html")],
            ["run", str(kept / "run" / "config.lock.yaml"), "--out", run, "--json"],
        ]

    return commands


def test_every_file_of_a_run(kept_run: Path, tmp_path: Path, capsys: Capture):
    refused = hold_answers(
        kept_run / "run",
        tmp_path,
        of_a_run(kept_run),
        capsys,
    )
    assert refused > 20


def test_every_file_of_an_index_of_texts(
    kept_run: Path, tmp_path: Path, capsys: Capture
):
    built = tmp_path / "built"
    run = str(kept_run / "run")
    assert main(["index", "build", run, "--out", str(built)]) == 0
    gone, named, asked = kept_rows(kept_run)[:3]
    assert main(["index", "remove", str(built), "--uid", gone["uid"]]) == 0

    def commands(index: str, out: Path) -> Commands:
        against = ["--set", f"minhash.index={index}", "--set", "steps=[minhash,apply]"]
        lock = str(kept_run / "run" / "config.lock.yaml")
        return [
            ["near", index, "--text", asked["text"], "--json"],
            ["near", index, "--uid", named["uid"], "--json"],
            ["index", "show", index, "--json"],
            ["index", "check", index, "--json"],
            ["run", lock, *against, "--out", str(out / "run"), "--json", "-q"],
        ]

    assert hold_answers(built, tmp_path, commands, capsys) > 0


def test_every_file_of_an_index_of_vectors(
    kept_run: Path, tmp_path: Path, capsys: Capture
):
    built = tmp_path / "built"
    run = str(kept_run / "run")
    assert main(["index", "build", run, "--vectors", "image", "--out", str(built)]) == 0

    def commands(index: str, out: Path) -> Commands:
        lock = str(kept_run / "run" / "config.lock.yaml")
        steps = "steps=[embed,cluster,semantic,apply]"
        against = ["--set", f"semantic.index={index}", "--set", steps]
        return [
            ["index", "show", index, "--json"],
            ["index", "check", index, "--json"],
            ["run", lock, *against, "--out", str(out / "run"), "--json", "-q"],
        ]

    assert hold_answers(built, tmp_path, commands, capsys) > 0
