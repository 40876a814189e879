"""Marks: kept beside the run, downloaded, and honoured by the run that reads them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from winnow.app.marks import Marks
from winnow.config.overrides import read
from winnow.core.errors import ConfigError, QueryError

from tests.app.conftest import STEPS

NOTE = 'the only "tuba", =1+1; <b>keep</b>'


@pytest.fixture
def run(planted_pool: Path, tmp_path: Path, winnow: Callable[..., Any]) -> Any:
    return winnow(planted_pool, tmp_path / "run", [*STEPS, "apply"])


def _numbers(client: Any, *fields: tuple[str, str]) -> list[int]:
    return [
        int(n) for n in re.findall(r'name="n" value="(\d+)"', client.page(*fields).text)
    ]


def test_what_is_marked_is_what_the_next_run_honours(
    run: Any,
    planted_pool: Path,
    tmp_path: Path,
    winnow: Callable[..., Any],
    serve_run: Callable[..., Any],
):
    client = serve_run(run.path)
    gone = _numbers(client, ("step", "semantic"))[:3]
    kept = _numbers(client, ("fate", "kept"))[:2]
    answer = client.mark(gone, "rescue", note=NOTE, list="step=semantic")
    assert answer.status == 303
    assert answer.headers["location"] == "/?step=semantic&changed=3&to=rescue"
    assert "3 rows marked to rescue." in client.ask(answer.headers["location"]).text
    client.mark(kept, "drop", row=str(kept[0]))
    client.mark(gone[2:], "clear")
    assert _numbers(client, ("marked", "rescue")) == gone[:2]
    assert sorted(_numbers(client, ("marked", "any"))) == sorted(gone[:2] + kept)
    unmarked = _numbers(client, ("marked", "none"), ("fate", "kept"))
    assert len(unmarked) == run.result.kept - 2 <= 48
    assert not set(unmarked) & set(kept)
    assert html.escape(NOTE, quote=False) in client.ask(f"/row/{gone[0]}").text.replace(
        "&#34;", '"'
    )

    for kind in ("csv", "yaml"):
        download = client.ask(f"/overrides.{kind}")
        assert "attachment" in download.headers["content-disposition"]
        (tmp_path / f"mine.{kind}").write_bytes(download.body)
    given = read(tmp_path / "mine.csv")
    assert given.rows == read(tmp_path / "mine.yaml").rows
    assert given.rows == read(run.path / "ui" / "overrides.csv").rows
    rescued, dropped = set(given.of("rescue")), set(given.of("drop"))
    assert (len(rescued), len(dropped)) == (2, 2)
    assert {row.note for row in given.rows if row.action == "rescue"} == {NOTE}

    steps = [*STEPS, "apply"]
    again = winnow(
        planted_pool, tmp_path / "again", steps, overrides=str(tmp_path / "mine.csv")
    )
    before, after = (set(r.output()["uid"].to_pylist()) for r in (run, again))
    assert after == (before | rescued) - dropped

    # A new file begins with what the run has honoured, so that it is not forgotten.
    other = serve_run(again.path)
    assert read_csv(other, tmp_path) == given.rows
    other.mark(_numbers(other, ("marked", "drop"))[:1], "clear")
    assert len(read_csv(other, tmp_path)) == 3


def read_csv(client: Any, folder: Path) -> Any:
    (folder / "now.csv").write_bytes(client.ask("/overrides.csv").body)
    return read(folder / "now.csv").rows


def test_a_row_that_cannot_be_read_cannot_be_marked(site: Any, app: Any):
    (bad,) = site.rows.ask("SELECT n, uid FROM rows WHERE fate = 'quarantined'")
    for action in ("rescue", "drop"):
        answer = app.mark([bad["n"]], action)
        assert answer.status == 400
        assert "quarantined" in answer.text
    assert bad["n"] not in _numbers(app, ("fate", "quarantined"))
    assert bad["uid"] not in app.ask("/overrides.csv").text


@pytest.mark.parametrize("numbers", [["161"], ["-1"], ["x"], ["1", "9" * 40]])
def test_a_row_that_there_is_not_cannot_be_marked(app: Any, numbers: list[str]):
    before = app.ask("/overrides.csv").text
    body = "&".join(f"n={n}" for n in numbers) + "&action=drop"
    assert app.ask("/marks", "POST", body).status == 400
    assert app.ask("/marks", "POST", "n=1&action=delete").status == 400
    assert app.ask("/overrides.csv").text == before


def test_two_apps_on_one_run_lose_no_mark(tmp_path: Path):
    file = tmp_path / "ui" / "overrides.csv"
    one, other = Marks(file), Marks(file)
    one.mark(["b"], "drop", " two\nlines ")
    other.mark(["a"], "rescue")
    one.mark(["c"], "rescue")
    assert one.actions() == other.actions()
    assert [(r.uid, r.action, r.note) for r in one.overrides().rows] == [
        ("a", "rescue", ""),
        ("b", "drop", "two lines"),
        ("c", "rescue", ""),
    ]


def test_a_damaged_file_is_an_error_and_is_left_alone(tmp_path: Path):
    file = tmp_path / "overrides.csv"
    file.write_text("uid,action\na,keep\n")
    with pytest.raises(ConfigError, match="line 2"):
        Marks(file)
    assert file.read_text() == "uid,action\na,keep\n"


def test_an_unknown_action_is_refused(site: Any):
    with pytest.raises(QueryError, match="rescue, drop or clear"):
        site.mark([1], "keep", "")
