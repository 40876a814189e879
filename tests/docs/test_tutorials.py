"""The tutorials do what they say: each line of theirs runs, in order."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.cli.main import main

from tests.docs.scripts import ROOT
from tests.docs.test_public_only import require_public

Pictures = Callable[..., bytes]


def play(page: str) -> None:
    """Run a page's commands and code, in order, in the current folder."""
    text = (ROOT / "docs/tutorials" / page).read_text()
    names: dict[str, object] = {}
    blocks = re.findall(r"```(sh|python)\n(.*?)```", text, re.S)
    assert len(blocks) > 2
    for kind, block in blocks:
        if kind == "python":
            require_public(block)
            exec(compile(block, page, "exec"), names)
            continue
        for line in block.splitlines():
            words = shlex.split(line)
            assert words[0] == "winnow"
            assert main([*words[1:], "-q"]) == 0, line


@pytest.mark.slow
def test_photographs(
    tmp_path: Path, make_picture: Pictures, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "photos").mkdir()
    for i in range(12):
        picture = make_picture(i if i < 10 else 0)
        (tmp_path / "photos" / f"{i}.jpg").write_bytes(picture)
    monkeypatch.chdir(tmp_path)
    play("images.md")
    assert (tmp_path / "runs/look/analysis.html").is_file()
    assert len((tmp_path / "kept.txt").read_text().split()) <= 10


@pytest.mark.slow
def test_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fox = "the quick brown fox jumps over the lazy dog today"
    texts = [*(f"{fox} and says {i} words to {i * 7}" for i in range(8)), fox, fox]
    lines = [json.dumps({"uid": str(i), "text": t}) for i, t in enumerate(texts)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    play("texts.md")
    assert (tmp_path / "runs/corpus/kept").is_dir()


@pytest.mark.slow
def test_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "lake").mkdir()
    whole = pa.table({"id": range(90), "name": [f"n{i % 7}" for i in range(90)]})
    pq.write_table(whole, tmp_path / "lake" / "whole.parquet")
    pq.write_table(whole.slice(8, 70), tmp_path / "lake" / "slice.parquet")
    monkeypatch.chdir(tmp_path)
    play("tables.md")


@pytest.mark.parametrize("folder", ["tutorials", "how-to"])
def test_every_page_is_in_the_site(folder: str):
    site = (ROOT / "zensical.toml").read_text()
    pages = sorted((ROOT / "docs" / folder).glob("*.md"))
    assert pages
    assert [p.name for p in pages if f"{folder}/{p.name}" not in site] == []
