"""report.html: every number is its query's answer, and nothing hostile gets through."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from winnow.cli.main import main
from winnow.core.errors import ConfigError
from winnow.reports.database import RunDatabase
from winnow.reports.page.report import render_report, write_report

from tests.page_numbers import check_numbers, read_numbers

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def run(hostile_run: Path) -> Path:
    return hostile_run


@pytest.fixture(scope="module")
def page(hostile_page: Path) -> str:
    return hostile_page.read_text()


def test_every_number_is_the_answer_to_its_query(page: str, run: Path):
    assert check_numbers(page, run) > 300


def test_no_text_holds_a_number_of_rows_that_no_query_gives(page: str):
    """Sections speak through <data>: what is left of them names no count of rows."""
    text = re.sub(r"<data.*?</data>|<svg.*?</svg>|<pre.*?</pre>", "", page, flags=re.S)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.S)
    text = text[: text.index('id="settings"')]
    assert re.findall(r">[^<]*\b\d[\d,]* (?:rows|clusters|values)\b", text) == []


def test_hostile_captions_and_names_stay_text(page: str):
    numbers = read_numbers(page)
    assert not {"script", "b", "i"} & numbers.tags
    assert EVIL not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&#34;&gt;&lt;img src=x&gt;" in page
    assert not [name for name in numbers.attributes if name.startswith("on")]
    assert "style" not in numbers.attributes


def test_the_pages_own_tags_are_no_text(page: str):
    assert re.findall(r"&lt;/(?:li|td|tr|th|p|ul|h\d|dd|section)&gt;", page) == []


def test_the_policy_forbids_scripts_and_the_network(page: str):
    policy = re.search(r'Security-Policy" content="([^"]*)"', page)
    assert policy
    assert policy[1].startswith("default-src &#39;none&#39;; img-src data:;")
    assert "unsafe" not in policy[1]
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_what_a_page_has_to_show(page: str):
    ids = set(re.findall(r'<section[^>]* id="([^"]+)"', page))
    wanted = {"funnel", "decisions", "step-exact", "step-minhash", "step-semantic"}
    wanted |= {"twins-exact", "twins-semantic", "captions", "clusters-cluster"}
    wanted |= {"clusters-cluster_2", "bias-category", "bias-aspect", "bias-source"}
    wanted |= {"bias-language", "quarantine", "settings", "queries"}
    assert wanted <= ids
    assert "Kept at the edge" in page
    marked = re.findall("<(?:del|ins)>([^<]*)</(?:del|ins)>", page)
    assert {"ten", "&lt;b&gt;eleven&lt;/b&gt;"} <= set(marked)
    # What was dropped is struck out, whichever of the two it was.
    assert {"<del>", "<ins>"} <= set(re.findall("<(?:del|ins)>", page))
    assert "Duplicate pictures with other words" in page
    assert "as detected on a sample of at most 20,000" in page
    assert "duplicate_uid" in page
    assert "threshold: 0.6" in page


def test_long_sections_are_folded_below_what_they_say(page: str):
    for name in ("duplicates", "bias"):
        start = page.index(f'<section class="part" id="{name}"')
        section = page[start : page.find('<section class="part"', start + 1)]
        open_part = re.sub(r"<details>.*?</details>", "", section, flags=re.S)
        assert "<details open" not in section
        assert "<img" not in open_part
        assert "<svg" not in open_part
        assert "<table" not in open_part
        assert section.count("<summary>") == section.count("</h3>")
    assert re.search("<summary>Each value with its lift; (none stands|\\d+)", page)


def test_the_word_diff_strikes_out_what_was_dropped():
    from winnow.reports.page.twins import words

    assert words("a red kite", "a blue kite") == [
        ("same", "a "),
        ("dropped", "blue"),
        ("kept", "red"),
        ("same", " kite"),
    ]
    assert words(None, "x") == [("dropped", "x")]


def test_captions_that_stand_often_are_counted(page: str, run: Path):
    with RunDatabase(run) as database:
        rows = database.query(
            "SELECT text, fate = 'kept' AS kept FROM samples JOIN fates USING (uid)"
        ).to_pylist()
    texts = [row["text"] for row in rows]
    (twice,) = {text for text in texts if texts.count(text) > 1}
    kept = sum(row["kept"] for row in rows if row["text"] == twice)
    part = page[page.index("The most frequent in the pool") :]
    part = part[: part.index("</table>")]
    assert re.findall(r">([\d,]+)</data>", part) == ["2", str(kept)]
    assert "&lt;script&gt;alert(20)" in part


def test_the_same_run_gives_the_same_page(page: str, run: Path):
    assert render_report(run) == page


def test_pages_stay_small_and_say_what_they_leave_out(
    page: str, run: Path, monkeypatch: pytest.MonkeyPatch
):
    assert len(page.encode()) < 8_000_000
    monkeypatch.setattr("winnow.reports.page.report.PICTURES", 20_000)
    small = render_report(run)
    assert len(small) < len(page)
    assert "left out to keep the page small" in small
    assert re.search(r"\d+ of its samples are shown without their picture", small)


def check_lift(page: str) -> None:
    """The interval and the lift, against the formulas by hand."""
    named = [n for n in read_numbers(page).numbers if "largest, whole" in n.query]
    numbers = [n for n in named if '"category"' in n.query]
    assert len(numbers) > 12
    rows: dict[int, dict[str, float]] = {}
    for number in numbers:
        rows.setdefault(number.row, {})[number.column] = float(number.value)
    dropped = sum(row["rows"] - row["kept"] for row in rows.values())
    removed = dropped / sum(row["rows"] for row in rows.values())
    for row in rows.values():
        n, p, z = row["rows"], row["kept"] / row["rows"], 1.959964
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
        assert row["lift"] == pytest.approx((1 - p) / removed)
        assert row["lift_low"] == pytest.approx((1 - centre - half) / removed)
        assert row["lift_high"] == pytest.approx((1 - centre + half) / removed)


def test_columns_are_the_users(run: Path, capsys: pytest.CaptureFixture[str]):
    out = run.parent / "other.html"
    columns = "category,width,text"
    assert main(["report", str(run), "--columns", columns, "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    text = out.read_text()
    ids = re.findall(r'<section id="bias-([^"]+)"', text)
    assert ids == ["category", "width", "text"]
    assert check_numbers(text, run) > 300
    check_lift(text)
    with pytest.raises(ConfigError, match="did you mean 'width'"):
        write_report(run, out, ["widht"])


def test_a_pool_that_is_gone_leaves_a_page_of_numbers(run: Path, tmp_path: Path):
    import shutil

    import yaml

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    lock = yaml.safe_load((copy / "config.lock.yaml").read_text())
    lock["input"]["path"] = [str(tmp_path / "nowhere")]
    (copy / "config.lock.yaml").write_text(yaml.safe_dump(lock))
    (copy / "manifest.json").unlink()
    assert 'id="funnel"' in render_report(copy)


@pytest.fixture
def small(
    planted_pool: Path, tmp_path: Path, vector_recipe: Callable[..., Any]
) -> dict[str, Any]:
    recipe = vector_recipe(planted_pool, tmp_path / "run", ["embed", "score", "apply"])
    recipe["output"]["report"] = True
    return recipe


def test_a_run_ends_with_its_page(small: dict[str, Any]):
    import winnow

    result = winnow.run(small)
    page = result.path / "report.html"
    first = page.stat().st_mtime_ns
    assert winnow.run(small).ran == []
    assert page.stat().st_mtime_ns == first
    small["output"]["report"] = False
    small["score"] = {"keep_fraction": 0.5}
    winnow.run(small)
    assert not page.exists(), "a page of before would tell of another run"


def test_the_first_screen_has_the_largest_reasons_and_where_all_came_from(
    page: str, run: Path
):
    with RunDatabase(run) as database:
        counted = database.query(
            "SELECT reason FROM ledger WHERE NOT keep GROUP BY step, position, reason "
            "ORDER BY count(*) DESC, position, reason LIMIT 3"
        )
    first = page[: page.index('id="funnel"')]
    part = first[first.index('class="reasons"') :]
    assert re.findall(r'<h3><a href="#step-\w+">([^<]+)<', part) == [
        row["reason"] for row in counted.to_pylist()
    ]
    assert part.count("<img ") > 3
    assert "<dt>recipe</dt>" in first[: first.index('class="tiles"')]
    # Kept rows are shown once, not at every step.
    assert len(re.findall(r"<h[34]>Kept <", page)) == 1
    assert not re.search(r">\D*\b1</data> \w+s\b", page)
    assert (
        "fingerprint" not in page[page.index('id="settings"') :].partition("<pre>")[0]
    )


def test_marks_of_a_map_do_not_hide_each_other():
    from winnow.reports.page.clusters import moved_apart

    generator = np.random.default_rng(0)
    places = np.concatenate([generator.normal(size=(30, 2)), np.zeros((10, 2))])
    sides = generator.uniform(26, 60, 40)
    middles = moved_apart(places, sides)
    assert (middles == moved_apart(places, sides)).all()
    assert (middles - sides[:, None] / 2 >= -1e-9).all()
    reach = (sides[:, None] + sides) / 2
    over = (reach[:, :, None] - np.abs(middles[:, None] - middles)).min(axis=2)
    np.fill_diagonal(over, 0)
    assert over.max() < 0.25 * sides.min()
