"""One flipped byte in any file of a scan: named by whoever reads it, or made again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.cli.main import main
from winnow.core.integrity import content_digest

Capture = pytest.CaptureFixture[str]

#: What a scan has for people, for another process, or for who comes back later.
NO_PART = {"report.html", "winnow.log", ".lock"}


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "lake").mkdir()
    rows = pa.table({"id": list(range(90)), "name": [f"n{i % 7}" for i in range(90)]})
    pq.write_table(rows, folder / "lake" / "whole.parquet")
    pq.write_table(rows.slice(10, 30), folder / "lake" / "part.parquet")
    assert main(["lake", "scan", str(folder / "lake"), "--out", str(folder / "r")]) == 0
    assert main(["lake", "plan", str(folder / "r")]) == 0
    return folder


def flip(file: Path) -> None:
    """Change one bit in the middle; length and time stay as they were."""
    state = file.stat()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


def readers(run: str) -> list[list[str]]:
    return [
        ["lake", "edges", run, "--json"],
        ["lake", "explain", run, "part.parquet", "--json"],
        ["steps", run, "--json"],
        ["query", run, "SELECT * FROM edges", "--json"],
        ["query", run, "SELECT * FROM tables", "--json"],
        ["query", run, "SELECT * FROM plan", "--json"],
        ["lake", "apply", run, "--dry-run", "--json"],
    ]


def answers(run: Path, capsys: Capture) -> list[tuple[int, str]]:
    capsys.readouterr()
    told = []
    for words in readers(str(run)):
        code = main(words)
        out, err = capsys.readouterr()
        assert "unexpected" not in err
        told.append((code, out if code == 0 else err))
    return told


@pytest.mark.slow
def test_a_flipped_byte_in_any_file_is_named_or_made_again(
    scanned: Path, tmp_path: Path, capsys: Capture
):
    whole = answers(scanned / "r", capsys)
    assert all(code == 0 for code, _ in whole)
    files = [f for f in sorted((scanned / "r").rglob("*")) if f.is_file()]
    names = [str(f.relative_to(scanned / "r")) for f in files if f.name not in NO_PART]
    assert {"edges.parquet", "tables.parquet", "plan.parquet", "manifest.json"} <= {
        *names
    }
    for name in names:
        run = tmp_path / "r"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(scanned / "r", run)
        flip(run / name)
        for (code, told), (_, wanted) in zip(answers(run, capsys), whole, strict=True):
            if code == 0:
                assert told.replace(str(run), str(scanned / "r")) == wanted, name
            else:
                assert code == 3, (name, told)
                assert Path(name).name in told, "the damaged file is named"
        lake = str(scanned / "lake")
        if name == "config.lock.yaml":
            (run / name).unlink()
        assert main(["lake", "scan", lake, "--out", str(run)]) == 0, name
        assert main(["lake", "plan", str(run)]) == 0, name
        again = [
            told.replace(str(run), str(scanned / "r"))
            for _, told in answers(run, capsys)
        ]
        assert unmeasured(again) == unmeasured([told for _, told in whole]), name


def unmeasured(told: list[str]) -> list[str]:
    """Leave out how the pairs became fewer: what is remembered is not done again."""
    return told[:2] + told[3:]


@pytest.mark.slow
def test_a_plan_of_an_earlier_version_holds_or_is_said_to_be_one(
    scanned: Path, tmp_path: Path, capsys: Capture
):
    run = tmp_path / "r"
    shutil.copytree(scanned / "r", run)
    apply = ["lake", "apply", str(run), "--dry-run"]
    seals = run / "artifacts" / "plan.json"
    # Checksums were of another kind before they were XXH3, and hold all the same.
    size, _ = json.loads(seals.read_text())[-1]
    seals.write_text(json.dumps([[size, content_digest(run / "plan.parquet")]]))
    assert main(apply) == 0
    seals.unlink()
    capsys.readouterr()
    assert main(apply) == 3
    assert "of an earlier version" in capsys.readouterr().err
    assert main(["lake", "plan", str(run)]) == 0
    assert main(apply) == 0
