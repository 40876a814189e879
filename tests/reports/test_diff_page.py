"""`winnow diff A B --html`: two runs as a page, in text and in Chromium."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from winnow.cli.main import main
from winnow.reports.diff import diff
from winnow.reports.page.diff_page import name

STEPS = ["exact", "embed", "cluster", "semantic", "score", "apply"]
Visits = Callable[..., Any]


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory,
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    winnow: Callable[..., Any],
    make_picture: Callable[..., bytes],
) -> tuple[Path, Path]:
    """Return two runs over pictures whose captions and folder attack the page."""
    folder = tmp_path_factory.mktemp("diff")
    table = planted_table(100)
    images = pa.array([make_picture(i // 3 * 3) for i in range(100)])
    captions = pa.array([f"<script>alert({i})</script>" for i in range(100)])
    table = table.set_column(2, "image", images).set_column(1, "text", captions)
    pool = write_shards(folder / "pool", table)
    a = winnow(pool, folder / "a 'run' <b>", STEPS)
    b = winnow(
        pool,
        folder / "b",
        STEPS,
        exact={"by": ["caption"]},
        semantic={"epsilon": 0.3},
        score={"keep_fraction": 0.9},
    )
    return a.path, b.path


@pytest.fixture(scope="module")
def page(runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "diff.html"
    assert main(["diff", *map(str, runs), "--html", str(out)]) == 0
    return out


def test_the_page_has_the_numbers_of_diff(page: Path, runs: tuple[Path, Path]):
    text, difference = page.read_text(), diff(*runs)
    head = text[text.index('<dl class="tiles"') : text.index("</dl>")]
    values = [float(v) for v in re.findall(r'<data value="([^"]+)"', head)]
    kept = difference["kept"]
    names = ("a", "b", "both", "jaccard", "only_a", "only_b")
    assert values == [kept[name] for name in names]
    assert min(kept["only_a"], kept["only_b"]) > 0
    for side in ("a", "b"):
        only = difference[f"only_{side}"]
        part = text[text.index(f'id="only-{side.upper()}"') :]
        part = part[: part.index("</section>")]
        counts = re.findall(r'<tr><th[^>]*>([^<]+)</th><td><data value="(\d+)"', part)
        wanted = [
            (f"{r['fate']} at {r['step']} ({r['reason']})", str(r["rows"]))
            for r in only["by_step"]
        ]
        assert counts == wanted
        uids = re.findall(r'class="uid" title="([^"]+)"', part)
        assert set(uids) >= {row["uid"] for row in only["examples"]}
        assert part.count("<img ") >= len(only["examples"])
    clusters = text[text.index('id="clusters"') :]
    rows = re.findall(r">(no cluster|cluster \d+)</th>\n(.*)</tr>", clusters)
    changed = [c for c in difference["clusters"] if c["only_a"] or c["only_b"]]
    assert [called for called, _ in rows] == [name(cluster) for cluster in changed]
    for (_, cells), cluster in zip(rows, changed, strict=True):
        numbers = [int(v) for v in re.findall(r'value="(\d+)"', cells)]
        columns = ("rows", "kept_a", "kept_b", "only_a", "only_b")
        assert numbers == [cluster[name] for name in columns]


def test_settings_that_differ_are_named_and_no_others(page: Path):
    text = page.read_text()
    part = text[text.index('id="settings"') : text.index('id="steps"')]
    keys = re.findall(r'<th scope="row" class="text">(.*?)</th>', part)
    keys = [key.replace("<wbr>", "") for key in keys]
    assert keys == ["exact.by", "score.keep_fraction", "semantic.epsilon"]


def test_a_run_against_itself_differs_in_nothing(
    runs: tuple[Path, Path], tmp_path: Path
):
    out = tmp_path / "same.html"
    assert main(["diff", str(runs[0]), str(runs[0]), "--html", str(out)]) == 0
    text = out.read_text()
    assert text.count("<p>No row.</p>") == 2
    assert 'id="clusters"' not in text
    assert "1.0000</data>" in text


def test_hostile_text_stays_text(page: Path):
    text = page.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(" in text
    assert "a &#39;run&#39; &lt;b&gt;" in text
    assert len(page.read_bytes()) < 8_000_000


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_is_accessible_in_a_browser(visit: Visits, page: Path, dark: bool):
    seen = visit(page, dark=dark)
    assert seen.serious() == []
    assert seen.page.get_by_text("<script>alert(").count() > 4
    assert seen.tab() == ["a: Skip to the report"]
    script = """() => Promise.all([...document.images].map(async i => {
      i.loading = 'eager'; await i.decode(); return i.naturalWidth > 0 && i.alt; }))"""
    assert all(seen.page.evaluate(script))


@pytest.mark.slow
def test_it_fits_a_phone(visit: Visits, page: Path):
    seen = visit(page, width=360, height=740)
    assert seen.too_wide() == []
    assert seen.page.locator("#clusters .narrow svg").is_visible()
